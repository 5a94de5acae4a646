"""Edit an explanation, push the model that way, and see what it does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import Prompt, Reply, Steering, ToolContext, ToolError, ToolOutput
from tools.reading import parameters, readings
from tools.reading.passages import mind, reader
from tools.reading.patterns import Pattern, compile_pattern, find
from tools.reading.readings import rounded
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

Strengths = Annotated[list[parameters.Strength], Field(min_length=1, max_length=8)]

MAX_REPLIES = 600
_PHRASES = 20
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
        strengths: Strengths | None = None,
        samples: rows.Samples = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        layers: parameters.Layers | None = None,
        where: Literal["prompt", "reply", "all"] = "all",
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

        Costs the target tokens of prompts x samples x (1 + 2 x strengths) replies, and the baseline
        tokens of half as many.

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
        sweep = tuple(dict.fromkeys(strengths or (0.2, 0.4)))
        rows.check_texts("prompts", prompts)
        rows.check_texts("explanations", [explanation, edited])
        _check_size(ctx, len(prompts) * samples, len(sweep), max_tokens)
        asked = rows.conversations(prompts, system=system)
        wanted = tuple(dict.fromkeys(layers or reader(ctx).layers[:1]))
        pushes = [_push(ctx, explanation, edited, asked, layer) for layer in wanted]
        batch = [prompt for prompt in asked for _ in range(samples)]
        seeds = rows.row_seeds(ctx, "steer", prompts=len(prompts), samples=samples)
        sampling = rows.plain_sampling(max_tokens)
        arms = []
        for plan in _plans(ctx, pushes, sweep, where, len(batch), samples):
            said = mind(ctx, plan.model).steered_chat(
                batch, plan.steerings, sampling=sampling, seeds=seeds
            )
            rows.count_tokens(ctx, plan.model, said)
            arms.append(Arm(plan.name, plan.model, plan.strength, tuple(said)))
        measured = _measured(arms, sought)
        return ToolOutput(
            summary=_summary(ctx, measured, wanted, words),
            items=(
                *measured,
                *_phrases(ctx, arms),
                *_replies(arms, prompts, samples, sought),
            ),
        )

    return execute


@dataclass(frozen=True, slots=True)
class Push:
    """A direction at one layer."""

    layer: int
    vector: "Tensor"
    """`[d_model]` float32, of the mean norm of the target's activations."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One arm before it is run."""

    name: str
    model: rows.ModelName
    strength: float
    steerings: list[list[Steering]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm with its replies; row i of every arm has the same prompt and seed."""

    name: str
    model: rows.ModelName
    strength: float
    replies: tuple[Reply, ...]


def _check_size(ctx: ToolContext, n: int, strengths: int, max_tokens: int) -> None:
    mind(ctx)
    arms = 1 + 2 * strengths
    if n * arms > MAX_REPLIES:
        raise ToolError(
            f"{n} prompts x samples in {arms} arms of the target are {n * arms} replies, and one "
            f"call may ask for {MAX_REPLIES}: send fewer prompts, samples or strengths"
        )
    rows.check_allowance(ctx, rows=n * arms, max_tokens=max_tokens)


def _push(
    ctx: ToolContext, explanation: str, edited: str, prompts: Sequence[Prompt], layer: int
) -> Push:
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
    target = mind(ctx)
    # The first token's norm is often a hundred times that of all others.
    places = [list(range(min(1, len(ids) - 1), len(ids))) for ids in target.token_ids(prompts)]
    streams = target.activations(prompts, layer=layer, positions=places)
    norms = [float(stream.double().norm(dim=-1).mean()) for stream in streams]
    return Push(layer, (difference / difference.norm() * sum(norms) / len(norms)).float())


def _plans(
    ctx: ToolContext,
    pushes: Sequence[Push],
    strengths: Sequence[float],
    where: Literal["prompt", "reply", "all"],
    n: int,
    samples: int,
) -> Iterator[Plan]:
    def along(strength: float) -> list[list[Steering]]:
        return [[Steering(push.layer, push.vector, strength, where) for push in pushes]] * n

    def anywhere(strength: float) -> list[list[Steering]]:
        # Several directions, so that no lucky one decides; few, since each runs by itself.
        return [
            [Steering(p.layer, _random(ctx, p, row % samples), strength, where) for p in pushes]
            for row in range(n)
        ]

    none: list[list[Steering]] = [[] for _ in range(n)]
    yield Plan("target", "target", 0.0, none)
    for strength in strengths:
        yield Plan("steered_target", "target", strength, along(strength))
        yield Plan("random_direction", "target", strength, anywhere(strength))
    if ctx.baseline_mind is None:
        return
    yield Plan("baseline", "baseline", 0.0, none)
    for strength in strengths:
        yield Plan("steered_baseline", "baseline", strength, along(strength))


def _random(ctx: ToolContext, push: Push, number: int) -> "Tensor":
    from nla_core.fidelity import random_direction

    seed = derive_seed(ctx.seed, "random", push.layer, number)
    scaled: Tensor = random_direction(len(push.vector), seed) * push.vector.norm()
    return scaled


def _measured(arms: Sequence[Arm], sought: Pattern | None) -> list[dict[str, Any]]:
    """Count the words in each arm, and test it against the same model unsteered."""
    unsteered = {arm.model: arm for arm in arms if not arm.strength}
    random = {arm.strength: arm for arm in arms if arm.name == "random_direction"}
    items = []
    for arm in arms:
        item: dict[str, Any] = {
            "kind": "arm",
            "arm": arm.name,
            "strength": arm.strength,
            "replies": len(arm.replies),
            "empty": sum(not reply.text.strip() for reply in arm.replies),
            "share": None,
            "change": None,
            "p": None,
            "beyond_random": None,
            "p_beyond_random": None,
        }
        if sought is not None:
            ours = _holding(arm, sought)
            item["share"] = rounded(sum(ours) / len(ours))
            if arm.strength:
                item["change"], item["p"] = _change(ours, _holding(unsteered[arm.model], sought))
            if arm.name == "steered_target":
                beside = _holding(random[arm.strength], sought)
                item["beyond_random"], item["p_beyond_random"] = _change(ours, beside)
        items.append(item)
    return items


def _change(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[float | None, float | None]:
    """Return the difference of two shares and its p-value."""
    return rounded((sum(ours) - sum(theirs)) / len(ours)), rounded(_swap_p(ours, theirs))


def _holding(arm: Arm, sought: Pattern) -> list[bool]:
    return [find(sought, reply.text) is not None for reply in arm.replies]


def _swap_p(ours: Sequence[bool], theirs: Sequence[bool]) -> float:
    """Return the two-sided p-value of swapping replies of equal prompt and seed (McNemar's exact).

    Under the null each pair that differs is as likely one way as the other.
    """
    gained = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    lost = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    n, k = gained + lost, min(gained, lost)
    ways = sum(comb(n, i) for i in range(k + 1))
    return min(1.0, float(2 * ways / 2**n))


def _phrases(ctx: ToolContext, arms: Sequence[Arm]) -> Iterator[dict[str, Any]]:
    """Yield what the steered target says more often than the unsteered one, at each strength."""
    from tools.reading.counting import Said, compare

    plain = arms[0]
    for arm in arms:
        if arm.name != "steered_target":
            continue
        said = [
            Said(text=row, stratum=row, is_target=one is arm, explanation=reply.text)
            for one in (arm, plain)
            for row, reply in enumerate(one.replies)
        ]
        ranked = compare(said, seed=derive_seed(ctx.seed, "phrases", str(arm.strength)))
        for found in [one for one in ranked.findings if one.z > 0][:_PHRASES]:
            yield {
                "kind": "phrase",
                "strength": arm.strength,
                "words": found.words,
                "share_steered": rounded(found.share_target),
                "share_unsteered": rounded(found.share_baseline),
                "log_odds": rounded(found.log_odds),
                "p": rounded(found.p),
            }


def _replies(
    arms: Sequence[Arm], prompts: Sequence[str], samples: int, sought: Pattern | None
) -> Iterator[dict[str, Any]]:
    for arm in arms:
        for row, reply in enumerate(arm.replies):
            yield {
                "kind": "reply",
                "arm": arm.name,
                "strength": arm.strength,
                "prompt": prompts[row // samples],
                "sample": row % samples,
                "reply": reply.text,
                "holds": None if sought is None else find(sought, reply.text) is not None,
                "finish": reply.finish,
            }


def _summary(
    ctx: ToolContext, measured: Sequence[dict[str, Any]], layers: Sequence[int], words: str | None
) -> str:
    parts = [f"{measured[0]['replies']} replies in each of {len(measured)} arms"]
    if words is not None:
        parts.append(
            f"replies that hold {words!r}: "
            + ", ".join(f"{_name(item)} {item['share']:.0%}" for item in measured)
        )
    if ctx.baseline_mind is None:
        parts.append("there is no baseline to steer")
    off = [str(layer) for layer in layers if layer not in reader(ctx).layers]
    if off:
        parts.append(f"the reader has no pair of its own for layer {', '.join(off)}")
    return "; ".join([*parts, readings.cost(ctx)])


def _name(item: dict[str, Any]) -> str:
    name = str(item["arm"]).replace("_", " ")
    return f"{name} x{item['strength']:g}" if item["strength"] else name
