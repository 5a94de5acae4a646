"""The success-rate table as terminal, Markdown, CSV and JSON lines.

The terminal form has the row of each tool set, those of null readouts last, then what an ideal
black-box reasoner reaches, then top-1 by split and regime, then notes that hold each row against
its nulls and say what was not scored. What is unknown is a dash there and blank in files, never 0.
"""

import csv as csv_writer
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.report.cells import DASH, amount, markdown_escaped, percent, percent_interval
from auditor.report.notes import (
    WARNING,
    Cell,
    Column,
    main_rows,
    many_runs,
    name_columns,
    notes,
    null_tag,
    nulls_last,
)
from auditor.report.rows import ALL, Row

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

IDEAL = "ideal black box"
_LONGEST_NAME = 17


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
_READER_COST: Column = ("NLA tokens", lambda row: amount(row.reader_tokens))
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
    "NLA tokens": "NLA\ntokens",
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


def _measures(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns of a table; that of the reader's tokens only where a reader was paid."""
    if not any(row.reader_tokens for row in rows):
        return list(columns)
    place = [title for title, _ in columns].index("tokens") + 1
    return [*columns[:place], _READER_COST, *columns[place:]]


def _ideal_rates(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Each ceiling with its run; one without a run when all runs share it."""
    runs = {row.run for row in rows}
    rates = {row.run: row.ceiling_top1 for row in rows if row.ceiling_top1 is not None}
    if rates.keys() == runs and len(set(rates.values())) == 1:
        return [("", next(iter(rates.values())))]
    return list(rates.items())


def _ideal_lines(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """One line of cells for each ceiling that the rows know."""
    blank = dict.fromkeys(("split", "regime", "null", "targets", "trials"), "")
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
    from rich.text import Text

    shown = main_rows(rows)
    measures = _measures(_TERMINAL_MEASURES, shown)
    table = _empty_table(shown, compact=compact)
    for title, _ in measures:
        _add_measure(table, _COMPACT_TITLES.get(title, title) if compact else title)
    for place, row in enumerate(shown):
        _end_section(table, shown, place)
        _add_line(table, _title(row, shown), [cell(row) for _, cell in measures], compact)
    table.add_section()
    dashes = [DASH] * (len(measures) - 1)
    for run, rate in _ideal_rates(shown):
        name = Text(f"{run}\n{IDEAL}" if run else IDEAL)
        _add_line(table, name, [percent(rate), *dashes], compact)
    return table


def _end_section(table: "Table", rows: Sequence[Row], place: int) -> None:
    """Part null rows from real ones."""
    if place and (rows[place].null_readout is None) != (rows[place - 1].null_readout is None):
        table.add_section()


def _empty_table(rows: Sequence[Row], *, compact: bool, tags: bool = True) -> "Table":
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
    titles = [_title(row, rows, tag=tags).plain for row in rows]
    lines = [IDEAL, *(line for title in titles for line in title.split("\n"))]
    longest = max(map(len, lines))
    table.add_column(
        "run\ntool set" if many_runs(rows) else "tool set",
        overflow="fold",
        no_wrap=not compact,
        min_width=min(longest, _LONGEST_NAME) if compact else longest,
    )
    return table


def _add_measure(table: "Table", title: str) -> None:
    from rich.text import Text

    table.add_column(Text(title), justify="right", no_wrap=True)


def _add_line(table: "Table", title: "Text", cells: Sequence[str], compact: bool) -> None:
    from rich.text import Text

    shown = (cell.replace(" [", "\n[") if compact else cell for cell in cells)
    table.add_row(title, *(Text(cell) for cell in shown))


def _title(row: Row, rows: Sequence[Row], *, tag: bool = True) -> "Text":
    """What a line of a terminal table is about, one name a line."""
    from rich.text import Text

    names = [name for _, cell in name_columns(rows) if (name := cell(row)) != ALL]
    after = null_tag(row) if tag else ""
    return Text.assemble("\n".join(names), (f"\n{after}" if after else "", "dim"))


def rich_slice_table(
    rows: Sequence[Row], by: Literal["split", "regime"], *, compact: bool = True
) -> "Table | None":
    """Return top-1 by split or by regime, or None when no guilty target has one."""
    whole = nulls_last([row for row in rows if row.split == ALL and row.regime == ALL])
    other = "regime" if by == "split" else "split"
    cells = {
        (row.run, row.tool_set, getattr(row, by)): _top1(row)
        for row in rows
        if getattr(row, by) != ALL and getattr(row, other) == ALL and row.top1 is not None
    }
    if not whole or not cells:
        return None
    labels = sorted({label for _, _, label in cells})
    table = _empty_table(whole, compact=compact, tags=False)
    for label in labels:
        _add_measure(table, label.replace("-", "-\n") if by == "regime" else label)
    for place, row in enumerate(whole):
        _end_section(table, whole, place)
        found = [cells.get((row.run, row.tool_set, label), DASH) for label in labels]
        _add_line(table, _title(row, whole, tag=False), found, compact)
    return table


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
        for note in notes(self._rows):
            yield Text(note, style="bold yellow" if note.startswith(WARNING) else "")
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


class Grid(NamedTuple):
    """The table as cells: names on the left, then numbers."""

    names: list[str]
    """Titles of the columns that say what a line is about."""
    numbers: list[str]
    """Titles of the other columns."""
    lines: list[list[str]]
    """Cells, as many as there are titles; that of the ideal black box last."""


def grid(rows: Sequence[Row]) -> Grid:
    """Return rows as cells, null rows after the real ones."""
    shown = nulls_last(rows)
    names, measures = name_columns(shown), _measures(_FILE_MEASURES, shown)
    if any(row.null_readout for row in shown):
        names.append(("null", lambda row: (row.null_readout or "").replace("_", " ")))
    columns = [*names, *measures]
    titles = [name for name, _ in columns]
    lines = [[cell(row) for _, cell in columns] for row in shown]
    return Grid(
        names=titles[: len(names)],
        numbers=titles[len(names) :],
        lines=lines + _ideal_lines(shown, titles),
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table with the notes under it.

    Rows of one split and regime together are left to CSV and JSON, unless there are no others.
    """
    shown = [row for row in rows if ALL in (row.split, row.regime)] or list(rows)
    cells = grid(shown)
    rule = [":--"] * len(cells.names) + ["--:"] * len(cells.numbers)
    lines = [[markdown_escaped(cell) for cell in line] for line in cells.lines]
    table = [
        "| " + " | ".join(line) + " |" for line in ([*cells.names, *cells.numbers], rule, *lines)
    ]
    under = [f"- {markdown_escaped(line)}" for line in [*notes(nulls_last(shown)), LEGEND]]
    return "\n".join([*table, "", *under]) + "\n"


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
