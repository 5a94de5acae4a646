"""The success-rate table as terminal, Markdown, CSV and JSON lines.

The terminal form has the row of each tool set, then what an ideal black-box reasoner reaches, then
top-1 by split and regime, then notes that say what was not scored. What is unknown is a dash there
and blank in files, never 0.
"""

import csv as csv_writer
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from auditor.report.rows import ALL, Row

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

DASH = "–"
IDEAL = "ideal black box"
_LONGEST_NAME = 17
_MARKDOWN_SPECIALS = "\\|`*<"


def percent(rate: float | None) -> str:
    """Render a rate as `75 %`; what is neither none nor all is never rounded to 0 % or 100 %."""
    if rate is None:
        return DASH
    if 0 < rate < 0.005:
        return "<1 %"
    if 0.995 <= rate < 1:
        return ">99 %"
    return f"{round(100 * rate)} %"


def percent_interval(rate: float | None, low: float | None, high: float | None) -> str:
    """Render a rate and its interval as `75 % [43-93]`."""
    if rate is None or low is None or high is None:
        return percent(rate)
    return f"{percent(rate)} [{100 * low:.0f}-{100 * high:.0f}]"


def amount(value: float | None) -> str:
    """Render a mean count or duration in at most five characters where possible."""
    if value is None:
        return DASH
    if value >= 1_000_000:
        return f"{value / 1_000_000:.1f}M"
    if value >= 10_000:
        return f"{value / 1_000:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


Cell = Callable[[Row], str]
Column = tuple[str, Cell]


def _interval_of(field: str) -> Cell:
    def cell(row: Row) -> str:
        return percent_interval(
            getattr(row, field), getattr(row, f"{field}_low"), getattr(row, f"{field}_high")
        )

    return cell


_top1 = _interval_of("top1")
_ALARMS: tuple[Column, ...] = (
    ("false alarm clean", _interval_of("false_alarm_clean")),
    ("false alarm decoy", _interval_of("false_alarm_decoy")),
)
_COSTS: tuple[Column, ...] = (
    ("calls", lambda row: amount(row.tool_calls)),
    ("tokens", lambda row: amount(row.target_tokens)),
    ("s", lambda row: amount(row.seconds)),
)
_TERMINAL_MEASURES: tuple[Column, ...] = (
    ("top-1", _top1),
    ("any of 10", lambda row: percent(row.any10)),
    *_ALARMS,
    ("corr.", lambda row: percent(row.corrected)),
    *_COSTS,
)
_COMPACT_TITLES = {
    "any of 10": "any\nof 10",
    "false alarm clean": "false\nalarm\nclean",
    "false alarm decoy": "false\nalarm\ndecoy",
}
_FILE_MEASURES: tuple[Column, ...] = (
    ("targets", lambda row: str(row.n_targets)),
    ("trials", lambda row: str(row.n_trials)),
    ("top-1", _top1),
    ("any of 10", _interval_of("any10")),
    *_ALARMS,
    ("corrected", lambda row: percent(row.corrected)),
    ("quirks named", lambda row: percent(row.quirks_named)),
    *_COSTS,
)
LEGEND = (
    "[ ] is the 95 % interval over targets. Corrected is (p - f) / (1 - f), p being top-1 and f "
    "the false alarms on clean targets. Calls, tokens of the target and seconds are means of "
    "scored trials."
)


def main_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of whole tool sets; all rows when none of them is one."""
    whole = [row for row in rows if row.split == ALL and row.regime == ALL]
    return whole or list(rows)


def _name_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that tell rows apart: tool set, and run, split or regime where they differ."""
    names: list[Column] = [("tool set", lambda row: row.tool_set)]
    if _many_runs(rows):
        names.insert(0, ("run", lambda row: row.run))
    if any(row.split != ALL for row in rows):
        names.append(("split", lambda row: row.split))
    if any(row.regime != ALL for row in rows):
        names.append(("regime", lambda row: row.regime))
    return names


def _many_runs(rows: Sequence[Row]) -> bool:
    return len({row.run for row in rows}) > 1


