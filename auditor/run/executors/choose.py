"""Which executor a run's options ask for."""

from pathlib import Path

from auditor.errors import UsageError
from auditor.run.executors.protocol import Executor
from auditor.run.executors.threads import SharedRecorder, ThreadExecutor
from auditor.run.options import Hooks, RunOptions
from auditor.run.providers import provider_settings
from auditor.run.recorder import Recorder
from auditor.scenario.schema import ResolvedScenario


def check_executor(options: RunOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: Saying which, and what to do instead.
    """
    if options.concurrency is not None and options.concurrency < 1:
        raise UsageError("concurrency must be 1 or more")
    if options.executor == "ray":
        if options.num_gpus < 0:
            raise UsageError("num_gpus must be 0 or more")
        return
    if options.address is not None or options.num_gpus:
        raise UsageError("an address and GPUs are for a cluster: add --executor ray")
    if in_threads(options) and (options.workers or 1) > 1:
        raise UsageError(
            "choose --workers (processes of one trial each) or --concurrency (trials at once in "
            "this process); both together are for --executor ray"
        )


def recorder_for(options: RunOptions, run_dir: Path, saved: Path, hooks: Hooks) -> Recorder:
    """Return what writes the records of a run, see `Recorder`."""
    if in_threads(options):
        return SharedRecorder(run_dir, saved)
    return Recorder(run_dir, saved, hooks.on_event)


def in_threads(options: RunOptions) -> bool:
    """Whether trials run in threads of this process."""
    return options.executor == "local" and (options.concurrency or 1) > 1


def executor_for(
    resolved: ResolvedScenario,
    options: RunOptions,
    *,
    workers: int,
    run_dir: Path,
    checkpoints: Path | None,
    recorder: Recorder,
    hooks: Hooks,
) -> Executor | None:
    """Return what carries the trials out; None leaves them to this process or to its workers.

    Raises:
        UsageError: When an auditor of one's own, or a limit of the whole run, is to hold on a
            cluster.
    """
    providers = provider_settings(resolved, run_dir, options.cache)
    if options.executor == "ray":
        from auditor.run.executors.ray_cluster import RayExecutor

        limits = resolved.scenario.run_budget
        if limits.dollars is not None or limits.auditor_tokens is not None:
            raise UsageError(
                "run_budget is kept in one file, which the machines of a cluster do not share: "
                "leave it out, limit each trial under budget, or run with --executor local"
            )
        if hooks.policy is not None:
            raise UsageError("an auditor of one's own runs in this process: use executor='local'")
        return RayExecutor(
            resolved,
            actors=workers,
            concurrency=options.concurrency or 1,
            threads=options.threads,
            address=options.address,
            num_gpus=options.num_gpus,
            run_dir=run_dir,
            checkpoints=checkpoints,
            hooks=hooks,
            providers=providers,
        )
    if isinstance(recorder, SharedRecorder):
        return ThreadExecutor(
            options.concurrency or 1,
            resolved,
            recorder=recorder,
            hooks=hooks,
            checkpoints=checkpoints,
            providers=providers,
        )
    return None
