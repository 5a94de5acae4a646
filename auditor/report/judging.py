"""How far a judge can be trusted: against human labels, and against another judge."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from auditor.records import Record, TrialKey, TrialSummary, Verdict
from auditor.report.agreement import (
    Agreement,
    Correlation,
    Rated,
    agreement,
    rank_correlation,
)
from auditor.report.clusters import bounds, rate_over_targets
from auditor.report.labels import Consensus, Label, consensus, rater_pairs
from auditor.report.statistics import Estimate, wilson_interval
from auditor.report.text import literal

Field = Literal["top1", "any"]


class RaterPair(Record):
    """Two people who labelled the same trials."""

    left: str
    right: str
    agreement: Agreement


class JudgeCalibration(Record):
    """A judge held against people."""

    judge: str
    """Which judgements: `record`, or their name."""
    field: Field
    """What of a verdict was compared: whether the first hypothesis hits, or any."""
    n_labelled: int
    """Trials with a label."""
    n_tied: int
    """Those whose raters are of two minds; left out."""
    n_unjudged: int
    """Those of which the judge gave no verdict; left out."""
    agreement: Agreement | None
    """People on the left, the judge on the right."""
    scores: Correlation | None
    """People's scores (or else shares of hits) and the share of the judge's ballots that hit."""
    behaviours: Correlation | None
    """Counts of behaviours; None without such labels, or a judge that counts none."""
    raters: tuple[RaterPair, ...]
    """People against each other: what a judge can at best be expected to reach."""


class Comparison(Record):
    """Two judges on the trials that both judged and that had to be read; the stored one is left."""

    n_invalid_left: int
    """Trials that only the stored judge calls invalid, or has no verdict of."""
    n_invalid_right: int
    top1: Agreement | None
    any_of_k: Agreement | None


class Tally(Record):
    """What a judge says of one tool set: the figures of its protocol. Intervals are 95 %.

    Over several targets they are clustered on targets; over the trials of a single one they are
    Wilson's (1927), and say what another trial of that target would do, not another target.
    """

    n_trials: int
    """Valid trials of guilty and symptom targets with a motive."""
    n_targets: int
    top1: float
    """Share whose first hypothesis hits."""
    top1_low: float
    top1_high: float
    any_of_k: float
    """Share of which some hypothesis hits: AuditBench's success, and a win of the auditing game."""
    any_of_k_low: float
    any_of_k_high: float
    behaviours_median: float | None
    """Median number of known behaviours described; None when none are known, or not counted."""
    behaviours_most: int | None


def tallies(verdicts: Mapping[TrialKey, Verdict]) -> dict[str, Tally]:
    """Sum up what a judge says of each tool set of which it read a trial."""
    rows: dict[str, dict[TrialKey, Verdict]] = {}
    for key, verdict in verdicts.items():
        rows.setdefault(key.tool_set, {})[key] = verdict
    found = {row: _tally(some) for row, some in rows.items()}
    return {row: one for row, one in found.items() if one is not None}


def _tally(verdicts: Mapping[TrialKey, Verdict]) -> Tally | None:
    read = [(key.target, one) for key, one in verdicts.items() if _scored(one)]
    top1 = _rate([(target, bool(one.top1)) for target, one in read])
    some = _rate([(target, bool(one.any_of_k)) for target, one in read])
    if top1 is None or some is None:
        return None
    counts = [len(one.behaviours_found) for _, one in read if one.behaviours_found is not None]
    return Tally.model_validate(
        {
            "n_trials": len(read),
            "n_targets": top1.n_targets,
            **bounds("top1", top1),
            **bounds("any_of_k", some),
            "behaviours_median": median(counts) if counts else None,
            "behaviours_most": max(counts, default=None),
        }
    )


def _rate(outcomes: Sequence[tuple[str, bool]]) -> Estimate | None:
    found = rate_over_targets(outcomes)
    if found is None or found.n_targets > 1:
        return found
    hits = sum(hit for _, hit in outcomes)
    return Estimate(found.mean, *wilson_interval(hits, len(outcomes)), 1)


def compare(summaries: Iterable[TrialSummary], verdicts: dict[TrialKey, Verdict]) -> Comparison:
    """Hold the verdicts of a run's record against those of another judge.

    Only guilty and symptom targets count: of others every judge says the same.
    """
    pairs = [
        (one.key.target, one.verdict, verdicts[one.key])
        for one in summaries
        if one.key in verdicts and one.group in ("guilty", "symptom")
    ]
    both = [(t, a, b) for t, a, b in pairs if a is not None and _scored(a) and _scored(b)]
    return Comparison(
        n_invalid_left=sum((a is None or not a.valid) and b.valid for _, a, b in pairs),
        n_invalid_right=sum(a is not None and a.valid and not b.valid for _, a, b in pairs),
        top1=agreement([Rated(t, bool(a.top1), bool(b.top1)) for t, a, b in both]),
        any_of_k=agreement([Rated(t, bool(a.any_of_k), bool(b.any_of_k)) for t, a, b in both]),
    )


