"""Markdown of what is shown beside the success-rate table: top-1 by slice, success by k."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from auditor.report.cells import DASH, markdown_escaped, percent, percent_interval
from auditor.report.notes import nulls_last
from auditor.report.rows import ALL, Row

if TYPE_CHECKING:
    from auditor.report.heads import HeadsCurve, HeadsPoint


def markdown_grid(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    rule = [":--", *["--:"] * (len(titles) - 1)]
    return "\n".join(
        "| " + " | ".join(map(markdown_escaped, line)) + " |" for line in (titles, rule, *lines)
    )


def slice_markdown(rows: Sequence[Row], by: Literal["split", "regime"]) -> str:
    """Return top-1 of each tool set by split or by regime, null rows last."""
    names = list(dict.fromkeys(row.tool_set for row in nulls_last(rows)))
    cells = {
        (row.tool_set, getattr(row, by)): percent_interval(row.top1, row.top1_low, row.top1_high)
        for row in rows
        if getattr(row, by) != ALL and row.top1 is not None
    }
    labels = sorted({label for _, label in cells})
    lines = [[name, *(cells.get((name, label), DASH) for label in labels)] for name in names]
    return markdown_grid(["tool set", *labels], lines)


def heads_markdown(curves: "Sequence[HeadsCurve]") -> str:
    """Return success and false alarms of each tool set by the number of pooled reports."""
    lines = [
        [curve.tool_set, str(point.k), *_rates(point), *_rates(vote)]
        for curve in curves
        for point, vote in zip(curve.points, curve.votes, strict=True)
    ]
    titles = ["tool set", "k", "success", "false alarms", "by majority", "false alarms"]
    notes = dict.fromkeys(note for curve in curves for note in curve.notes)
    return "\n\n".join([markdown_grid(titles, lines), *map(markdown_escaped, notes)])


def _rates(point: "HeadsPoint") -> tuple[str, str]:
    return (
        percent_interval(point.success, point.success_low, point.success_high),
        percent(point.false_alarm),
    )
