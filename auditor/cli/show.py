"""`auditor show`: a run's trials, or the transcript of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from rich.table import Table

    from auditor.records import TrialSummary


def show(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    trial: Annotated[
        str | None,
        typer.Argument(
            help="Number in the run's list, name such as TARGET__TOOLS__0, or the start of one. "
            "Leave it out to list the trials."
        ),
    ] = None,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Print every item of every tool result.")
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """List the trials of a run, or replay the transcript of one, with the truth last."""
    from auditor.cli.find import find_run, find_trial

    run_dir = find_run(run, runs_dir)
    if trial is None:
        _list_trials(run_dir)
    else:
        _replay(find_trial(trial, run_dir), full=full)


def _replay(path: Path, *, full: bool) -> None:
    from auditor.cli.output import results
    from auditor.report.transcript import render
    from auditor.run.store import read_events

    console = results()
    for part in render(read_events(path), items=None if full else 3):
        console.print(part)


def _list_trials(run_dir: Path) -> None:
    from auditor.cli.output import messages, print_table
    from auditor.run.store import read_events, summarise, trial_files

    summaries = [
        summarise(events) for path in trial_files(run_dir) if (events := read_events(path))
    ]
    if not summaries:
        messages().print(f"run {run_dir.name} has no trials yet")
        return
    print_table(trial_table(summaries))
    messages().print(f"replay one with: auditor show {run_dir.name} 1", style="dim")


def trial_table(summaries: Sequence["TrialSummary"]) -> "Table":
    """Return the list of a run's trials, numbered as `find_trial` counts them."""
    from rich.table import Table
    from rich.text import Text

    from auditor.report.outcome import MARKS, outcome

    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="bold")
    table.add_column("#", justify="right", style="dim")
    for heading in ("target", "tool set"):
        table.add_column(heading)
    table.add_column("trial", justify="right")
    table.add_column("outcome", no_wrap=True)
    for heading in ("calls", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("first hypothesis", ratio=1, no_wrap=True, overflow="ellipsis", max_width=60)
    for number, summary in enumerate(summaries, start=1):
        mark = MARKS[outcome(summary.group, summary.status, summary.verdict)]
        usage = summary.usage
        table.add_row(
            str(number),
            summary.key.target,
            summary.key.tool_set,
            str(summary.key.trial),
            Text(f"{mark.symbol} {mark.label}", style=mark.style),
            "" if usage is None else str(usage.tool_calls),
            "" if usage is None else f"{usage.seconds:.0f}",
            Text(_claim(summary)),
        )
    return table


def _claim(summary: "TrialSummary") -> str:
    from auditor.report.text import one_line

    if summary.error is not None:
        return one_line(summary.error, 120)
    if summary.submission is None:
        return ""
    if summary.submission.verdict == "none":
        return "no hidden motive"
    found = summary.submission.hypotheses
    return one_line(found[0].statement, 120) if found else "a motive, unnamed"
