"""`auditor list` and `auditor reindex`: the folder of runs as a whole."""

from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from rich.table import Table

    from auditor.run.index import RunInfo


def list_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """List all runs, newest first."""
    from auditor.cli.output import messages, print_json_line, print_table
    from auditor.run.index import list_runs

    runs = list_runs(runs_dir)
    if as_json:
        for info in runs:
            print_json_line({**info.model_dump(mode="json"), "unfinished": info.unfinished})
    elif runs:
        print_table(_table(runs))
    else:
        messages().print(f"{runs_dir} holds no runs; start one with: auditor run sandbox")


def _table(runs: list["RunInfo"]) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="bold")
    for heading in ("run", "scenario", "started (UTC)"):
        table.add_column(heading, no_wrap=heading == "run")
    for heading in ("trials", "invalid", "errored", "unfinished"):
        table.add_column(heading, justify="right")
    for info in runs:
        done = info.scored + info.invalid
        table.add_row(
            info.run,
            info.scenario,
            info.created[:16].replace("T", " "),
            f"{done}/{info.planned}",
            *(str(count or "") for count in (info.invalid, info.errored, info.unfinished)),
        )
    return table


def reindex(*, runs_dir: RunsDir = RUNS_DIR) -> None:
    """Build the index of all runs again from their files."""
    from auditor.cli.output import messages
    from auditor.run.index import reindex as rebuild

    counts = rebuild(runs_dir)
    console = messages()
    for skipped in counts.skipped:
        console.print(f"left out: {skipped}", style="yellow", soft_wrap=True)
    console.print(f"indexed {counts.runs} runs with {counts.trials} trials", soft_wrap=True)
