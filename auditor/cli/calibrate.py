"""`auditor calibrate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Group

    from auditor.records import TrialSummary

Fit = tuple["Group", str]
"""What is shown of a fit, and what its file holds."""


def calibrate(
    runs: Annotated[list[str], typer.Argument(help="Names of runs, their folders, or `last`.")],
    *,
    split: Annotated[
        str, typer.Option(help="Split to fit on; never the one that is reported.")
    ] = "development",
    false_alarm: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Largest share of innocent targets that is claimed."),
    ] = 0.05,
    out: Annotated[
        Path | None, typer.Option(help="File to write the calibrator to; else nothing is written.")
    ] = None,
    instruments: Annotated[
        bool,
        typer.Option(
            help="Fit what holds for guesses that instruments single out, one for each instrument."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the calibrator as JSON.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Fit the ledger's confidence to audits whose truth is known, and choose its threshold."""
    from auditor.cli.find import find_run
    from auditor.cli.output import results
    from auditor.run.store import load_summaries, write_atomically

    folders = [find_run(run, runs_dir) for run in runs]
    trials = [t for folder in folders for t in load_summaries(folder) if t.split == split]
    if not trials:
        raise UsageError(f"no trial of {', '.join(runs)} is of split {split!r}: choose another")
    where = ", ".join(folder.name for folder in folders)
    fitted_on = f"split {split} of {where}, {len(trials)} trials"
    shown, text = (_instruments if instruments else _whole)(trials, false_alarm, fitted_on)
    if out is not None:
        write_atomically(out, text.encode())
    if as_json:
        typer.echo(text, nl=False)
        return
    results().print(shown)


def _whole(trials: "Sequence[TrialSummary]", false_alarm: float, fitted_on: str) -> "Fit":
    from auditor.report.fitting import describe, fit_calibrator

    found = fit_calibrator(trials, false_alarm=false_alarm, fitted_on=fitted_on)
    text = found.calibrator.model_dump_json(indent=1, exclude_defaults=True) + "\n"
    return describe(found), text


def _instruments(trials: "Sequence[TrialSummary]", false_alarm: float, fitted_on: str) -> "Fit":
    from auditor.report import fitting_instruments as apart

    found = apart.fit_instruments(trials, false_alarm=false_alarm, fitted_on=fitted_on)
    return apart.describe_instruments(found), apart.instruments_json(found)
