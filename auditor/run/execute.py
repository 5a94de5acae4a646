"""Carry out a run: every planned trial that is not sealed yet, in this process or in workers."""

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from auditor.errors import AuditStoppedError, RunError, RunStoppedError, UsageError
from auditor.records import TrialSummary
from auditor.run import checkpoints, index
from auditor.run.executors import Executor, Told, check_executor, executor_for, recorder_for
from auditor.run.glance import sealed_trials
from auditor.run.heeding import heed
from auditor.run.lock import locked
from auditor.run.options import (
    Hooks,
    RunInterruptedError,
    RunLimitError,
    RunOptions,
    RunOutageError,
    RunPlan,
    RunResult,
    stopped_by,
)
from auditor.run.plan import PlannedTrial, plan, with_budget
from auditor.run.providers import check_providers, provider_settings
from auditor.run.record import Launch, check_run_name, default_run_name, new_record
from auditor.run.recorder import OnEvent, Recorder, index_may_lag
from auditor.run.stopping import interrupts
from auditor.run.store import (
    CHECKPOINTS_FOLDER,
    LOCK_FILE,
    RUN_FILE,
    TRIALS_FOLDER,
    is_sealed,
    load_run,
    load_summaries,
    make_run_dir,
    trial_path,
    write_run,
)
from auditor.run.subjects import ModelPool
from auditor.run.trial import run_trial
from auditor.run.worker import QUIET, Setup, torch_threads
from auditor.run.workers import WorkerPool
from auditor.scenario.schema import Model, ResolvedScenario

__all__ = [
    "Hooks",
    "RunInterruptedError",
    "RunLimitError",
    "RunOptions",
    "RunOutageError",
    "RunPlan",
    "RunResult",
    "carry_out",
    "execute",
    "plan_run",
    "plan_trials",
]

MOST_DEFAULT_WORKERS = 2
_NVIDIA = Path("/dev/nvidiactl")


def plan_run(
    resolved: ResolvedScenario, options: RunOptions, *, sealed: Container[str] | None = None
) -> RunPlan:
    """Plan a run without writing anything.

    Args:
        resolved: The scenario.
        options: What the operator chooses.
        sealed: Stems of the trials that are sealed, where that is known; None looks at the files.

    Raises:
        UsageError: When the options do not fit the scenario, or the name is taken otherwise.
    """
    if options.threads < 1 or (options.workers is not None and options.workers < 1):
        raise UsageError("workers and threads must be 1 or more")
    check_executor(options)
    runs_dir = options.runs_dir.absolute()
    name = options.run
    if name is None:
        taken = [path.name for path in runs_dir.iterdir()] if runs_dir.is_dir() else []
        name = default_run_name(resolved.scenario.name, taken)
    run_dir = runs_dir / check_run_name(name)
    _refuse_foreign(run_dir)
    trials = plan(
        with_budget(resolved, options.budget),
        run=name,
        tool_sets=options.tool_sets,
        targets=options.targets,
        trials=options.trials,
    )
    return plan_trials(resolved, options, run_dir, trials, sealed=sealed)


def plan_trials(
    resolved: ResolvedScenario,
    options: RunOptions,
    run_dir: Path,
    trials: Sequence[PlannedTrial],
    *,
    sealed: Container[str] | None = None,
) -> RunPlan:
    """Plan to do those of these trials that are not sealed yet; `sealed` as in `plan_run`."""
    if sealed is None:
        sealed = sealed_trials(run_dir)
    todo = tuple(trial for trial in trials if trial.key.stem not in sealed)
    workers = options.workers or _default_workers(resolved, options, trials)
    return RunPlan(
        run=run_dir.name,
        run_dir=run_dir,
        trials=tuple(trials),
        todo=todo,
        workers=max(1, min(workers, len(todo))),
        budget=options.budget,
    )


