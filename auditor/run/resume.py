"""Go on with a run by its folder alone: what was asked for is in its record."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from auditor.errors import RunError, UsageError
from auditor.run import index
from auditor.run.execute import carry_out, plan_trials
from auditor.run.executors import check_executor
from auditor.run.glance import sealed_trials
from auditor.run.lock import locked
from auditor.run.options import Hooks, RunOptions, RunPlan, RunResult
from auditor.run.plan import PlannedTrial, plan, planned_trial
from auditor.run.providers import check_providers
from auditor.run.record import RunRecord, asked_trials
from auditor.run.recorder import index_may_lag
from auditor.run.store import LOCK_FILE, load_run
from auditor.scenario.schema import Model, ResolvedScenario


def resume_run(
    run_dir: Path,
    *,
    workers: int | None = None,
    concurrency: int | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    num_gpus: float = 0.0,
    take_over: bool = False,
    hooks: Hooks | None = None,
) -> RunResult:
    """Do every trial that was ever asked of a run and is not sealed yet.

    The scenario is taken as the run's record has it; its file is not read again. Trials that were
    interrupted go on from their last step, and sealed ones are not touched.

    Args:
        run_dir: Folder of the run.
        workers: Trials side by side; None chooses.
        concurrency: Trials at once in one process, see `RunOptions`.
        executor: Where trials run.
        address: Of the Ray cluster.
        num_gpus: GPUs of each of its actors.
        take_over: Go on with a run that a process on another machine did not let go of.
        hooks: What the caller adds.

    Raises:
        UsageError: When a model that is still needed is not there any more.
        RunLockedError: When another process works on the run.
        RunError: When a file cannot be read or written, or a worker cannot start.
        RunInterruptedError: When the operator interrupts; it is a `KeyboardInterrupt`.
        RunLimitError: When a limit of the run as a whole was reached.
        RunOutageError: When a model's server gave no reply to anybody.
    """
    run_dir = run_dir.absolute()
    load_run(run_dir)  # where there is none, no lock file is left either
    with locked(run_dir / LOCK_FILE, take_over=take_over):
        record = load_run(run_dir)
        if record.run != run_dir.name:
            raise RunError(f"{run_dir} holds run {record.run!r}: folders of runs keep their names")
        options = RunOptions(
            runs_dir=run_dir.parent,
            run=record.run,
            workers=workers,
            concurrency=concurrency,
            executor=executor,
            address=address,
            num_gpus=num_gpus,
            threads=record.options.get("threads", 1),
            budget=record.options.get("budget"),
            checkpoints=record.options.get("checkpoints", True),
            cache=record.options.get("cache", "off"),
        )
        check_executor(options)
        sealed = sealed_trials(run_dir)
        what = plan_trials(record.resolved, options, run_dir, all_trials(record), sealed=sealed)
        _check_models(record.resolved, what)
        if what.todo:
            check_providers(record.resolved)
        with index_may_lag():
            index.upsert_run(run_dir.parent, record, filter(None, sealed.values()))
        return carry_out(record.resolved, options, what, hooks or Hooks(), sealed=sealed)


def all_trials(record: RunRecord) -> list[PlannedTrial]:
    """Plan all that was ever asked of a run.

    Raises:
        UsageError: When the record does not fit its own scenario.
    """
    if record.launches:
        keys = asked_trials(record.run, record.launches)
        return [planned_trial(record.resolved, key) for key in keys]
    # Older versions recorded the last start alone.
    asked = record.options
    return plan(
        record.resolved,
        run=record.run,
        tool_sets=asked.get("tool_sets"),
        targets=asked.get("targets"),
        trials=asked.get("trials"),
    )


def _check_models(resolved: ResolvedScenario, what: RunPlan) -> None:
    """Refuse before work: a trial whose weights are gone would be sealed as errored."""
    problems = list(dict.fromkeys(_problems(resolved, what.todo)))
    if problems:
        raise UsageError("\n".join(f"run {what.run!r} cannot go on: {line}" for line in problems))


def _problems(resolved: ResolvedScenario, todo: Sequence[PlannedTrial]) -> Iterator[str]:
    from auditor.target.preflight import preflight_model
    from auditor.target.reader_preflight import preflight_reader

    models = [model for one in todo for model in (one.target.model, one.target.baseline)]
    # Those behind a provider cannot be keys.
    for model in dict.fromkeys(model for model in models if isinstance(model, Model)):
        yield from preflight_model(model)
    for row in dict.fromkeys(trial.key.tool_set for trial in todo):
        if row in resolved.readers:
            yield from (flaw.what for flaw in preflight_reader(resolved.readers[row]))
