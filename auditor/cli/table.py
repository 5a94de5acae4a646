"""`auditor table`: success rates per tool set, of one run or several."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from auditor.report.rows import Row


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
        typer.Option(
            help="Rows to print beside those of whole tool sets: by split, by regime, or all."
        ),
    ] = "all",
    judge: Annotated[
        str | None,
        typer.Option(help="Name of judgements by `auditor judge`, instead of the record's."),
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Print the success-rate table of one run, or of several side by side."""
    from auditor.cli.find import find_run
    from auditor.cli.output import results
    from auditor.report import table as tables

    rows = rows_of([find_run(run, runs_dir) for run in runs], by=by, judge=judge)
    if as_json or form == "json":
        typer.echo(tables.json_lines(rows), nl=False)
    elif form == "markdown":
        typer.echo(tables.markdown(rows), nl=False)
    elif form == "csv":
        typer.echo(tables.csv(rows), nl=False)
    else:
        results().print(tables.rich_report(rows))


def rows_of(run_dirs: Iterable[Path], *, by: By = "all", judge: str | None = None) -> "list[Row]":
    """Return the rows of several runs, each in the order and with the ceiling of its scenario."""
    from auditor.cli.judged import summaries_of
    from auditor.report.contrasts import null_rows
    from auditor.report.rows import ALL, table_rows
    from auditor.run.store import load_run

    rows: list[Row] = []
    for run_dir in dict.fromkeys(run_dirs):
        resolved = load_run(run_dir).resolved
        order = {name: place for place, name in enumerate(resolved.scenario.tool_sets)}
        found = table_rows(
            summaries_of(run_dir, judge), ceiling=resolved.ceiling, nulls=null_rows(resolved)
        )
        rows += sorted(found, key=lambda row: order.get(row.tool_set, len(order)))
    if by == "split":
        return [row for row in rows if row.regime == ALL]
    if by == "regime":
        return [row for row in rows if row.split == ALL]
    return rows