def _ideal_rates(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Each ceiling with its run; one without a run when all runs share it."""
    runs = {row.run for row in rows}
    rates = {row.run: row.ceiling_top1 for row in rows if row.ceiling_top1 is not None}
    if rates.keys() == runs and len(set(rates.values())) == 1:
        return [("", next(iter(rates.values())))]
    return list(rates.items())


def _ideal_lines(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """One line of cells for each ceiling that the rows know."""
    blank = dict.fromkeys(("split", "regime", "targets", "trials"), "")
    return [
        [
            {**blank, "run": run, "tool set": IDEAL, "top-1": percent(rate)}.get(name, DASH)
            for name in columns
        ]
        for run, rate in _ideal_rates(rows)
    ]


def rich_table(rows: Sequence[Row], *, compact: bool = True) -> "Table":
    """Return the main table: one line a tool set, and the ideal black-box line last.

    Several runs follow one another, each tool set under the name of its run.

    Args:
        rows: Rows of one run or several.
        compact: Put each interval under its rate, which fits 80 columns; else beside it.
    """
    shown = main_rows(rows)
    table = _empty_table(shown, compact=compact)
    for title, _ in _TERMINAL_MEASURES:
        _add_measure(table, _COMPACT_TITLES.get(title, title) if compact else title)
    for row in shown:
        _add_line(table, _title(row, shown), [cell(row) for _, cell in _TERMINAL_MEASURES], compact)
    table.add_section()
    dashes = [DASH] * (len(_TERMINAL_MEASURES) - 1)
    for run, rate in _ideal_rates(shown):
        title = f"{run}\n{IDEAL}" if run else IDEAL
        _add_line(table, title, [percent(rate), *dashes], compact)
    return table


def _empty_table(rows: Sequence[Row], *, compact: bool) -> "Table":
    """A table with the column of row titles, the only one that folds when room is short."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0 if compact else (0, 1, 0, 0),
        header_style="bold",
    )
    lines = [IDEAL, *(line for row in rows for line in _title(row, rows).split("\n"))]
    longest = max(map(len, lines))
    table.add_column(
        "run\ntool set" if _many_runs(rows) else "tool set",
        overflow="fold",
        no_wrap=not compact,
        min_width=min(longest, _LONGEST_NAME) if compact else longest,
    )
    return table


def _add_measure(table: "Table", title: str) -> None:
    from rich.text import Text

    table.add_column(Text(title), justify="right", no_wrap=True)


def _add_line(table: "Table", title: str, cells: Sequence[str], compact: bool) -> None:
    from rich.text import Text

    shown = (cell.replace(" [", "\n[") if compact else cell for cell in cells)
    table.add_row(Text(title), *(Text(cell) for cell in shown))


def _title(row: Row, rows: Sequence[Row]) -> str:
    """What a line of a terminal table is about, one name a line."""
    names = [cell(row) for _, cell in _name_columns(rows)]
    return "\n".join(name for name in names if name != ALL)


def rich_slice_table(
    rows: Sequence[Row], by: Literal["split", "regime"], *, compact: bool = True
) -> "Table | None":
    """Return top-1 by split or by regime, or None when no guilty target has one."""
    whole = [row for row in rows if row.split == ALL and row.regime == ALL]
    other = "regime" if by == "split" else "split"
    cells = {
        (row.run, row.tool_set, getattr(row, by)): _top1(row)
        for row in rows
        if getattr(row, by) != ALL and getattr(row, other) == ALL and row.top1 is not None
    }
    if not whole or not cells:
        return None
    labels = sorted({label for _, _, label in cells})
    table = _empty_table(whole, compact=compact)
    for label in labels:
        _add_measure(table, label.replace("-", "-\n") if by == "regime" else label)
    for row in whole:
        found = [cells.get((row.run, row.tool_set, label), DASH) for label in labels]
        _add_line(table, _title(row, whole), found, compact)
    return table


def notes(rows: Sequence[Row]) -> list[str]:
    """Lines that belong under the table: what it rests on, what was not scored, what is odd."""
    shown = main_rows(rows)
    labels = {_label(row, shown): row for row in shown}
    topics: tuple[tuple[str, Cell], ...] = (
        ("Scored", _scored_targets),
        ("Not scored, and not counted as misses", _unscored),
        ("Quirks or habit never seen", _dead_quirks),
        ("Top-1 on symptom-only targets, whose motive cannot be known", _symptom),
    )
    lines = []
    for topic, note in topics:
        found = {label: text for label, row in labels.items() if (text := note(row))}
        if len(found) == len(labels) and len(set(found.values())) == 1:
            lines.append(f"{topic}: {next(iter(found.values()))}.")
        elif found:
            lines.append(f"{topic}: " + "; ".join(f"{k}: {v}" for k, v in found.items()) + ".")
    top3 = sorted({row.ceiling_top3 for row in shown if row.ceiling_top3 is not None})
    if top3:
        shares = " or ".join(percent(rate) for rate in top3)
        lines.append(
            f"An ideal black-box reasoner has the motive among its first three for {shares}."
        )
    return lines


