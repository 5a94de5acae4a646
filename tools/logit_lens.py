"""Read single tokens of thought: what a layer would say if it were the last."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tools import rows
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading import parameters, readings
from tools.reading.passages import Passage, check_given, mind, target_passages
from tools.reading.places import check_positions, choose
from tools.reading.readings import rounded
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

DEPTH = 0.62
"""Where along the depth of a model the lens is put when no layer is given."""
MAX_PLACES = 2000
_RANKED = 40
_CHUNK = 32


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One token of a text, in both models."""

    passage: Passage
    position: int
    kl_target: float
    """KL of the target's lens from its own prediction, in nats."""
    kl_baseline: float
    target: "Tensor"
    """`[d_model]` float32."""
    baseline: "Tensor"


@dataclass(frozen=True, slots=True)
class Seen:
    """One place seen through the lens in both models."""

    place: Place
    distance: float
    """KL of the target's lens from the baseline's, in nats."""
    top: tuple[tuple[int, float], ...]
    """Likeliest tokens of the target's lens, with their probabilities."""
    gained: tuple[tuple[int, float, float], ...]
    """Tokens that weigh most in the distance, with the probabilities in both models."""


@tool(needs=("activations", "baseline"))
def logit_lens() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 0,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        layer: Annotated[int, Field(ge=0)] | None = None,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        top: Annotated[int, Field(ge=1, le=50)] = 10,
        gate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9,
        max_places: Annotated[int, Field(ge=1, le=MAX_PLACES)] = 400,
    ) -> ToolOutput:
        """Show which tokens a layer of the target leans to, and its baseline's does not.

        The stream after the layer is put through the final norm and the unembedding, in target and
        baseline, at the same tokens of the same texts. A place is kept when the target's lens
        differs from the target's own prediction by more than `gate` of the baseline's places do
        from the baseline's (KL of lens from prediction): what is in mind there and about to be said
        is of no interest. If the models were alike, a share of 1 - gate would be kept.

        Items of kind "token" come first, over all kept places: token, gain (mean probability in the
        target's lens minus the baseline's), target, baseline, places (where it is among the tokens
        that gained most). Then kind "position", the places kept, largest difference first: text,
        position, before, token, kl_target, kl_baseline, top (token, probability), gained (token,
        target, baseline). Then kind "text".

        Source:
            nostalgebraist 2020, "interpreting GPT: the logit lens"; the KL gate is that of
            AuditBench (arXiv 2602.22755), set there by hand and here by the baseline.

        Cost:
            The target tokens of the replies, if any are asked for.

        Misses:
            Whatever takes more than one token to say, and directions that later layers turn into
            something else: at early layers the lens shows mostly noise. AuditBench found it weak.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations.
            texts: Raw texts.
            system: System line of prompts and conversations that have none.
            replies: Replies of the target to each open conversation; 0 reads what is given.
            max_tokens: Longest reply, in tokens.
            layer: Decoder block, from 0; left out: at 62 % of the depth.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or where it would begin.
            span: Words of the texts; only tokens of these are looked at.
            top: Tokens shown of each place.
            gate: Share of the baseline's places that a kept one exceeds; 0 keeps nearly all.
            max_places: Most tokens looked at; of more each text keeps as many at random.
        """
        mind(ctx, "baseline")
        check_positions(ctx, positions)
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        wanted = round(DEPTH * (mind(ctx).depth - 1)) if layer is None else layer
        if wanted >= mind(ctx).depth:
            raise ToolError(
                f"layer {wanted} does not exist; the model has layers 0 to {mind(ctx).depth - 1}"
            )
        passages = target_passages(ctx, given)
        chosen = choose(ctx, passages, positions=positions, span=span, most=max_places)
        places, gains = _looked_at(ctx, passages, chosen, layer=wanted, top=top, gate=gate)
        total = sum(map(len, chosen))
        return ToolOutput(
            summary=f"layer {wanted}: {len(places)} of {total} places kept, "
            f"{(1 - gate) * total:.3g} expected if the models were alike; {readings.cost(ctx)}",
            items=(
                *gains,
                *(_item(ctx, one) for one in places),
                *(passage.item() for passage in passages),
            ),
        )

    return execute