def calibrate(
    summaries: Sequence[TrialSummary], labels: Sequence[Label], *, judge: str, field: Field
) -> JudgeCalibration:
    """Hold a judge against people.

    Args:
        summaries: Every labelled trial with the verdict in question.
        labels: What people say.
        judge: Name of the judge, for the record.
        field: What of a verdict to compare.
    """
    said = consensus(labels)
    verdicts = {t.key: t.verdict for t in summaries if t.verdict is not None and _scored(t.verdict)}
    judged = [(key, one, verdicts[key]) for key, one in said.items() if key in verdicts]
    return JudgeCalibration(
        judge=judge,
        field=field,
        n_labelled=len(said),
        n_tied=sum(one.hit is None for one in said.values()),
        n_unjudged=len(said) - len(judged),
        agreement=agreement(
            [
                Rated(key.target, one.hit, _hit(verdict, field))
                for key, one, verdict in judged
                if one.hit is not None
            ]
        ),
        scores=_correlated(
            [(key, _score(one), _share(verdict, field)) for key, one, verdict in judged]
        ),
        behaviours=_correlated(
            [(key, one.behaviours, _count(verdict)) for key, one, verdict in judged]
        ),
        raters=tuple(
            RaterPair(left=one, right=other, agreement=found)
            for one, other, shared in rater_pairs(labels)
            if (found := agreement(shared)) is not None
        ),
    )


def _scored(verdict: Verdict) -> bool:
    return verdict.valid and verdict.top1 is not None


def _hit(verdict: Verdict, field: Field) -> bool:
    return bool(verdict.top1 if field == "top1" else verdict.any_of_k)


def _share(verdict: Verdict, field: Field) -> float:
    """Share of ballots that hit; 0 or 1 of a judge without ballots."""
    votes = verdict.ballots_top1 if field == "top1" else verdict.ballots_any
    if not verdict.ballots or votes is None:
        return float(_hit(verdict, field))
    return votes / verdict.ballots


def _score(one: Consensus) -> float | None:
    if one.score is not None:
        return one.score
    return None if one.hit is None else float(one.hit)


def _count(verdict: Verdict) -> float | None:
    return None if verdict.behaviours_found is None else float(len(verdict.behaviours_found))


def _correlated(
    trials: Sequence[tuple[TrialKey, float | None, float | None]],
) -> Correlation | None:
    known = [(key.target, a, b) for key, a, b in trials if a is not None and b is not None]
    if not known:
        return None
    targets, left, right = zip(*known, strict=True)
    return rank_correlation(targets, left, right)


def calibration_report(found: JudgeCalibration) -> Group:
    """Render a calibration for the terminal."""
    what = "the first hypothesis" if found.field == "top1" else "some hypothesis"
    parts: list[Table | Text] = [
        Text(f"judge {found.judge}, on whether {what} names the motive", style="bold"),
        Text(
            f"{found.n_labelled} labelled trials; {found.n_tied} tied among raters and "
            f"{found.n_unjudged} without a verdict are left out"
        ),
    ]
    if found.agreement is not None:
        parts.append(_agreement_table([("judge", found.agreement)], left="people"))
    for name, one in (("scores", found.scores), ("behaviours", found.behaviours)):
        if one is not None:
            parts.append(Text(f"Spearman's rho of {name}: {_interval(one.rho, one.low, one.high)}"))
    if found.raters:
        rows = [(f"{p.left or '?'} and {p.right or '?'}", p.agreement) for p in found.raters]
        parts.append(_agreement_table(rows, left="first"))
    return Group(*parts)


def tally_report(found: Mapping[str, Tally]) -> Table:
    """Render what a judge says of each tool set for the terminal."""
    counted = any(one.behaviours_median is not None for one in found.values())
    behaviours = ("behaviours (median)", "(most)") if counted else ()
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="bold")
    table.add_column("tool set")
    for heading in ("trials", "targets", "first right", "any right", *behaviours):
        table.add_column(heading, justify="right")
    for row, one in found.items():
        known = one.behaviours_median
        counts = ("", "") if known is None else (f"{known:g}", str(one.behaviours_most))
        table.add_row(
            literal(row),
            str(one.n_trials),
            str(one.n_targets),
            _interval(one.top1, one.top1_low, one.top1_high),
            _interval(one.any_of_k, one.any_of_k_low, one.any_of_k_high),
            *(counts if counted else ()),
        )
    return table


def comparison_report(found: Comparison, *, left: str, right: str) -> Group:
    """Render a comparison of two judges for the terminal."""
    rows = [
        (name, one)
        for name, one in (("first hypothesis", found.top1), ("any hypothesis", found.any_of_k))
        if one is not None
    ]
    parts: list[Table | Text] = [literal(f"{left} (left) and {right} (right)", style="bold")]
    parts += [_agreement_table(rows, left="left")] if rows else [Text("no trial that both read")]
    if found.n_invalid_left or found.n_invalid_right:
        parts.append(
            Text(
                f"without a verdict: {found.n_invalid_left} on the left alone, "
                f"{found.n_invalid_right} on the right alone"
            )
        )
    return Group(*parts)


def _agreement_table(rows: Sequence[tuple[str, Agreement]], *, left: str) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="bold")
    table.add_column("")
    for heading in (
        "trials",
        "targets",
        "agree",
        "kappa",
        f"{left}'s hits missed",
        "hits invented",
    ):
        table.add_column(heading, justify="right")
    for name, one in rows:
        table.add_row(
            literal(name),
            str(one.n_trials),
            str(one.n_targets),
            f"{one.agreement:.2f}",
            _interval(one.kappa, one.kappa_low, one.kappa_high),
            _interval(one.missed, one.missed_low, one.missed_high),
            _interval(one.invented, one.invented_low, one.invented_high),
        )
    return table


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{value:.2f}{ends}"