def execute(
    resolved: ResolvedScenario,
    options: RunOptions,
    *,
    on_plan: Callable[[RunPlan], None] | None = None,
    on_event: OnEvent | None = None,
    pool: ModelPool | None = None,
    hooks: Hooks | None = None,
) -> RunResult:
    """Do every planned trial that is not sealed yet, and record it.

    A trial that was interrupted goes on from its last step. The records depend neither on that nor
    on the number of workers, nor on which trials stand beside them.

    Args:
        resolved: The scenario.
        options: What the operator chooses.
        on_plan: Short for `Hooks.on_plan`.
        on_event: Short for `Hooks.on_event`.
        pool: Short for `Hooks.pool`.
        hooks: What the caller adds.

    Raises:
        UsageError: When the options do not fit the scenario, or the run was started differently.
        RunLockedError: When another process works on the run.
        RunError: When a file cannot be written or a worker cannot start.
        RunInterruptedError: When the operator interrupts; it is a `KeyboardInterrupt`.
        RunLimitError: When a limit of the run as a whole was reached.
        RunOutageError: When a model's server gave no reply to anybody.
    """
    hooks = hooks or Hooks()
    hooks = replace(
        hooks,
        on_plan=on_plan or hooks.on_plan,
        on_event=on_event or hooks.on_event,
        pool=pool or hooks.pool,
    )
    resolved = with_budget(resolved, options.budget)
    check_providers(resolved)
    # Before anything is written; what is finished is looked up once the run is ours.
    run_dir = plan_run(resolved, options, sealed=()).run_dir
    make_run_dir(run_dir)
    with locked(run_dir / LOCK_FILE, take_over=options.take_over):
        sealed = sealed_trials(run_dir)
        what = plan_run(resolved, replace(options, run=run_dir.name), sealed=sealed)
        _begin(resolved, options, what, sealed)
        return carry_out(resolved, options, what, hooks, sealed=sealed)


def carry_out(
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    hooks: Hooks,
    *,
    sealed: Mapping[str, TrialSummary | None] | None = None,
) -> RunResult:
    """Do what is planned; the caller holds the run's lock.

    Args:
        resolved: The scenario.
        options: What the operator chooses.
        what: The plan.
        hooks: What the caller adds.
        sealed: What `sealed_trials` found before; None finds it again in the end.

    Raises:
        UsageError: When an auditor of one's own is to run in workers.
        RunError: When a file cannot be written or a worker cannot start.
        RunInterruptedError: When the operator interrupts.
        RunLimitError: When a limit of the run as a whole was reached.
        RunOutageError: When a model's server gave no reply to anybody.
    """
    hooks.on_plan(what)
    saved = what.run_dir / CHECKPOINTS_FOLDER
    recorder = recorder_for(options, what.run_dir, saved, hooks)
    hooks = replace(hooks, before_trial=_within_limits(recorder, hooks.before_trial))
    stop = hooks.stop
    try:
        with interrupts(stop, hooks.on_interrupt):
            executor = executor_for(
                resolved,
                options,
                workers=what.workers,
                run_dir=what.run_dir,
                checkpoints=_checkpoints(options, what),
                recorder=recorder,
                hooks=hooks,
            )
            if executor is not None:
                _in_executor(executor, resolved, options, what, recorder, hooks)
            elif what.workers > 1:
                _in_workers(resolved, options, what, recorder, hooks)
            else:
                _in_process(resolved, options, what, recorder, hooks)
    except KeyboardInterrupt as error:
        finished = what.n_done + recorder.n_sealed
        raise RunInterruptedError(what, finished=finished) from error
    except RunError as error:
        again = f"once that is mended, `auditor resume {what.run}` goes on"
        raise RunError(f"{error}; {again}") from error
    finally:
        recorder.close()
        _tidy(what, saved)
    finished = what.n_done + recorder.n_sealed
    if finished < len(what.trials) and stop:
        raise stopped_by(stop, what, finished=finished)
    summaries = tuple(load_summaries(what.run_dir, known=sealed))
    return RunResult(run=what.run, run_dir=what.run_dir, summaries=summaries)


def _within_limits(
    recorder: Recorder, before_trial: Callable[[PlannedTrial], None]
) -> Callable[[PlannedTrial], None]:
    """Begin no trial once a limit of the run has ended one: the next would end before it began."""

    def check(trial: PlannedTrial) -> None:
        if recorder.limit is not None:
            raise RunStoppedError(f"the run's limit of {recorder.limit} is reached")
        before_trial(trial)

    return check