def _looked_at(
    ctx: ToolContext,
    passages: Sequence[Passage],
    chosen: Sequence[Sequence[int]],
    *,
    layer: int,
    top: int,
    gate: float,
) -> tuple[list[Seen], list[dict[str, Any]]]:
    """Return the places kept, largest difference first, and tokens ranked over all of them."""
    import torch

    places: list[Place] = []
    # One text at a time, and streams instead of lenses: tables of whole vocabularies are large.
    for passage, positions in zip(passages, chosen, strict=True):
        if positions:
            ours = _far(ctx, "target", passage, positions, layer)
            theirs = _far(ctx, "baseline", passage, positions, layer)
            places += [
                Place(passage, position, float(ours[1][row]), float(theirs[1][row]), ours[0][row],
                      theirs[0][row])
                for row, position in enumerate(positions)
            ]  # fmt: skip
    limit = float(torch.tensor([one.kl_baseline for one in places]).quantile(gate))
    kept = [one for one in places if one.kl_target > limit]
    seen, sums = [], None
    for start in range(0, len(kept), _CHUNK):
        found, added = _seen(ctx, kept[start : start + _CHUNK], top)
        seen += found
        sums = added if sums is None else sums + added
    gains = [] if sums is None else _gains(ctx, seen, sums / len(kept))
    return sorted(seen, key=lambda one: -one.distance), gains


def _far(
    ctx: ToolContext, name: rows.ModelName, passage: Passage, positions: Sequence[int], layer: int
) -> "tuple[Tensor, Tensor]":
    """Return the stream at some places of a text, and the KL of its lens from the prediction."""
    from nla_core.positions import kl_divergence

    model = mind(ctx, name)
    (stream,) = model.activations([passage.source], layer=layer, positions=[positions])
    (said,) = model.token_logprobs([passage.source])
    return stream, kl_divergence(model.unembed(stream), said[list(positions)])


def _seen(ctx: ToolContext, places: Sequence[Place], top: int) -> "tuple[list[Seen], Tensor]":
    """Look at places; return them, and the sums `[2, vocab]` of their probabilities."""
    import torch

    from nla_core.positions import kl_divergence

    target = mind(ctx).unembed(torch.stack([one.target for one in places]))
    baseline = mind(ctx, "baseline").unembed(torch.stack([one.baseline for one in places]))
    ours, theirs = target.exp(), baseline.exp()
    best, gained = ours.topk(top, dim=-1), (ours * (target - baseline)).topk(top, dim=-1)
    distances = kl_divergence(target, baseline)
    found = []
    for row, place in enumerate(places):
        pairs = [
            (token, float(ours[row, token]), float(theirs[row, token]))
            for token in gained.indices[row].tolist()
        ]
        likeliest = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
        found.append(
            Seen(
                place,
                float(distances[row]),
                tuple(likeliest),
                tuple(pair for pair in pairs if pair[1] > pair[2]),
            )
        )
    return found, torch.stack([ours.sum(0), theirs.sum(0)])


def _gains(ctx: ToolContext, seen: Sequence[Seen], means: "Tensor") -> list[dict[str, Any]]:
    """Rank tokens by how much likelier they are in the target's lens, over all kept places."""
    counts = Counter(token for one in seen for token, _, _ in one.gained)
    gain = means[0] - means[1]
    order = [i for i in gain.topk(min(_RANKED, len(gain))).indices.tolist() if gain[i] > 0]
    return [
        {
            "kind": "token",
            "token": token,
            "gain": rounded(float(gain[i])),
            "target": rounded(float(means[0, i])),
            "baseline": rounded(float(means[1, i])),
            "places": counts[i],
        }
        for i, token in zip(order, mind(ctx).tokens(order), strict=True)
    ]


def _item(ctx: ToolContext, one: Seen) -> dict[str, Any]:
    spell, place = mind(ctx).tokens, one.place
    return {
        "kind": "position",
        "text": place.passage.index,
        "position": place.position,
        "before": place.passage.before(place.position),
        "token": place.passage.tokens[place.position],
        "kl_target": rounded(place.kl_target),
        "kl_baseline": rounded(place.kl_baseline),
        "top": [[spell([i])[0], rounded(p)] for i, p in one.top],
        "gained": [[spell([i])[0], rounded(p), rounded(q)] for i, p, q in one.gained],
    }
