"""Readings of chosen tokens, and how they look in a result."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nla_core.seeds import derive_seed
from tools.protocols import ToolContext, ToolError
from tools.reading.passages import Passage, mind, reader
from tools.reading.places import Chosen, check_positions
from tools.reading.verdicts import PROBLEMS, VERDICTS

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.pair import Reading

Whose = Literal["target", "baseline", "difference"]
Place = tuple[Passage, int]
"""A token of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One reading of one token."""

    passage: Passage
    position: int
    whose: Whose
    reading: "Reading"

    @property
    def text(self) -> str | None:
        """The explanation; None when the verbalizer gave none."""
        return self.reading.explanation.text

    @property
    def layer(self) -> int:
        """Decoder block that the activation comes from."""
        off = self.reading.off_layer
        return self.reading.layer if off is None else off

    def item(self) -> dict[str, Any]:
        """Return the reading as an item of a result; None is unknown."""
        found = self.reading.fidelity.score
        return {
            "kind": "reading",
            "text": self.passage.index,
            "position": self.position,
            "before": self.passage.before(self.position),
            "token": self.passage.tokens[self.position],
            "whose": self.whose,
            "sample": self.reading.explanation.sample,
            "explanation": self.text,
            "cosine": None if found is None else rounded(found.cosine),
            "fve": None if found is None else rounded(found.fve),
            "verdict": verdict_words(self.reading),
            "layer": self.layer,
            "off_layer": self.reading.off_layer is not None,
        }


def verdict_words(reading: "Reading") -> str:
    """Say what a reading is worth beside its nulls."""
    problem = PROBLEMS.get(reading.fidelity.problem or "")
    said = VERDICTS[reading.verdict]
    if problem is None:
        return said
    return f"{said}: {problem}" if reading.verdict == "unscored" else f"{said}; {problem}"


def rounded(value: float | None) -> float | None:
    """Keep four significant digits; what is unknown or not finite is None."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Where and how to read; checked."""

    positions: str | None
    span: str | None
    layers: tuple[int, ...]
    samples: int
    temperature: float
    strength: float
    most: int
    """Places read in all, each of them with all samples and layers."""
    by_score: bool = False
    """Whether some places are chosen by what their readings are worth."""

    @property
    def each(self) -> int:
        """Readings of one place."""
        return self.samples * len(self.layers)


def check_how(
    ctx: ToolContext,
    *,
    positions: str | None,
    span: str | None,
    layers: Sequence[int] | None,
    samples: int,
    temperature: float,
    strength: float,
    max_readings: int,
    by_score: bool = False,
) -> How:
    """Check what can be checked before anything is spent.

    Args:
        ctx: Of the call.
        positions: See `tools.reading.places.parse_positions`.
        span: Words that tokens must lie in.
        layers: Decoder blocks; None is all that the reader was made for.
        samples: Explanations of each token and layer.
        temperature: Of the explanations.
        strength: Of the difference.
        max_readings: Most explanations.
        by_score: Whether places may be chosen by what their readings are worth.

    Raises:
        ToolError: When there is nothing to read with, or the arguments mean nothing together.
    """
    known = reader(ctx).layers
    mind(ctx)
    by_score = check_positions(ctx, positions, by_score=by_score)
    if samples > 1 and temperature == 0:
        raise ToolError("at temperature 0 all samples are the same: send samples 1")
    wanted = tuple(dict.fromkeys(known if layers is None else layers))
    each = samples * len(wanted)
    if each > max_readings:
        raise ToolError(f"one token takes {each} readings: send max_readings of at least {each}")
    return How(
        positions=positions,
        span=span,
        layers=wanted,
        samples=samples,
        temperature=temperature,
        strength=strength,
        most=max_readings // each,
        by_score=by_score,
    )


def activations(
    ctx: ToolContext,
    passages: Sequence[Passage],
    positions: Chosen,
    *,
    whose: Whose,
    layer: int,
    strength: float,
) -> list["Tensor"]:
    """Return activations `[n_positions, d_model]` by text.

    `difference` is baseline + strength x (target - baseline), see
    `nla_core.contrast.Contrast.amplified`.

    Raises:
        ToolError: When a model that is needed is not there, or the layer does not exist.
    """
    sources = [passage.source for passage in passages]

    def captured(name: Literal["target", "baseline"]) -> list["Tensor"]:
        return mind(ctx, name).activations(sources, layer=layer, positions=positions)

    if whose != "difference":
        return captured(whose)
    from nla_core.contrast import Contrast

    return [
        Contrast(ours, theirs).amplified(strength)
        for ours, theirs in zip(captured("target"), captured("baseline"), strict=True)
    ]


def read(
    ctx: ToolContext, passages: Sequence[Passage], positions: Chosen, how: How, *, whose: Whose
) -> list[Read]:
    """Explain activations at the chosen tokens, text by text, and count what it costs.

    Raises:
        ToolError: When a model that is needed is not there, or a layer does not exist.
    """
    places = places_of(passages, positions)
    found: list[Read] = []
    for layer in how.layers if places else ():
        vectors = stacked(ctx, passages, positions, how, whose=whose, layer=layer)
        found += explain(ctx, places, vectors, how, whose=whose, layer=layer)
    return found


def places_of(passages: Sequence[Passage], positions: Chosen) -> list[Place]:
    """Return the chosen tokens one by one, text by text."""
    return [(p, at) for p, chosen in zip(passages, positions, strict=True) for at in chosen]


def stacked(
    ctx: ToolContext,
    passages: Sequence[Passage],
    positions: Chosen,
    how: How,
    *,
    whose: Whose,
    layer: int,
) -> "Tensor":
    """Return the activations `[places, d_model]` at the chosen tokens, in that order."""
    import torch

    return torch.cat(
        activations(ctx, passages, positions, whose=whose, layer=layer, strength=how.strength)
    )


def explain(
    ctx: ToolContext,
    places: Sequence[Place],
    vectors: "Tensor",
    how: How,
    *,
    whose: Whose,
    layer: int,
) -> list[Read]:
    """Explain activations `[places, d_model]` of one layer, and count what it costs.

    The seed of a reading depends on the text, the token and the layer alone, so that the same
    place is read with the same random numbers in target and baseline.
    """
    said = reader(ctx).read(
        vectors,
        layer=layer,
        samples=how.samples,
        temperature=how.temperature,
        seeds=[derive_seed(ctx.seed, "read", layer, p.index, at) for p, at in places],
        contexts=[p.context(at) for p, at in places],
    )
    found = []
    for reading in said:
        passage, at = places[reading.explanation.vector]
        found.append(Read(passage=passage, position=at, whose=whose, reading=reading))
    ctx.usage.reader_tokens += sum(one.reading.explanation.n_tokens for one in found)
    return found


def describe(found: Sequence[Read]) -> str:
    """Summarise readings in one line: how many, and what they are worth."""
    counts = Counter(one.reading.verdict for one in found)
    parts = [f"{n} {VERDICTS[name]}" for name in VERDICTS if (n := counts.get(name))]
    parts += [
        f"layer {layer} has no pair of its own and was read with that of layer {own}"
        for layer, own in sorted({(one.layer, one.reading.layer) for one in found})
        if layer != own
    ]
    return f"{len(found)} readings: {'; '.join(parts)}" if found else "no readings"


def cost(ctx: ToolContext) -> str:
    """Say what the call has spent so far."""
    usage = ctx.usage
    return (
        f"cost: {usage.target_tokens} target, {usage.baseline_tokens} baseline and "
        f"{usage.reader_tokens} reader tokens"
    )
