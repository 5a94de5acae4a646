"""`auditor report`: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir


def report(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="File to write. By default `RUN.html` here.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of the targets that the figures are of, or `all`. By default held-out "
            "where there is one, otherwise all. The trials are always all there."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Name of judgements by `auditor judge`, instead of the record's."),
    ] = None,
    items: Annotated[
        int,
        typer.Option(min=1, help="Most items of each tool result to keep; readings are all kept."),
    ] = 24,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Write a run as one HTML file, with every trial to read, and print the name of the file.

    The page opens offline and loads nothing. It tells what the hidden motives are.
    """
    from auditor.cli.find import find_run
    from auditor.report.page.write import write_report

    run_dir = find_run(run, runs_dir)
    place = out or Path(f"{run_dir.name}.html")
    written = write_report(run_dir, place, split=split, judge=judge, items=items)
    typer.echo(str(written))
