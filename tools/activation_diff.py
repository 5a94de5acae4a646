"""What fine-tuning left on text that has nothing to do with it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.batteries import battery
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading import readings
from tools.reading.passages import check_given, mind
from tools.reading.readings import rounded
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 20


@tool(needs=("activations", "baseline"))
def activation_diff() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        texts: rows.Texts | None = None,
        layer: Annotated[int, Field(ge=0)] | None = None,
        first: Annotated[int, Field(ge=1, le=32)] = 5,
        strength: Annotated[float, Field(gt=0.0, le=64.0)] = 8.0,
        samples: Annotated[int, Field(ge=0, le=32)] = 4,
    ) -> ToolOutput:
        """Average target minus baseline over the first tokens of unrelated texts, and read that.

        Narrow fine-tuning leaves a constant trace in the activations of any text, which often says
        what it was about. Items of kind "direction" come first, for the mean over the first tokens
        and then for each place (position 1 is the first token after the one that starts a text):
        position ("mean" for all), norm (of the mean difference, as a share of the baseline's mean
        norm), halves (cosine of the mean differences of two halves of the texts: near 0 is noise),
        promoted and suppressed (tokens that the direction pushes up or down through the final norm
        and unembedding). Where the audit has a reader of activations, items of kind "reading"
        follow: explanations of the baseline's mean activation plus `strength` times the difference,
        with whose "baseline" for that mean activation alone.

        Source:
            Minder et al. 2025, activation difference lens: "Narrow finetuning leaves clearly
            readable traces in activation differences".

        Cost:
            No target tokens; 2 x samples explanations where there is a reader.

        Misses:
            It shows what training was about, which is not what the model is after: clean and
            decoy targets leave traces as well. Broad or mixed training leaves little.

        Args:
            ctx: What this call may touch.
            texts: Raw texts that have nothing to do with your question; left out: a fixed set of 24
                plain sentences.
            layer: Decoder block, from 0; left out: the reader's, or the middle one.
            first: How many tokens of each text, after the first one.
            strength: How much of the difference is added to be read.
            samples: Explanations of each; 0 reads nothing.
        """
        mind(ctx, "baseline")
        given = check_given(
            prompts=None,
            conversations=None,
            texts=texts or battery("neutral"),
            system=None,
            replies=0,
            max_tokens=1,
        )
        wanted = _layer(ctx, layer)
        ours, theirs = _means(ctx, given.sources, wanted, first)
        change, norms = ours - theirs, theirs.norm(dim=-1)
        items = [_direction(ctx, "mean", change.mean(1), norms)]
        items += [
            _direction(ctx, str(place + 1), change[:, place], norms[:, place])
            for place in range(first)
        ]
        if ctx.reader is not None and samples:
            base, moved = theirs.mean((0, 1)), change.mean((0, 1))
            items += _read(ctx, base, moved, wanted, strength, samples)
        whole = items[0]
        return ToolOutput(
            summary=f"layer {wanted}, {len(given.sources)} texts: the mean difference has "
            f"{whole['norm']:.3g} of the baseline's norm, and its halves a cosine of "
            f"{whole['halves']:.2f}; {readings.cost(ctx)}",
            items=tuple(items),
        )

    return execute


def _layer(ctx: ToolContext, layer: int | None) -> int:
    if layer is not None:
        return layer
    return ctx.reader.layers[0] if ctx.reader is not None else mind(ctx).depth // 2


def _means(
    ctx: ToolContext, sources: Sequence[Any], layer: int, first: int
) -> "tuple[Tensor, Tensor]":
    """Return the activations of both models, `[text, place, d_model]` each.

    Raises:
        ToolError: When there are fewer than four texts that are long enough.
    """
    import torch

    # The first token of a text is the same in all of them, and its norm dwarfs all others.
    long = [
        source
        for source, ids in zip(sources, mind(ctx).token_ids(sources), strict=True)
        if len(ids) > first
    ]
    if len(long) < 4:
        raise ToolError(
            f"{len(long)} of the texts have more than {first} tokens, and 4 are needed: send "
            "longer texts or a smaller `first`"
        )
    if mind(ctx).token_ids(long) != mind(ctx, "baseline").token_ids(long):
        raise ToolError("target and baseline do not see the same tokens of these texts")
    places = [list(range(1, first + 1))] * len(long)
    ours, theirs = (
        torch.stack(mind(ctx, name).activations(long, layer=layer, positions=places)).double()
        for name in ("target", "baseline")
    )
    return ours, theirs


def _direction(ctx: ToolContext, name: str, change: "Tensor", norms: "Tensor") -> dict[str, Any]:
    """Describe the mean of differences `[text, d_model]` beside the baseline's norms."""
    import torch

    mean = change.mean(0)
    even, odd = change[0::2].mean(0), change[1::2].mean(0)
    floor = 1e-12
    halves = float(even @ odd / (even.norm() * odd.norm()).clamp_min(floor))
    lens = mind(ctx).unembed(torch.stack([mean, -mean]).float())
    promoted, suppressed = (row.topk(min(_SHOWN, len(row))).indices.tolist() for row in lens)
    return {
        "kind": "direction",
        "position": name,
        "norm": rounded(float(mean.norm() / norms.mean().clamp_min(floor))),
        "halves": rounded(halves),
        "promoted": mind(ctx).tokens(promoted),
        "suppressed": mind(ctx).tokens(suppressed),
    }


def _read(
    ctx: ToolContext,
    base: "Tensor",
    change: "Tensor",
    layer: int,
    strength: float,
    samples: int,
) -> list[dict[str, Any]]:
    import torch

    assert ctx.reader is not None
    allowed = ctx.reader_allowance
    if allowed is not None and 2 * samples * ctx.reader.max_tokens > allowed:
        raise ToolError(
            f"{2 * samples} explanations could take more than the {allowed} reader tokens that are "
            "left: send fewer samples, or 0"
        )
    found = ctx.reader.read(
        torch.stack([base + strength * change, base]).float(),
        layer=layer,
        samples=samples,
        temperature=1.0,
        # The same random numbers for both, so that what differs is due to the difference.
        seeds=[derive_seed(ctx.seed, "diff")] * 2,
        contexts=["", ""],
    )
    ctx.usage.reader_tokens += sum(one.explanation.n_tokens for one in found)
    return [
        {
            "kind": "reading",
            "whose": ("difference", "baseline")[one.explanation.vector],
            "sample": one.explanation.sample,
            "explanation": one.explanation.text,
        }
        for one in found
    ]
