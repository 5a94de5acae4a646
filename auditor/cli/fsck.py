"""`auditor fsck`: what of a run is whole, and what to do about the rest."""

from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.exits import SOME_ERRORED
from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from auditor.run.fsck import Report


def fsck(
    run: Annotated[str, typer.Argument(help="Name of a run, or its folder.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Say which files of a run are whole, torn, missing or foreign, and what to do. Changes none.

    Exit code 0 when all is whole, 1 when there is something to do.
    """
    from auditor.cli.find import find_run_folder
    from auditor.cli.output import print_json_line
    from auditor.run.fsck import fsck as examine

    report = examine(find_run_folder(run, runs_dir))
    if as_json:
        print_json_line(report)
    else:
        _print(report)
    if not report.whole:
        raise typer.Exit(SOME_ERRORED)


def _print(report: "Report") -> None:
    from auditor.cli.output import results
    from auditor.report.text import one_line

    console = results()
    counts = ", ".join(f"{number} {state}" for state, number in sorted(report.trials.items()))
    console.print(f"run {report.run}: trials: {counts or 'none'}", soft_wrap=True)
    if report.writer is not None:
        console.print(f"it is being written by {report.writer}", soft_wrap=True)
    for one in report.findings:
        line = f"{one.state}: {one.path}: {one.what}: {one.todo}"
        console.print(one_line(line, 400), soft_wrap=True)
    if report.whole:
        console.print("whole", soft_wrap=True)
