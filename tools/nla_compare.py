"""Read target and baseline, and rank what only the target's readings say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ToolContext, ToolOutput
from tools.reading import allowance, parameters, readings
from tools.reading.findings import claim_item
from tools.reading.passages import (
    Against,
    Given,
    Passage,
    baseline_passages,
    check_against,
    check_given,
    mind,
    target_passages,
)
from tools.reading.readings import Read
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from tools.reading.counting import Comparison, Finding

Ranked = Literal["target", "difference", "both"]
MinVerdict = Literal["any", "not_random", "carries"]
Sides = dict[str, list[Read]]
"""Readings by side: difference or target first, then own_replies or same_text, ranked ones first
of their kind."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was compared, and how it came out."""

    comparison: "Comparison"
    order: list[tuple[str, Read]]
    """Side and reading, as findings number them."""
    ours: str
    theirs: str


_TARGETS = ("difference", "target")
_BASELINES = ("own_replies", "same_text")
_MAX_CLAIMS = 200
_EXAMPLES = 2
_EXAMPLE_KEYS = (
    *("text", "position", "before", "token", "whose"),
    *("explanation", "cosine", "fve", "verdict"),
)
_LEVEL = 0.05


@tool(needs=("reader", "activations", "baseline"))
def nla_compare() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        whose: Ranked = "difference",
        strength: parameters.Strength = parameters.DEFAULT_STRENGTH,
        against: Against | None = None,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        layers: parameters.Layers | None = None,
        samples: parameters.Draws = 1,
        temperature: parameters.Temperature = 1.0,
        max_readings: parameters.MaxReadings = parameters.DEFAULT_READINGS,
        min_verdict: MinVerdict = "any",
        claims: Annotated[int, Field(ge=1, le=_MAX_CLAIMS)] = 60,
        keep_readings: bool = False,
    ) -> ToolOutput:
        """Rank what readings of the target say more often than readings of its baseline.

        The target replies to each open conversation and its replies are read; the baseline is read
        on replies of its own, or on the very same texts. The same texts are the stricter contrast
        for text that gives nothing away, and the weaker one where the target's words alone let the
        baseline guess. Explanations are cut into claims, wordings are merged, and each claim, and
        each phrase and word inside claims, is counted in how many readings it occurs.

        Items of kind "claim" come first, best first: unit (claim, phrase or word), words, p,
        log_odds, z, n_target of of_target readings (share_target), n_baseline of of_baseline
        (share_baseline), texts_target, texts_baseline, counts (every side that was read), wordings,
        examples. p is one-sided, by permutation of whole texts, and corrected for the number of
        units (the largest statistic of all). log_odds has an informative prior, so that rare counts
        stay near 0. A small p says that the models differ, not why: weigh share_target as well, and
        test what matters with nla_verify and nla_steer. Items of kind "text" follow, and with
        keep_readings before them those of kind "reading", as in nla_explain.

        Source:
            Natural language autoencoders, kitft/natural_language_autoencoders (2026); log-odds of
            Monroe et al. 2008, "Fightin' Words"; maximum-statistic permutation test of Westfall &
            Young 1993.

        Cost:
            The target and baseline tokens of the replies, and the reader tokens of up to
            max_readings explanations for each side. Where the budget has fewer tokens left, fewer
            places are read, as many on each side and about as many of each text, at random; the
            summary says how many readings that cut.

        Misses:
            What target and baseline hold alike, and what readings seldom say. Any difference
            between the models can come first: a habit, a topic, a style.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations. One that ends in a user turn is open; one that ends
                in an assistant turn is read as it stands.
            texts: Raw texts, read as they are, without a chat template.
            system: System line of prompts and conversations that have none.
            replies: Replies to each open conversation, of either model; 0 reads the conversation
                itself.
            max_tokens: Longest reply, in tokens.
            whose: What is read on the target's side and ranked: the target's activations, or
                baseline + strength x (target - baseline). "both" reads both and ranks the latter.
            strength: Strength of the difference; 1 is the target itself.
            against: What the baseline is read on: replies of its own, or the target's texts. "both"
                reads both and ranks against its own replies. Left out: its own replies where it can
                reply, else the same texts.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or the span.
            span: Words of the texts; only tokens of these are read.
            layers: Decoder blocks to read, from 0; left out: those that the reader was made for.
            samples: Explanations drawn of each token.
            temperature: Of the explanations; 0 is greedy.
            max_readings: Most readings of each side; of more places each text keeps as many at
                random.
            min_verdict: Which readings count: any, those better than a random vector, or those
                better than all their nulls.
            claims: Most claims, phrases and words to return.
            keep_readings: Also return all readings, which nla_grep can search.
        """
        how = readings.check_how(
            ctx,
            positions=positions,
            span=span,
            layers=layers,
            samples=samples,
            temperature=temperature,
            strength=strength,
            max_readings=max_readings,
        )
        mind(ctx, "baseline")
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        plan = _plan(whose, check_against(given, against))
        allowance.check_room(ctx, given, how, sides=len(plan))
        drawn, passages = _read(ctx, given, how, plan)
        return _output(ctx, drawn, passages, least=min_verdict, most=claims, whole=keep_readings)

    return execute


