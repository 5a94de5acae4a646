"""`auditor export`: a run in the formats of other tools, or the scenario that made it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError

Files = Literal["inspect", "jsonl", "csv", "parquet"]
To = Literal["inspect", "jsonl", "csv", "parquet", "otel"]


def export(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    to: Annotated[
        To | None,
        typer.Option(
            help="inspect: one .eval log a tool set, for `inspect view`. jsonl, csv, parquet: the "
            "tables trials, tool_calls, readings and verdicts. otel: send OpenTelemetry spans to "
            "OTEL_EXPORTER_OTLP_ENDPOINT (extra `otel`)."
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
    content: Annotated[
        bool,
        typer.Option(
            "--content", help="Send arguments, results and hypotheses along with spans (otel)."
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
        if to is not None or out is not None or content:
            raise UsageError("--scenario prints a file of its own: leave out --to and --out")
        _print_scenario(run_dir)
        return
    if to == "otel":
        _send(run_dir, out, content=content)
        return
    if content:
        raise UsageError("--content is for --to otel: all else is written with its content anyway")
    if to is None or out is None:
        raise UsageError("say what to write and where: --to inspect --out DIR, or --scenario")
    for path in _written(run_dir, to, out):
        typer.echo(str(path))


def _written(run_dir: Path, to: Files, out: Path) -> list[Path]:
    from auditor.report.export.files import folder, recorded
    from auditor.report.export.inspect_log import write_inspect
    from auditor.report.export.tables import write_tables
    from auditor.run.listing import trial_files
    from auditor.run.store import load_run

    record = load_run(run_dir)
    files = trial_files(run_dir)
    if not files:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    place = folder(out)
    if to == "inspect":
        return write_inspect(record, files, place)
    return write_tables(recorded(files), place, to)


def _send(run_dir: Path, out: Path | None, *, content: bool) -> None:
    from auditor.cli.output import messages
    from auditor.report.export.files import recorded
    from auditor.report.export.spans import otlp_exporter, send_spans
    from auditor.run.listing import trial_files

    if out is not None:
        raise UsageError("spans are sent, not written: leave out --out")
    sent = send_spans(recorded(trial_files(run_dir)), otlp_exporter(), content=content)
    messages().print(f"sent {sent} spans of run {run_dir.name}", soft_wrap=True)


def _print_scenario(run_dir: Path) -> None:
    from auditor.report.export.scenario import scenario_yaml
    from auditor.run.store import load_run

    typer.echo(scenario_yaml(load_run(run_dir)), nl=False)
