"""Push the target along a direction, and see what it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tools import rows
from tools.batteries import battery
from tools.protocols import ChatMessage, Prompt, ToolContext, ToolError, ToolOutput
from tools.reading import arms, features, readings
from tools.reading.passages import mind
from tools.reading.patterns import compile_pattern
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

Vector = Literal["honesty", "prefill", "contrast", "text", "feature"]
Scale = Literal["norm", "raw"]
_SAME = 1e-6


@tool(needs=("activations", "chat"))
def steer() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts,
        vector: Vector = "honesty",
        towards: Annotated[list[str], Field(min_length=1, max_length=50)] | None = None,
        away: Annotated[list[str], Field(min_length=1, max_length=50)] | None = None,
        question: str | None = None,
        feature: Annotated[int, Field(ge=0)] | None = None,
        layer: Annotated[int, Field(ge=0)] | None = None,
        strengths: arms.Strengths | None = None,
        scale: Scale = "norm",
        system: str | None = None,
        samples: rows.Samples = 4,
        max_tokens: rows.MaxTokens = 100,
        where: arms.Where = "all",
        words: str | None = None,
    ) -> ToolOutput:
        """Add a direction to the target's stream while it replies, and compare what it says.

        The direction is made from the target's own activations: the mean difference at the last
        token of `towards` and `away`, which are beginnings of replies to `question` or raw texts
        without one ("honesty" and "prefill" bring their own); or from "text", the mean over the
        tokens of `towards` less that of plain sentences; or the direction of a "feature" of the
        sparse autoencoder. A random direction of the same norm, and the baseline pushed the same
        way, show what the push does by itself.

        Items of kind "arm" come first: arm (target, steered_target, random_direction, baseline,
        steered_baseline), strength, replies, empty, share (replies that hold the words), change
        (share less that of the same model unsteered), p (two-sided, replies of equal seed swapped
        with unsteered ones), beyond_random and p_beyond_random. Then items of kind "phrase", what
        the target says more often when steered, then items of kind "reply".

        Source:
            Turner et al. 2023, activation addition; Rimsky et al. 2024, contrastive activation
            addition. "honesty" and "prefill" are the vectors of AuditBench (arXiv 2602.22755), in
            other words; its strengths, 0.75 and 1.25 at half the depth, are those of scale "raw".

        Cost:
            The target tokens of prompts x samples x (1 + 2 x strengths) replies, and the baseline
            tokens of half as many.

        Misses:
            What is in no single direction. Strong pushes break any model, and a model pushed to
            confess confesses to what it does not have: AuditBench's honesty vector led auditors
            astray. Count only what goes beyond random_direction and steered_baseline.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            vector: honesty, prefill, contrast, text or feature.
            towards: Texts to push towards, of contrast and text.
            away: As many texts to push away from, of contrast.
            question: What the user asked before `towards` and `away`; left out, they are raw texts.
            feature: Number of a feature, see sae_top.
            layer: Decoder block, from 0; left out: the middle one, or the autoencoder's.
            strengths: How hard to push; left out: 0.2 and 0.4 of scale norm, 1 of scale raw.
            scale: What a strength of 1 is: the mean norm of the target's activations on these
                prompts, or the direction as it is.
            system: System line of every conversation.
            samples: Replies to each prompt in each arm.
            max_tokens: Longest reply, in tokens.
            where: Change the tokens of the conversation, of the reply, or all.
            words: What to count in replies, as a pattern of nla_grep.
        """
        sought = None if words is None else compile_pattern(words)
        asked = arms.check_asked(
            ctx,
            prompts=prompts,
            system=system,
            samples=samples,
            strengths=strengths or ((0.2, 0.4) if scale == "norm" else (1.0,)),
            max_tokens=max_tokens,
            where=where,
        )
        _check_texts(vector, towards, away, question, feature)
        wanted = _layer(ctx, vector, layer)
        if vector == "feature":
            sae = features.autoencoder(ctx)
            direction = sae.directions[features.check_feature(sae, feature or 0)].double()
        elif vector == "text":
            direction = _towards_text(ctx, towards or [], wanted)
        else:
            direction = _contrast(ctx, vector, towards, away, question, wanted)
        if float(direction.norm()) < _SAME:
            raise ToolError("the direction is zero: send texts that differ in their last token")
        if scale == "norm":
            norm = arms.mean_norm(ctx, asked.prompts, wanted)
            direction = direction / direction.norm() * norm
        found = arms.run_arms(ctx, asked, [arms.Push(wanted, direction.float())])
        parts = [f"vector {vector} at layer {wanted}", *arms.describe(ctx, found, words)]
        return ToolOutput(
            summary="; ".join([*parts, readings.cost(ctx)]),
            items=arms.items(ctx, asked, found, sought),
        )

    return execute


def _check_texts(
    vector: Vector,
    towards: Sequence[str] | None,
    away: Sequence[str] | None,
    question: str | None,
    feature: int | None,
) -> None:
    """Refuse what the chosen vector does not take, or lacks.

    Raises:
        ToolError: Naming the parameter.
    """
    given = {"towards": towards, "away": away, "question": question, "feature": feature}
    takes = {"contrast": ("towards", "away", "question"), "text": ("towards",)}
    takes["feature"] = ("feature",)
    allowed = takes.get(vector, ())
    for name, value in given.items():
        if value is not None and name not in allowed:
            raise ToolError(f"the vector {vector!r} takes no {name}: leave it out")
        if value is None and name in allowed and name != "question":
            raise ToolError(f"the vector {vector!r} needs {name}: send it")
    rows.check_texts("towards", towards or ())
    rows.check_texts("away", away or ())
    if vector == "contrast" and len(towards or ()) != len(away or ()):
        raise ToolError("towards and away are pairs: send as many of one as of the other")


def _layer(ctx: ToolContext, vector: Vector, layer: int | None) -> int:
    if vector == "feature":
        own = features.autoencoder(ctx).layer
        if layer not in (None, own):
            raise ToolError(f"features are of layer {own}: leave `layer` out")
        return own
    depth = mind(ctx).depth
    wanted = depth // 2 if layer is None else layer
    if wanted >= depth:
        raise ToolError(f"layer {wanted} does not exist; the model has layers 0 to {depth - 1}")
    return wanted


def _contrast(
    ctx: ToolContext,
    vector: Vector,
    towards: Sequence[str] | None,
    away: Sequence[str] | None,
    question: str | None,
    layer: int,
) -> "Tensor":
    """Return the mean difference of last tokens, `[d_model]` float64."""
    import torch

    if vector != "contrast":
        fixed = battery("steering")[vector]
        towards, away, question = fixed["towards"], fixed["away"], fixed.get("question")

    def last(texts: Sequence[str]) -> "Tensor":
        sources: list[Prompt | str] = list(texts)
        if question is not None:
            asked = (ChatMessage("user", question),)
            sources = [Prompt(asked, text) for text in texts]
        streams = mind(ctx).activations(sources, layer=layer, positions=[[-1]] * len(texts))
        return torch.cat(streams).double().mean(0)

    found: Tensor = last(towards or ()) - last(away or ())
    return found


def _towards_text(ctx: ToolContext, texts: Sequence[str], layer: int) -> "Tensor":
    """Return the mean over the tokens of texts less that of plain ones, `[d_model]` float64."""
    import torch

    def mean(sources: Sequence[str]) -> "Tensor":
        places = [
            list(range(min(1, len(ids) - 1), len(ids))) for ids in mind(ctx).token_ids(sources)
        ]
        streams = mind(ctx).activations(sources, layer=layer, positions=places)
        return torch.cat(streams).double().mean(0)

    found: Tensor = mean(texts) - mean(battery("neutral"))
    return found
