"""`auditor resume`: go on with a run that was stopped."""

from typing import Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir
from auditor.cli.run import (
    Address,
    AsJson,
    Concurrency,
    ExecutorName,
    Gpus,
    NoLive,
    Quiet,
    TakeOver,
    Verbose,
    Watch,
    Workers,
    carry_out,
)


def resume(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a run, its folder, or `last`.")],
    *,
    runs_dir: RunsDir = RUNS_DIR,
    workers: Workers = None,
    concurrency: Concurrency = None,
    executor: ExecutorName = "local",
    address: Address = None,
    num_gpus: Gpus = 0.0,
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
        lambda hooks: resume_run(
            run_dir,
            workers=workers,
            concurrency=concurrency,
            executor=executor,
            address=address,
            num_gpus=num_gpus,
            take_over=take_over,
            hooks=hooks,
        ),
    )
