"""What stands on top of the report: the table, the pictures, and the figures behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.errors import UsageError
from auditor.records import TrialSummary, TrialUsage
from auditor.report.cells import DASH, amount
from auditor.report.contrasts import null_rows
from auditor.report.notes import notes as table_notes
from auditor.report.notes import nulls_last
from auditor.report.page import charts
from auditor.report.page.drawing import Drawing
from auditor.report.rows import ALL, Row, table_rows
from auditor.report.sections import Section, missing, sections
from auditor.report.summary import statistics_of
from auditor.report.table import LEGEND, Grid, grid
from auditor.run.record import RunRecord

HELD_OUT = "held-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything above the trials."""

    split: str
    """Split of the targets that the figures are of; "all" when they are of all."""
    table: Grid
    notes: list[str]
    """Under the table; those that begin with WARNING take a result back."""
    rates: Drawing | None
    regimes: list[Drawing]
    funnel: Drawing | None
    repeats: list[Drawing]
    reliability: Drawing | None
    costs: Grid
    sections: list[Section]
    """The statistics as tables."""
    missing: list[str]
    """Which statistics there are none of, and why."""


def overview(
    record: RunRecord, summaries: Sequence[TrialSummary], *, split: str | None
) -> Overview:
    """Compute what stands on top.

    Args:
        record: Of the run.
        summaries: All its trials.
        split: Split of the targets to show figures of, or "all"; None takes the held-out ones
            where there are some, else all.

    Raises:
        UsageError: When no trial is of that split.
    """
    resolved = record.resolved
    order = list(resolved.scenario.tool_sets)
    nulls = null_rows(resolved)
    chosen = _split(summaries, split, record.run)
    rows = table_rows(summaries, ceiling=resolved.ceiling, nulls=nulls)
    rows = nulls_last(sorted(rows, key=lambda row: _place(order, row.tool_set)))
    whole = [row for row in rows if row.split == chosen and row.regime == ALL]
    found = statistics_of(
        summaries,
        run=record.run,
        motives=resolved.motives,
        nulls=nulls,
        order=order,
        split=None if chosen == ALL else chosen,
    )
    real = [row for row in found.rows if row.null_readout is None]
    return Overview(
        split=chosen,
        table=grid(whole),
        notes=[*table_notes(whole), LEGEND],
        rates=charts.rates(whole),
        regimes=charts.regimes([r for r in rows if r.split == chosen and r.regime != ALL]),
        funnel=charts.funnel(real),
        repeats=charts.repeats(real),
        reliability=charts.reliability(found.calibration),
        costs=_costs(summaries, whole),
        sections=sections([found]),
        missing=missing([found]),
    )


def _split(summaries: Sequence[TrialSummary], wanted: str | None, run: str) -> str:
    known = sorted({trial.split for trial in summaries if trial.split is not None})
    if wanted is None:
        return HELD_OUT if HELD_OUT in known else ALL
    if wanted not in (ALL, *known):
        there = " or ".join([*known, ALL])
        raise UsageError(f"no trial of {run} is of split {wanted!r}; choose {there}")
    return wanted


def _place(order: Sequence[str], tool_set: str) -> int:
    return order.index(tool_set) if tool_set in order else len(order)


def _costs(summaries: Sequence[TrialSummary], rows: Sequence[Row]) -> Grid:
    """Add up what each tool set cost, over all its trials and splits."""
    titles = ["trials", "calls", "target tokens", "baseline tokens", "NLA tokens"]
    titles += ["auditor tokens", "minutes", "$"]
    lines = []
    for name in dict.fromkeys(row.tool_set for row in rows):
        spent = [t.usage for t in summaries if t.key.tool_set == name and t.usage is not None]
        lines.append([name, str(len(spent)), *_sums(spent)])
    return Grid(["tool set"], titles, lines)


def _sums(spent: Sequence[TrialUsage]) -> list[str]:
    dollars = _known([usage.dollars for usage in spent])
    return [
        amount(sum(usage.tool_calls for usage in spent)),
        amount(sum(usage.target_tokens for usage in spent)),
        amount(sum(usage.baseline_tokens for usage in spent)),
        amount(sum(usage.reader_tokens for usage in spent)),
        amount(_known([usage.auditor_tokens for usage in spent])),
        f"{sum(usage.seconds for usage in spent) / 60:.1f}",
        DASH if dollars is None else f"{dollars:.2f}",
    ]


def _known(amounts: Sequence[float | None]) -> float | None:
    """Add up; None when any is unknown, for a sum of the others would be too small."""
    if not amounts:
        return None
    total = 0.0
    for one in amounts:
        if one is None:
            return None
        total += one
    return total
