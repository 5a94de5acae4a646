"""Edit an explanation, push the model that way, and see what it does."""

from tools import rows
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading import arms, parameters, readings
from tools.reading.passages import reader
from tools.reading.patterns import compile_pattern
from tools.registry import Execute, tool

_SAME = 1e-6


@tool(needs=("reader", "activations", "chat"))
def nla_steer() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        explanation: str,
        edited: str,
        prompts: rows.Texts,
        system: str | None = None,
        strengths: arms.Strengths | None = None,
        samples: rows.Samples = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        layers: parameters.Layers | None = None,
        where: arms.Where = "all",
        words: str | None = None,
    ) -> ToolOutput:
        """Change what the target holds in mind, and compare what it then says.

        The direction from an explanation to its edited form, u(edited) - u(explanation) of unit
        reconstructions, is scaled to the mean norm of the target's activations on these prompts,
        times the strength, and added to the stream. If a motive is at work, adding or removing it
        changes the replies of the target, and a random direction of the same norm does not. The
        baseline, pushed the same way, shows what the direction does to a model without the motive.

        Items of kind "arm" come first: arm (target, steered_target, random_direction, baseline,
        steered_baseline), strength, replies, empty, share (replies that hold the words), change
        (share less that of the same model unsteered), p (two-sided, replies of equal seed swapped
        with unsteered ones), beyond_random and p_beyond_random (the same against the random
        direction of that strength, for the steered target). Then items of kind "phrase", what the
        target says more often when steered (words, strength, shares, log_odds, p, see nla_compare),
        then items of kind "reply".

        Source:
            Natural language autoencoders (2026) for the direction; activation addition, Turner et
            al. 2023.

        Cost:
            The target tokens of prompts x samples x (1 + 2 x strengths) replies, and the baseline
            tokens of half as many.

        Misses:
            What replies do not show when pushed. Strong pushes break any model: count only what
            goes beyond random_direction and steered_baseline.

        Args:
            ctx: What this call may touch.
            explanation: What the model holds in mind now, worded as explanations are.
            edited: The same explanation, changed.
            prompts: User messages, each a conversation of its own.
            system: System line of every conversation.
            strengths: How hard to push, as multiples of the mean norm; left out: 0.2 and 0.4.
            samples: Replies to each prompt in each arm.
            max_tokens: Longest reply, in tokens.
            layers: Decoder blocks that are changed together, from 0; left out: the first that the
                reader was made for.
            where: Change the tokens of the conversation, of the reply, or all.
            words: What to count in replies, as a pattern of nla_grep: words, `*` within a word, `|`
                between alternatives.
        """
        sought = None if words is None else compile_pattern(words)
        asked = arms.check_asked(
            ctx,
            prompts=prompts,
            system=system,
            samples=samples,
            strengths=strengths or (0.2, 0.4),
            max_tokens=max_tokens,
            where=where,
        )
        rows.check_texts("explanations", [explanation, edited])
        wanted = tuple(dict.fromkeys(layers or reader(ctx).layers[:1]))
        pushes = [_push(ctx, explanation, edited, asked, layer) for layer in wanted]
        found = arms.run_arms(ctx, asked, pushes)
        off = [str(layer) for layer in wanted if layer not in reader(ctx).layers]
        parts = arms.describe(ctx, found, words)
        if off:
            parts.append(f"the reader has no pair of its own for layer {', '.join(off)}")
        return ToolOutput(
            summary="; ".join([*parts, readings.cost(ctx)]),
            items=arms.items(ctx, asked, found, sought),
        )

    return execute


def _push(
    ctx: ToolContext, explanation: str, edited: str, asked: arms.Asked, layer: int
) -> arms.Push:
    """Return the direction at one layer.

    Raises:
        ToolError: When an explanation is too long, or both stand for the same direction.
    """
    from nla_core.decoding import PromptTooLongError

    try:
        vectors = reader(ctx).reconstruct([edited, explanation], layer=layer).double()
    except PromptTooLongError as error:
        raise ToolError(f"an explanation is too long for the reader: {error}") from error
    after, before = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    difference = after - before
    if float(difference.norm()) < _SAME:
        raise ToolError("both explanations stand for the same direction: edit more of it")
    scale = arms.mean_norm(ctx, asked.prompts, layer)
    return arms.Push(layer, (difference / difference.norm() * scale).float())
