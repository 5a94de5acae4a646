"""`auditor table`: success rates per tool set, of one run or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from rich.console import RenderableType

    from auditor.report.rows import TableRow


Form = Literal["text", "markdown", "csv", "json"]
By = Literal["all", "split", "regime"]


def table(
    runs: Annotated[list[str], typer.Argument(help="Names of runs, their folders, or `last`.")],
    *,
    form: Annotated[
        Form, typer.Option("--format", help="How to print it; json is one object a row.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    by: Annotated[
        By,
        typer.Option(help="Rows to print: whole tool sets, or tool sets split by split or regime."),
    ] = "all",
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Print the success-rate table of one run, or of several side by side."""
    from auditor.cli.find import find_run
    from auditor.cli.output import print_json_line, print_table
    from auditor.report import table as tables

    rows = rows_of([find_run(run, runs_dir) for run in runs], by=by)
    if as_json or form == "json":
        for row in rows:
            print_json_line(row)
    elif form == "markdown":
        typer.echo(tables.markdown(rows))
    elif form == "csv":
        typer.echo(tables.csv(rows), nl=False)
    else:
        print_table(text_table(rows))


def rows_of(run_dirs: Sequence[Path], *, by: By = "all") -> "list[TableRow]":
    """Return the rows of several runs, each against the ceiling of its own scenario."""
    raise NotImplementedError


def text_table(rows: "Sequence[TableRow]") -> "RenderableType":
    """Return rows as a terminal shows them."""
    raise NotImplementedError
