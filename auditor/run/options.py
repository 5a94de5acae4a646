"""What a run is asked to do, what it is about to do, and what it has left."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auditor.errors import OutageError, RunStoppedError
from auditor.provider.cache import CacheMode
from auditor.records import TrialSummary
from auditor.run.plan import PlannedTrial
from auditor.run.recorder import OnEvent
from auditor.run.stopping import Stop
from auditor.run.subjects import ModelPool
from auditor.run.trial import PolicyFactory


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
    cache: CacheMode = "off"
    """Whether replies of language models are kept in `runs_dir` for later runs, see
    `auditor.provider.cache`."""
    concurrency: int | None = None
    """Trials at once in one process, as threads whose model work shares batches; None or 1: one."""
    executor: Literal["local", "ray"] = "local"
    """local: this machine. ray: a Ray cluster, `workers` actors of `concurrency` trials each."""
    address: str | None = None
    """Address of the Ray cluster; None is the one that the environment names."""
    num_gpus: float = 0.0
    """GPUs, or a share of one, that each of the cluster's actors holds."""
    checkpoints: bool = True
    """Keep the loop's state on disk while a trial runs; without, an interrupted one begins anew."""
    take_over: bool = False
    """Go on with a run that a process on another machine did not let go of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a program adds to a run; nothing of it is recorded."""

    on_plan: Callable[["RunPlan"], None] = lambda what: None
    """Called once, before the first trial."""
    on_event: OnEvent | None = None
    """Called in this thread with every event, after it is written. Of a trial that goes on it is
    told from the beginning."""
    on_interrupt: Callable[[], None] | None = None
    """Called from the signal handler at the first Ctrl-C, which lets the current steps end."""
    before_trial: Callable[[PlannedTrial], None] = lambda trial: None
    """Called before each trial, from any thread; it may raise `RunStoppedError`."""
    stop: Stop = field(default_factory=Stop)
    """Ask it, from any thread, to stop the run between steps."""
    pool: ModelPool | None = None
    """Where models come from when trials run in this process; None makes one."""
    policy: PolicyFactory | None = None
    """Makes the auditor of each trial, in this process; None makes the scenario's."""


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


class RunLimitError(RunStoppedError):
    """A limit of the run was reached; finished trials stay, the others can be gone on with."""

    def __init__(self, what: RunPlan, *, finished: int, why: str) -> None:
        self.plan, self.finished, self.why = what, finished, why
        super().__init__(
            f"stopped: {why}; {finished} of {len(what.trials)} trials are finished; raise the "
            f"limit and start the same command with --run {what.run} to go on"
        )


class RunOutageError(OutageError):
    """A model's server gave no reply to anybody; unfinished trials can be gone on with."""

    def __init__(self, what: RunPlan, *, finished: int, why: str) -> None:
        self.plan, self.finished, self.why = what, finished, why
        super().__init__(
            f"stopped: {why}; {finished} of {len(what.trials)} trials are finished; once that is "
            f"mended, `auditor resume {what.run}` goes on"
        )


def stopped_by(
    stop: Stop, what: RunPlan, *, finished: int
) -> RunInterruptedError | RunLimitError | RunOutageError:
    """Return the error of a run that was asked to stop before all its trials were finished."""
    if stop.reason == "limit":
        return RunLimitError(what, finished=finished, why=stop.why)
    if stop.reason == "outage":
        return RunOutageError(what, finished=finished, why=stop.why)
    return RunInterruptedError(what, finished=finished)
