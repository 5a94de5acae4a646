"""`auditor resume`: go on with a run that was stopped."""

from typing import Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.cli.run import AsJson, NoLive, Quiet, TakeOver, Verbose, Watch, Workers, carry_out


def resume(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    runs_dir: RunsDir = RUNS_DIR,
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
    no_live: NoLive = False,
    take_over: TakeOver = False,
) -> None:
    """Finish a run that was stopped: interrupted trials go on at the step they were in.

    The scenario is taken as the run has recorded it. Finished trials are not touched.
    """
    from auditor.cli.find import find_run
    from auditor.run.resume import resume_run
    from auditor.run.store import load_run

    run_dir = find_run(run, runs_dir)
    resolved = load_run(run_dir).resolved
    watch = Watch(resolved, quiet=quiet, verbose=verbose, as_json=as_json, live=not no_live)
    carry_out(
        context,
        watch,
        lambda hooks: resume_run(run_dir, workers=workers, take_over=take_over, hooks=hooks),
    )
