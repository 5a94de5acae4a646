"""`auditor show`: a run's trials, or the transcript of one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

if TYPE_CHECKING:
    from rich.table import Table

    from auditor.records import TrialEvent, TrialSummary


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
        bool,
        typer.Option(
            "--full", help="Unfold the calls: arguments, and every item and reading of each."
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Go on while the trial is running; without TRIAL, the first that is not finished.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON lines: one a trial, or one an event of TRIAL."),
    ] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """List the trials of a run, or replay the transcript of one, with the truth last.

    Calls are folded to a line with their gist; readings stand under the tokens that they are of,
    coloured by how much of the activation they kept, grey where a null does as well.
    """
    from auditor.cli.find import find_run, find_trial

    run_dir = find_run(run, runs_dir)
    if trial is None and not follow:
        _list_trials(run_dir, as_json=as_json)
        return
    path = _unfinished(run_dir) if trial is None else find_trial(trial, run_dir)
    try:
        _replay(_events(path, run_dir, follow=follow), full=full, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _unfinished(run_dir: Path) -> Path:
    from auditor.errors import UsageError
    from auditor.run.listing import trial_files
    from auditor.run.store import is_sealed

    found = next((path for path in trial_files(run_dir) if not is_sealed(path)), None)
    if found is None:
        raise UsageError(f"no trial of run {run_dir.name} is running: name one to replay it")
    return found


def _events(path: Path, run_dir: Path, *, follow: bool) -> "Iterable[TrialEvent]":
    from auditor.run.follow import follow as followed
    from auditor.run.lock import is_held
    from auditor.run.store import LOCK_FILE, read_events

    if not follow:
        return read_events(path)
    return followed(path, alive=lambda: is_held(run_dir / LOCK_FILE))


def _replay(events: "Iterable[TrialEvent]", *, full: bool, as_json: bool) -> None:
    from auditor.cli.output import print_json_line, results
    from auditor.report.transcript import render

    if as_json:
        for event in events:
            print_json_line(event)
        return
    console = results()
    for part in render(events, full=full):
        console.print(part)
        console.file.flush()


def _list_trials(run_dir: Path, *, as_json: bool) -> None:
    from auditor.cli.output import messages, print_json_line, print_table
    from auditor.run.listing import trial_files
    from auditor.run.store import read_summary

    found = (read_summary(path) for path in trial_files(run_dir))
    summaries = [summary for summary in found if summary is not None]
    if as_json:
        for summary in summaries:
            print_json_line(summary)
    elif not summaries:
        messages().print(f"run {run_dir.name} has no trials yet")
    else:
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
