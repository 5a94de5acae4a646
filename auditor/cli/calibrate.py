"""`auditor calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.errors import UsageError


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
    from auditor.report.fitting import describe, fit_calibrator
    from auditor.report.fitting_instruments import (
        describe_instruments,
        fit_instruments,
        instruments_json,
    )
    from auditor.run.store import load_summaries, write_atomically

    folders = [find_run(run, runs_dir) for run in runs]
    trials = [t for folder in folders for t in load_summaries(folder) if t.split == split]
    if not trials:
        raise UsageError(f"no trial of {', '.join(runs)} is of split {split!r}: choose another")
    where = ", ".join(folder.name for folder in folders)
    fitted_on = f"split {split} of {where}, {len(trials)} trials"
    if instruments:
        by_tool = fit_instruments(trials, false_alarm=false_alarm, fitted_on=fitted_on)
        shown, text = describe_instruments(by_tool), instruments_json(by_tool)
    else:
        fitted = fit_calibrator(trials, false_alarm=false_alarm, fitted_on=fitted_on)
        shown = describe(fitted)
        text = fitted.calibrator.model_dump_json(indent=1, exclude_defaults=True) + "\n"
    if out is not None:
        write_atomically(out, text.encode())
    if as_json:
        typer.echo(text, nl=False)
        return
    results().print(shown)
