"""The statistics of runs for a terminal and as Markdown."""

from typing import TYPE_CHECKING

from auditor.report.cells import markdown_escaped
from auditor.report.sections import Runs, Section, heading, missing, sections

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table


class StatisticsReport:
    """Everything that a terminal shows, each table as wide as it likes where there is room."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Render for the width at hand, as rich asks."""
        from rich.measure import Measurement
        from rich.text import Text

        yield Text(heading(self._runs), style="bold")
        for section in sections(self._runs):
            yield Text()
            yield Text(section.title, style="bold")
            wide = _rich_table(section, compact=False)
            natural = Measurement.get(console, options.update(width=10_000), wide).maximum
            fits = natural <= options.max_width
            yield wide if fits else _rich_table(section, compact=True)
            yield from (Text(note, style="dim") for note in section.notes)
        unknown = missing(self._runs)
        if unknown:
            yield Text()
            yield from (Text(line, style="dim") for line in unknown)


def rich_report(runs: Runs) -> StatisticsReport:
    """Return everything that a terminal shows, fitted to its width."""
    return StatisticsReport(runs)


def _rich_table(section: Section, *, compact: bool) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0 if compact else (0, 1, 0, 0),
        header_style="bold",
    )
    for title in section.names:
        table.add_column(Text(title), overflow="fold", no_wrap=not compact)
    for title in section.numbers:
        shown = title.replace(" ", "\n", 1) if compact else title
        table.add_column(Text(shown), justify="right", no_wrap=True)
    before = None
    for line in section.lines:
        # One rule between runs, none within.
        if section.names[0] == "run" and before not in (None, line[0]):
            table.add_section()
        before = line[0]
        table.add_row(*(Text(c.replace(" [", "\n[") if compact else c) for c in line))
    return table


def markdown(runs: Runs) -> str:
    """Return all sections as Markdown tables with their notes."""
    blocks = [f"## {markdown_escaped(heading(runs))}"]
    for section in sections(runs):
        blocks += [f"### {section.title}", section_markdown(section)]
    return "\n\n".join([*blocks, *missing(runs)]) + "\n"


def section_markdown(section: Section) -> str:
    """Return one section as a Markdown table with its notes, without its title."""
    rule = (":--",) * len(section.names) + ("--:",) * len(section.numbers)
    titles = (*section.names, *section.numbers)
    lines = [tuple(map(markdown_escaped, line)) for line in section.lines]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (titles, rule, *lines))
    return "\n\n".join([table, *map(markdown_escaped, section.notes)])
