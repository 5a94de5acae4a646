"""`auditor browse`: move through a run's trials in a full-screen terminal program."""

import sys
from typing import Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError


def browse(
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Move through the trials of a run, narrow the list, search, and read transcripts.

    Keys are shown at the foot of the screen. Needs Textual, which comes with the extra `browse` of
    this package, and a terminal.
    """
    from auditor.cli.find import find_run
    from auditor.run.listing import trial_files
    from auditor.run.store import read_events, read_summary

    run_dir = find_run(run, runs_dir)
    trials = [(path, summary) for path in trial_files(run_dir) if (summary := read_summary(path))]
    if not trials:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    try:
        from auditor.report.browse import Browser
    except ImportError as error:
        raise UsageError(
            "browsing needs textual; install it with: pip install 'auditor[browse]'"
        ) from error
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("browsing needs a terminal; use `auditor show` in scripts and pipes")
    Browser(run_dir.name, trials, read=read_events).run()
