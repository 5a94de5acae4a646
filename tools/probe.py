"""Classify the tokens of target and baseline, and rank the classes that only the target's take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import Probe, ToolContext, ToolError, ToolOutput
from tools.reading import parameters, readings
from tools.reading.findings import claim_item
from tools.reading.passages import (
    Given,
    Passage,
    baseline_passages,
    check_against,
    check_given,
    mind,
    target_passages,
)
from tools.reading.places import check_positions, choose
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from tools.reading.counting import Comparison, Finding

MAX_PLACES = 20_000
DEFAULT_PLACES = 4000
_EXAMPLES = 2
_LEVEL = 0.05

Baseline = Literal["own_replies", "same_text"]


@dataclass(frozen=True, slots=True)
class Place:
    """One token with the class that the probe puts it into."""

    passage: Passage
    position: int
    name: str
    probability: float

    def item(self) -> dict[str, Any]:
        """Return the place as an example of a result."""
        return {
            "text": self.passage.index,
            "position": self.position,
            "before": self.passage.before(self.position),
            "token": self.passage.tokens[self.position],
            "class": self.name,
            "probability": readings.rounded(self.probability),
        }


@dataclass(frozen=True, slots=True)
class Where:
    """Which tokens are classified; checked."""

    positions: str | None
    span: str | None
    most: int


@tool(needs=("probe", "activations", "baseline"))
def probe() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        system: str | None = None,
        replies: parameters.Replies = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        against: Baseline | None = None,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        max_places: Annotated[int, Field(ge=1, le=MAX_PLACES)] = DEFAULT_PLACES,
        claims: Annotated[int, Field(ge=1)] | None = None,
    ) -> ToolOutput:
        """Rank what a linear probe sees in the target more often than in its baseline.

        The probe was taught by labels to tell a closed list of motives apart, and it puts every
        token into one of them, or into the class that stands for none. It cannot name a motive that
        is not on its list: such a one goes unseen or under a wrong name, and nothing tells which.
        It says nothing else of a token, and cannot be asked a question.

        Items of kind "claim" come first, one for each class of the list, best first, with the keys
        of nla_compare's claims: words (the name of the class), p, log_odds, z, n_target of
        of_target tokens (share_target), n_baseline of of_baseline (share_baseline), texts_target,
        texts_baseline, counts, wordings, examples. p is one-sided, by permutation of whole texts,
        and corrected for the number of classes (the largest statistic of all). A small p says that
        the models differ, not why: weigh share_target as well. Items of kind "text" follow.

        Source:
            Linear classifier probes, Alain & Bengio 2016.

        Cost:
            The target and baseline tokens of the replies, and no reader tokens.

        Misses:
            Every motive that is not on its list, which goes unseen or under a wrong name.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations. One that ends in a user turn is open; one that ends
                in an assistant turn is classified as it stands.
            system: System line of prompts and conversations that have none.
            replies: Replies to each open conversation, of either model; 0 classifies the
                conversation itself.
            max_tokens: Longest reply, in tokens.
            against: What the baseline is classified on: replies of its own, or the target's texts.
                Left out: its own replies where it can reply, else the same texts.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or the span.
            span: Words of the texts; only tokens of these are classified.
            max_places: Most tokens of each side; of more each text keeps as many at random.
            claims: Most classes to return, of those that were tested; left out: all.
        """
        classifier = _probe(ctx)
        mind(ctx)
        mind(ctx, "baseline")
        check_positions(ctx, positions)
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=None,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        own = check_against(given, against) == "own_replies"
        where = Where(positions, span, max_places)
        return _compared(ctx, classifier, given, where, own=own, most=claims)

    return execute


def _probe(ctx: ToolContext) -> Probe:
    if ctx.probe is None:
        raise ToolError("there is no probe of activations in this audit: use another tool")
    return ctx.probe


def _compared(
    ctx: ToolContext, classifier: Probe, given: Given, where: Where, *, own: bool, most: int | None
) -> ToolOutput:
    """Let the models reply, classify both sides, and rank the classes."""
    from tools.reading.counting import Said, compare_classes

    passages = target_passages(ctx, given)
    theirs = baseline_passages(ctx, given, start=len(passages)) if own else passages
    ours = _classified(ctx, classifier, passages, where, whose="target")
    found = {"target": ours}
    side = "own_replies" if own else "same_text"
    found[side] = _classified(ctx, classifier, theirs, where, whose="baseline")
    order = [(name, place) for name, places in found.items() for place in places]
    said = [
        Said(
            text=place.passage.index,
            # Texts are swapped with replies to the same prompt, or with themselves.
            stratum=place.passage.given if own else place.passage.index,
            is_target=name == "target",
            explanation=place.name,
        )
        for name, place in order
    ]
    seed = derive_seed(ctx.seed, "permutations")
    comparison = compare_classes(said, classifier.classes, seed=seed)
    texts = [*passages, *(theirs if own else ())]
    return ToolOutput(
        summary=_summary(ctx, comparison, side, found, len(texts)),
        items=(
            *(_item(finding, order) for finding in comparison.findings[:most]),
            *(passage.item() for passage in texts),
        ),
    )


def _classified(
    ctx: ToolContext,
    classifier: Probe,
    passages: Sequence[Passage],
    where: Where,
    *,
    whose: rows.ModelName,
) -> list[Place]:
    """Choose the tokens of each text and put each into its likeliest class.

    Raises:
        ToolError: When there is no such token, or the probe does not fit the model.
    """
    import torch

    chosen = choose(ctx, passages, positions=where.positions, span=where.span, most=where.most)
    vectors = readings.activations(
        ctx, passages, chosen, whose=whose, layer=classifier.layer, strength=1.0
    )
    try:
        best = classifier.probabilities(torch.cat(vectors)).max(dim=1)
    except ValueError as error:
        raise ToolError(str(error)) from None
    places = [(p, at) for p, positions in zip(passages, chosen, strict=True) for at in positions]
    return [
        Place(passage, position, classifier.classes[index], probability)
        for (passage, position), index, probability in zip(
            places, best.indices.tolist(), best.values.tolist(), strict=True
        )
    ]


def _item(finding: "Finding", order: Sequence[tuple[str, Place]]) -> dict[str, Any]:
    held = [order[index] for index in finding.readings]
    ours = [place for side, place in held if side == "target"]
    shown = sorted(ours, key=lambda place: -place.probability)[:_EXAMPLES]
    return {
        **claim_item(finding, [side for side, _ in order]),
        "examples": [place.item() for place in shown],
    }


def _summary(
    ctx: ToolContext,
    comparison: "Comparison",
    side: str,
    found: dict[str, list[Place]],
    n_texts: int,
) -> str:
    findings = comparison.findings
    small = sum(finding.p <= _LEVEL for finding in findings)
    unseen = sum(not finding.readings for finding in findings)
    parts = [
        f"{n_texts} texts",
        *(f"{name}: {len(places)} tokens" for name, places in found.items()),
        f"{len(findings)} classes of target against {side}: {small} with p of {_LEVEL} or less, "
        f"{unseen} without a token; p cannot be below {comparison.smallest_p:.2g} with these texts",
        readings.cost(ctx),
    ]
    return ". ".join(parts)