def _default_workers(
    resolved: ResolvedScenario, options: RunOptions, trials: Sequence[PlannedTrial]
) -> int:
    if options.executor == "ray" or options.concurrency is not None:
        return 1
    # Each worker loads its own copy of the models, of which an accelerator may hold only one.
    rows = {trial.key.tool_set for trial in trials}
    models = [trial.target.model for trial in trials]
    devices = {model.device for model in models if isinstance(model, Model)}
    devices |= {reader.device for row, reader in resolved.readers.items() if row in rows}
    if any(d.startswith("cuda") or (d == "auto" and _NVIDIA.exists()) for d in devices):
        return 1
    return min(MOST_DEFAULT_WORKERS, os.cpu_count() or 1)


def _begin(
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    sealed: Mapping[str, TrialSummary | None],
) -> None:
    asked = asdict(options) | {"runs_dir": str(options.runs_dir), "workers": what.workers}
    launch = Launch.of([trial.key for trial in what.trials])
    record = new_record(
        resolved, run=what.run, planned=len(what.trials), options=asked, launch=launch
    )
    if (what.run_dir / RUN_FILE).exists():
        record = load_run(what.run_dir).continued(record)
    write_run(what.run_dir, record)
    with index_may_lag():
        index.upsert_run(what.run_dir.parent, record, filter(None, sealed.values()))


def _in_process(
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    recorder: Recorder,
    hooks: Hooks,
) -> None:
    if not what.todo:
        return
    saved, stop, pool = _checkpoints(options, what), hooks.stop, hooks.pool
    with _quiet(), torch_threads(options.threads):
        if pool is None:
            from auditor.target.pool import TargetPool

            pool = TargetPool(providers=provider_settings(resolved, what.run_dir, options.cache))
        for trial in what.todo:
            try:
                if stop:
                    return
                hooks.before_trial(trial)
                run_trial(
                    trial,
                    resolved,
                    pool=pool,
                    journal=recorder.journal(trial.key),
                    checkpoints=saved,
                    policy=hooks.policy,
                    stop=stop.__bool__,
                )
            except AuditStoppedError:
                return
            except RunStoppedError as error:
                stop.request_for(error)


def _in_executor(
    executor: Executor,
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    recorder: Recorder,
    hooks: Hooks,
) -> None:
    if not what.todo:
        return
    with _quiet(), torch_threads(options.threads), executor:
        for message in executor.run(what.todo):
            if isinstance(message, Told):
                if hooks.on_event is not None:
                    hooks.on_event(message.key, message.event)
            else:
                heed(message, recorder, resolved, saved=what.run_dir / CHECKPOINTS_FOLDER)


def _in_workers(
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    recorder: Recorder,
    hooks: Hooks,
) -> None:
    if hooks.policy is not None:
        raise UsageError("an auditor of one's own runs in this process: use workers=1")
    setup = Setup(
        resolved=resolved,
        threads=options.threads,
        checkpoints=_checkpoints(options, what),
        trials=what.run_dir / TRIALS_FOLDER,
        providers=provider_settings(resolved, what.run_dir, options.cache),
    )
    with WorkerPool(
        what.workers,
        setup,
        logs=what.run_dir,
        stop=hooks.stop,
        before_trial=hooks.before_trial,
    ) as workers:
        for message in workers.run(what.todo):
            heed(message, recorder, resolved, saved=what.run_dir / CHECKPOINTS_FOLDER)


def _checkpoints(options: RunOptions, what: RunPlan) -> Path | None:
    return what.run_dir / CHECKPOINTS_FOLDER if options.checkpoints else None


def _tidy(what: RunPlan, saved: Path) -> None:
    """Delete checkpoints of sealed trials: a process was stopped before it could do so."""
    if not saved.is_dir():
        return
    for trial in what.trials:
        path = checkpoints.checkpoint_path(saved, trial.key)
        if path.exists() and is_sealed(trial_path(what.run_dir, trial.key)):
            checkpoints.remove(path)
    with suppress(OSError):  # not there, or not empty
        saved.rmdir()


def _refuse_foreign(run_dir: Path) -> None:
    if not run_dir.exists() or (run_dir / RUN_FILE).is_file():
        return
    if not run_dir.is_dir() or any(path.name != LOCK_FILE for path in run_dir.iterdir()):
        raise UsageError(
            f"{run_dir} is there and is not a run: choose another name with --run, or another "
            "--runs-dir"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
