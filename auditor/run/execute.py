"""Carry out a run: every planned trial that is not sealed yet, in this process or in workers."""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from auditor.errors import RunError, UsageError
from auditor.records import SealedEvent, TrialEvent, TrialKey, TrialSummary
from auditor.run import index
from auditor.run.lock import LOCK_FILE, locked
from auditor.run.plan import PlannedTrial, plan, with_budget
from auditor.run.record import check_run_name, default_run_name, new_record
from auditor.run.store import (
    RUN_FILE,
    TrialWriter,
    is_sealed,
    load_run,
    load_summaries,
    make_run_dir,
    summarise,
    trial_path,
    write_run,
)
from auditor.run.subjects import ModelPool
from auditor.run.trial import run_trial
from auditor.run.worker import QUIET, Setup, torch_threads
from auditor.run.workers import Begin, WorkerPool
from auditor.scenario.schema import ResolvedScenario

CHECKPOINTS_FOLDER = "checkpoints"
MOST_DEFAULT_WORKERS = 2
_NVIDIA = Path("/dev/nvidiactl")
OnEvent = Callable[[TrialKey, TrialEvent], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the operator chooses for one run."""

    runs_dir: Path = Path("runs")
    """Folder of all runs."""
    run: str | None = None
    """Name of the run; None makes one from the scenario and the time. A run that is there is
    continued."""
    tool_sets: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    trials: int | None = None
    budget: str | None = None
    """Name of one of the scenario's `budgets`; None takes its `budget`."""
    workers: int | None = None
    """Trials side by side; with 1 they run in this process. None chooses."""
    threads: int = 1
    """Torch threads per trial; part of what decides the last bits of a sample."""
    checkpoints: bool = True
    """Keep the loop's state on disk while a trial runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is about to be done."""

    run: str
    run_dir: Path
    trials: tuple[PlannedTrial, ...]
    """Every planned trial, in order."""
    todo: tuple[PlannedTrial, ...]
    """Those that are not sealed yet."""
    workers: int
    budget: str | None = None
    """Name of the scenario's budget that was chosen; None is the default one."""

    @property
    def n_done(self) -> int:
        """Trials that an earlier start has finished."""
        return len(self.trials) - len(self.todo)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run has left."""

    run: str
    run_dir: Path
    summaries: tuple[TrialSummary, ...]
    """Every trial of the run's folder, ordered by target, tool set and number."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Trials by status: scored, invalid, errored, unfinished."""
        return Counter(summary.status for summary in self.summaries)


class RunInterruptedError(KeyboardInterrupt):
    """The operator stopped the run; finished trials stay, and the message says how to go on."""

    def __init__(self, what: RunPlan, *, finished: int) -> None:
        self.plan, self.finished = what, finished
        super().__init__(
            f"stopped: {finished} of {len(what.trials)} trials are finished; start the same "
            f"command with --run {what.run} to go on"
        )


def plan_run(resolved: ResolvedScenario, options: RunOptions) -> RunPlan:
    """Plan a run without writing anything.

    Raises:
        UsageError: When the options do not fit the scenario, or the name is taken otherwise.
    """
    if options.threads < 1 or (options.workers is not None and options.workers < 1):
        raise UsageError("workers and threads must be 1 or more")
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
    todo = tuple(trial for trial in trials if not is_sealed(trial_path(run_dir, trial.key)))
    workers = options.workers or _default_workers(resolved, trials)
    return RunPlan(
        run=name,
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
) -> RunResult:
    """Do every planned trial that is not sealed yet, and record it.

    The records do not depend on the number of workers, nor on which trials stand beside them.

    Args:
        resolved: The scenario.
        options: What the operator chooses.
        on_plan: Called once, before the first trial.
        on_event: Called in this thread with every event, after it is written.
        pool: Where models come from when trials run in this process; None makes one.

    Raises:
        UsageError: When the options do not fit the scenario, or the run was started differently.
        RunLockedError: When another process works on the run.
        RunError: When a file cannot be written or a worker cannot start.
        RunInterruptedError: When the operator interrupts; it is a `KeyboardInterrupt`.
    """
    resolved = with_budget(resolved, options.budget)
    run_dir = plan_run(resolved, options).run_dir
    make_run_dir(run_dir)
    with locked(run_dir / LOCK_FILE):
        # Planned again, because another process may have done some of it in between.
        what = plan_run(resolved, replace(options, run=run_dir.name))
        _begin(resolved, options, what)
        if on_plan is not None:
            on_plan(what)
        recorder = _Recorder(what, on_event)
        try:
            if what.workers > 1:
                _in_workers(resolved, options, what, recorder)
            else:
                _in_process(resolved, options, what, recorder, pool)
        except KeyboardInterrupt as error:
            finished = what.n_done + recorder.n_sealed
            raise RunInterruptedError(what, finished=finished) from error
        finally:
            recorder.close()
            # What killed workers left; unsealed trials begin anew and never read it.
            shutil.rmtree(run_dir / CHECKPOINTS_FOLDER, ignore_errors=True)
        return RunResult(run=what.run, run_dir=run_dir, summaries=tuple(load_summaries(run_dir)))


def _default_workers(resolved: ResolvedScenario, trials: Sequence[PlannedTrial]) -> int:
    # Each worker loads its own copy of the models, of which an accelerator may hold only one.
    rows = {trial.key.tool_set for trial in trials}
    devices = {trial.target.model.device for trial in trials}
    devices |= {reader.device for row, reader in resolved.readers.items() if row in rows}
    if any(d.startswith("cuda") or (d == "auto" and _NVIDIA.exists()) for d in devices):
        return 1
    return min(MOST_DEFAULT_WORKERS, os.cpu_count() or 1)


class _Recorder:
    """Writes what happens: the trial's file first, then the index, then who listens."""

    def __init__(self, what: RunPlan, on_event: OnEvent | None) -> None:
        self._run_dir, self._on_event = what.run_dir, on_event
        self._open: dict[TrialKey, tuple[TrialWriter, list[TrialEvent]]] = {}
        self.n_sealed = 0

    def begin(self, trial: PlannedTrial) -> None:
        self.close(trial.key)
        self._open[trial.key] = TrialWriter(trial_path(self._run_dir, trial.key)), []

    def take(self, trial: PlannedTrial, event: TrialEvent) -> None:
        writer, events = self._open[trial.key]
        writer.write(event)
        events.append(event)
        if isinstance(event, SealedEvent):
            del self._open[trial.key]
            self.n_sealed += 1
            with _index_may_lag():
                index.upsert_trial(self._run_dir.parent, summarise(events))
        if self._on_event is not None:
            self._on_event(trial.key, event)

    def close(self, *keys: TrialKey) -> None:
        for key in keys or tuple(self._open):
            if key in self._open:
                self._open.pop(key)[0].close()


def _begin(resolved: ResolvedScenario, options: RunOptions, what: RunPlan) -> None:
    asked = asdict(options) | {"runs_dir": str(options.runs_dir), "workers": what.workers}
    record = new_record(resolved, run=what.run, planned=len(what.trials), options=asked)
    if (what.run_dir / RUN_FILE).exists():
        record = load_run(what.run_dir).continued(record)
    write_run(what.run_dir, record)
    with _index_may_lag():
        index.upsert_run(what.run_dir.parent, record, load_summaries(what.run_dir))


def _in_process(
    resolved: ResolvedScenario,
    options: RunOptions,
    what: RunPlan,
    recorder: _Recorder,
    pool: ModelPool | None,
) -> None:
    if not what.todo:
        return
    checkpoints = _checkpoints(options, what)
    with _quiet(), torch_threads(options.threads):
        if pool is None:
            from auditor.target.pool import TargetPool

            pool = TargetPool()
        for trial in what.todo:
            recorder.begin(trial)
            run_trial(
                trial,
                resolved,
                pool=pool,
                emit=partial(recorder.take, trial),
                checkpoints=checkpoints,
            )


def _in_workers(
    resolved: ResolvedScenario, options: RunOptions, what: RunPlan, recorder: _Recorder
) -> None:
    checkpoints = _checkpoints(options, what)
    setup = Setup(resolved=resolved, threads=options.threads, checkpoints=checkpoints)
    with WorkerPool(what.workers, setup, logs=what.run_dir) as workers:
        for message in workers.run(what.todo):
            if isinstance(message, Begin):
                recorder.begin(message.trial)
            else:
                recorder.take(message.trial, message.event)


def _checkpoints(options: RunOptions, what: RunPlan) -> Path | None:
    return what.run_dir / CHECKPOINTS_FOLDER if options.checkpoints else None


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


@contextmanager
def _index_may_lag() -> Iterator[None]:
    """The index is a copy; that it cannot be written is no reason to stop audits."""
    try:
        yield
    except RunError as error:
        _log.warning("%s; `auditor reindex` brings the index up to date", error)