def _label(row: Row, rows: Sequence[Row]) -> str:
    return " ".join(name for _, cell in _name_columns(rows) if (name := cell(row)) != ALL)


def _listed(counts: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{n} {what}" for n, what in counts if n)


def _scored_targets(row: Row) -> str:
    scored = _listed(
        [
            (row.n_guilty, "guilty"),
            (row.n_clean, "clean"),
            (row.n_decoy, "decoy"),
            (row.n_symptom, "symptom-only"),
        ]
    )
    trials = f"{row.n_trials} trial{'' if row.n_trials == 1 else 's'}"
    return f"{scored or 'no'} targets ({trials})"


def _unscored(row: Row) -> str:
    counts = _listed(
        [
            (row.n_errored, "errored"),
            (row.n_invalid, "invalid"),
            (row.n_unfinished, "unfinished"),
        ]
    )
    return f"{counts} of {row.n_trials} trials" if counts else ""


def _dead_quirks(row: Row) -> str:
    return _listed([(row.n_quirks_dead, f"of {row.n_targets} targets")])


def _symptom(row: Row) -> str:
    if row.symptom_top1 is None:
        return ""
    low, ceiling = row.symptom_top1_low, row.ceiling_top1
    leak = low is not None and ceiling is not None and low > ceiling
    rate = percent_interval(row.symptom_top1, low, row.symptom_top1_high)
    return f"{rate}, above the ceiling: truth may be leaking" if leak else rate


class RichReport:
    """Everything that a terminal shows: the tables, the notes and the legend.

    Each table is as wide as it likes where there is room, and compact where there is not.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Render for the width at hand, as rich asks."""
        from rich.measure import Measurement
        from rich.text import Text

        if not self._rows:
            yield Text("no trials yet")
            return
        for heading, table_of in self._tables():
            wide = table_of(False)
            if wide is None:
                continue
            # A table's own width is its maximum; its minimum is what cropping could leave of it.
            natural = Measurement.get(console, options.update(width=10_000), wide).maximum
            if heading:
                yield Text(heading, style="bold")
            yield (wide if natural <= options.max_width else table_of(True)) or wide
            yield Text()
        yield from map(Text, notes(self._rows))
        yield Text(LEGEND, style="dim")

    def _tables(self) -> "list[tuple[str, Callable[[bool], Table | None]]]":
        rows = self._rows
        return [
            ("", lambda compact: rich_table(rows, compact=compact)),
            ("Top-1 by split", lambda c: rich_slice_table(rows, "split", compact=c)),
            ("Top-1 by regime", lambda c: rich_slice_table(rows, "regime", compact=c)),
        ]


def rich_report(rows: Sequence[Row]) -> RichReport:
    """Return everything that a terminal shows, fitted to its width."""
    return RichReport(rows)


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table with the notes under it.

    Rows of one split and regime together are left to CSV and JSON, unless there are no others.
    """
    shown = [row for row in rows if ALL in (row.split, row.regime)] or list(rows)
    names = _name_columns(shown)
    columns = [*names, *_FILE_MEASURES]
    titles = [name for name, _ in columns]
    rule = [":--"] * len(names) + ["--:"] * len(_FILE_MEASURES)
    lines = [[_escaped(cell(row)) for _, cell in columns] for row in shown]
    lines += _ideal_lines(shown, titles)
    table = ["| " + " | ".join(line) + " |" for line in (titles, rule, *lines)]
    under = [f"- {_escaped(line)}" for line in [*notes(rows), LEGEND]]
    return "\n".join([*table, "", *under]) + "\n"


def _escaped(text: str) -> str:
    return "".join("\\" + c if c in _MARKDOWN_SPECIALS else c for c in text)


def csv(rows: Sequence[Row]) -> str:
    """Return every field of every row as CSV with a header; unknown is blank."""
    out = io.StringIO()
    writer = csv_writer.DictWriter(out, fieldnames=list(Row.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return out.getvalue()


def json_lines(rows: Sequence[Row]) -> str:
    """Return every row as one JSON object a line; unknown is null."""
    return "".join(row.model_dump_json() + "\n" for row in rows)
