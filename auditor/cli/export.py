"""`auditor export`: a run in the formats of other tools, or the scenario that made it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError

To = Literal["inspect", "jsonl", "csv", "parquet"]


def export(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    to: Annotated[
        To | None,
        typer.Option(
            help="inspect: one .eval log a tool set, for `inspect view`. jsonl, csv, parquet: the "
            "tables trials, tool_calls, readings and verdicts."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; made when missing.")
    ] = None,
    scenario: Annotated[
        bool,
        typer.Option(
            "--scenario", help="Print the scenario that made the run, as it can be run again."
        ),
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Write a run for other tools and print the names of the files, or print its scenario.

    What is written tells what the hidden motives are, and holds what targets said as they said it.
    """
    from auditor.cli.find import find_run

    run_dir = find_run(run, runs_dir)
    if scenario:
        if to is not None or out is not None:
            raise UsageError("--scenario prints a file of its own: leave out --to and --out")
        _print_scenario(run_dir)
        return
    if to is None or out is None:
        raise UsageError("say what to write and where: --to inspect --out DIR, or --scenario")
    for path in _written(run_dir, to, out):
        typer.echo(str(path))


def _written(run_dir: Path, to: To, out: Path) -> list[Path]:
    from auditor.report.export.files import folder, recorded
    from auditor.report.export.inspect_log import write_inspect
    from auditor.report.export.tables import write_tables
    from auditor.run.store import load_run, trial_files

    record = load_run(run_dir)
    files = trial_files(run_dir)
    if not files:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    place = folder(out)
    if to == "inspect":
        return write_inspect(record, files, place)
    return write_tables(recorded(files), place, to)


def _print_scenario(run_dir: Path) -> None:
    from auditor.report.export.scenario import scenario_yaml
    from auditor.run.store import load_run

    typer.echo(scenario_yaml(load_run(run_dir)), nl=False)