def _plan(whose: Ranked, against: Against) -> dict[str, readings.Whose]:
    """Return whose activations each side reads, the ranked sides first of their kind."""
    plan: dict[str, readings.Whose] = {}
    if whose != "target":
        plan["difference"] = "difference"
    if whose != "difference":
        plan["target"] = "target"
    if against != "same_text":
        plan["own_replies"] = "baseline"
    if against != "own_replies":
        plan["same_text"] = "baseline"
    return plan


def _read(
    ctx: ToolContext, given: Given, how: readings.How, plan: dict[str, readings.Whose]
) -> tuple[allowance.Drawn, list[Passage]]:
    """Let the models reply and read every side; return the readings and all texts."""
    passages = target_passages(ctx, given)
    own: list[Passage] = []
    if "own_replies" in plan:
        own = baseline_passages(ctx, given, start=len(passages))
    sides = {
        name: allowance.Side(own if name == "own_replies" else passages, whose)
        for name, whose in plan.items()
    }
    return allowance.read_sides(ctx, sides, how), [*passages, *own]


def _output(
    ctx: ToolContext,
    drawn: allowance.Drawn,
    passages: Sequence[Passage],
    *,
    least: MinVerdict,
    most: int,
    whole: bool,
) -> ToolOutput:
    ranking = _rank(ctx, drawn.found, least)
    claims = []
    if ranking is not None:
        claims = [_claim_item(one, ranking) for one in ranking.comparison.findings[:most]]
    read = [one.item() for found in drawn.found.values() for one in found] if whole else []
    return ToolOutput(
        summary=_summary(ctx, drawn, ranking, len(passages)),
        items=(*claims, *read, *(passage.item() for passage in passages)),
    )


def _first(sides: Sides, names: Sequence[str]) -> str:
    return next(name for name in names if name in sides)


def _counting(found: Sequence[Read], least: MinVerdict) -> list[Read]:
    """Keep readings with an explanation, of the wanted worth."""
    dropped = {"any": (), "not_random": ("random", "unscored"), "carries": None}[least]
    return [
        one
        for one in found
        if one.text is not None
        and (
            one.reading.verdict == "carries"
            if dropped is None
            else one.reading.verdict not in dropped
        )
    ]


def _rank(ctx: ToolContext, sides: Sides, least: MinVerdict) -> "Ranking | None":
    """Compare the first side of each kind; None when one has no readings."""
    from tools.reading.counting import Said, compare

    ours, theirs = _first(sides, _TARGETS), _first(sides, _BASELINES)
    labels: dict[str, bool] = {ours: True, theirs: False}
    order = [(side, one) for side, found in sides.items() for one in _counting(found, least)]
    said = [
        Said(
            text=one.passage.index,
            # Texts are swapped with replies to the same prompt, or with themselves.
            stratum=one.passage.index if theirs == "same_text" else one.passage.given,
            is_target=labels.get(side),
            explanation=one.text or "",
        )
        for side, one in order
    ]
    if {True, False} - {one.is_target for one in said}:
        return None
    return Ranking(compare(said, seed=derive_seed(ctx.seed, "permutations")), order, ours, theirs)


def _claim_item(finding: "Finding", ranking: Ranking) -> dict[str, Any]:
    sides = [side for side, _ in ranking.order]
    return {**claim_item(finding, sides), "examples": _examples(finding, ranking)}


def _examples(finding: "Finding", ranking: Ranking) -> list[dict[str, Any]]:
    """Show the target's readings that hold a claim, those nearest to their activation first."""
    held = [
        one
        for side, one in map(ranking.order.__getitem__, finding.readings)
        if side == ranking.ours
    ]

    def worth(one: Read) -> float:
        score = one.reading.fidelity.score
        return -math.inf if score is None else -score.mse_nrm

    shown = sorted(held, key=worth, reverse=True)[:_EXAMPLES]
    return [{key: one.item()[key] for key in _EXAMPLE_KEYS} for one in shown]


def _summary(
    ctx: ToolContext, drawn: allowance.Drawn, ranking: "Ranking | None", n_texts: int
) -> str:
    sides = drawn.found
    parts = [f"{n_texts} texts"]
    parts += [f"{side}: {readings.describe(found)}" for side, found in sides.items()]
    if drawn.note:
        parts.append(drawn.note)
    if ranking is None:
        parts.append("no readings to compare on one side: nothing is ranked")
        return ". ".join([*parts, readings.cost(ctx)])
    found = ranking.comparison
    small = sum(finding.p <= _LEVEL for finding in found.findings)
    parts.append(
        f"{len(found.findings)} claims, phrases and words of {ranking.ours} against "
        f"{ranking.theirs}: {small} with p of {_LEVEL} or less; p cannot be below "
        f"{found.smallest_p:.2g} with these texts"
    )
    if found.dropped:
        parts.append(f"{found.dropped} rarer ones were not tested")
    silent = sum(one.text is None for found in sides.values() for one in found)
    if silent:
        parts.append(f"{silent} readings have no explanation and count nowhere")
    return ". ".join([*parts, readings.cost(ctx)])
