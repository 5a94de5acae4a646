"""`auditor stats`: what a run's success rates are worth."""

from typing import Annotated, Literal

import typer

from auditor.cli.options import RUNS_DIR, RunsDir

Form = Literal["text", "markdown", "json"]


def stats(
    runs: Annotated[list[str], typer.Argument(help="Names of runs, their folders, or `last`.")],
    *,
    split: Annotated[str | None, typer.Option(help="Only targets of this split.")] = None,
    regime: Annotated[
        str | None,
        typer.Option(help="Only guilty targets of this regime, beside all innocent ones."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Tool set to hold the others against; left out: black_box."),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="How to print it; json is one object a run.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Say how far to trust a run: paired differences, funnel, detection, calibration, controls.

    Several runs are shown side by side, each with statistics of its own.
    """
    from auditor.cli.find import find_run
    from auditor.cli.output import results
    from auditor.report import summary_text
    from auditor.report.summary import run_statistics

    folders = dict.fromkeys(find_run(run, runs_dir) for run in runs)
    found = [
        run_statistics(folder, split=split, regime=regime, against=against) for folder in folders
    ]
    if as_json or form == "json":
        for one in found:
            typer.echo(one.model_dump_json())
    elif form == "markdown":
        typer.echo(summary_text.markdown(found), nl=False)
    else:
        results().print(summary_text.rich_report(found))
