"""One trial: an audit, its verdict, and the events that record both."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from auditor.errors import AuditStoppedError, BudgetReachedError, RunError, RunStoppedError
from auditor.records import (
    ErrorEvent,
    SealedEvent,
    SubmissionEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    TrialSummary,
    TrialUsage,
    VerdictEvent,
)
from auditor.run.checkpoints import Checkpoint, CheckpointError, thread_id
from auditor.run.journal import Journal
from auditor.run.plan import PlannedTrial
from auditor.run.record import package_versions, utc_now
from auditor.run.sequence import fault_of
from auditor.run.store import summarise
from auditor.run.subjects import ModelPool, load_subject, placebo_of
from auditor.scenario.schema import AuditorSpec, ResolvedScenario
from tools.protocols import Corpus, ToolOutput, Writer

if TYPE_CHECKING:
    from auditor.investigator.loop import AuditOutcome
    from auditor.investigator.protocol import Policy

PolicyFactory = Callable[[PlannedTrial, ResolvedScenario], "Policy"]


def run_trial(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    *,
    pool: ModelPool,
    journal: Journal,
    checkpoints: Path | None = None,
    policy: PolicyFactory | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrialSummary:
    """Audit one target and judge the submission, or go on with what was interrupted.

    A trial that earlier attempts left unfinished goes on from its checkpoint: the record is cut
    back to the last step that ended, and the interrupted step runs again, with the same seeds and
    evidence ids. A verdict that is recorded is not asked for again. Where that cannot be, the trial
    begins anew. Its record is the same either way, but for the times.

    Whatever goes wrong inside the audit becomes an `error` event and a sealed, errored trial. What
    the journal raises, a request to stop, a server that is away, and an interrupt from the keyboard
    go through to the caller, and leave the trial to be gone on with.

    Args:
        planned: The trial.
        resolved: The scenario it belongs to.
        pool: Where target, baseline and reader come from.
        journal: The trial's record; `started` comes first in it and `sealed` last.
        checkpoints: Folder for the loop's checkpoint; None keeps none.
        policy: Makes the auditor; None makes the scenario's.
        stop: Asked before every step and before the judge.

    Raises:
        AuditStoppedError: When `stop` said yes.
        RunStoppedError: When a limit of the whole run was reached, or a model's server is away.
        RunError: When the record or the checkpoint cannot be written.
    """
    trial = _Trial(planned, resolved, journal, checkpoints)
    with closing(trial):
        trial.begin()
        began = time.monotonic()
        try:
            usage = _audit_and_judge(
                trial, pool, policy or partial(scenario_policy, pool=pool), stop
            )
        except (AuditStoppedError, RunStoppedError):
            raise
        except Exception as error:
            if trial.unwritable:
                raise
            last: Sequence[TrialEvent] = error_events(
                trial.events,
                message=f"{type(error).__name__}: {error}",
                details=traceback.format_exc(),
                seconds=time.monotonic() - began,
            )
        else:
            last = [_seal(trial.events, usage)]
        for event in last:
            trial.record(event)
    return summarise(trial.events)


class _Trial:
    """A trial's record and checkpoint, and what they hold so far."""

    def __init__(
        self,
        planned: PlannedTrial,
        resolved: ResolvedScenario,
        journal: Journal,
        checkpoints: Path | None,
    ) -> None:
        self.planned, self.resolved = planned, resolved
        self.events: list[TrialEvent] = []
        self._journal = journal
        self._journal_failed = False
        self.checkpoint: Checkpoint | None = None
        if checkpoints is not None:
            self.checkpoint = Checkpoint(checkpoints, planned.key, before_saving=self._sync)

    @property
    def unwritable(self) -> bool:
        """Whether record or checkpoint could not be written, which is no fault of the audit."""
        return self._journal_failed or (self.checkpoint is not None and self.checkpoint.failed)

    def begin(self) -> None:
        """Bring record and checkpoint to the last step that ended, or to the start."""
        started = started_event(self.planned, self.resolved)
        past, kept, why = self._last_step(started)
        if not kept and self.checkpoint is not None:
            self.checkpoint.reset()
        self._journal.keep(kept, why_anew=why)
        self.events = list(past[:kept])
        if not kept:
            self.record(started)

    def record(self, event: TrialEvent) -> None:
        """Append one event."""
        with self._journalling():
            self._journal.write(event)
        self.events.append(event)

    def close(self) -> None:
        """Close the checkpoint; whoever keeps the record deletes it with the seal."""
        if self.checkpoint is not None:
            self.checkpoint.close()

    def _sync(self, paid: bool) -> None:
        with self._journalling():
            self._journal.sync(paid=paid)

    @contextmanager
    def _journalling(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._journal_failed = True
            raise

    def _last_step(self, started: TrialStarted) -> tuple[Sequence[TrialEvent], int, str | None]:
        """Return what is recorded, how much of it stays, and why nothing does if that matters."""
        try:
            past = self._journal.past()
        except RunError as error:
            return (), 0, str(error)
        if not past or self.checkpoint is None:
            return past, 0, None
        if past[0] != started.model_copy(update={"at": past[0].at}):
            return past, 0, "it was begun by another version, or with other settings"
        if (fault := fault_of(past)) is not None:
            return past, 0, f"its record is damaged ({fault})"
        try:
            found = self.checkpoint.rewind(len(past) - 1)
        except CheckpointError as error:
            return past, 0, str(error)
        if found is not None:
            return past, _with_verdict(past, 1 + found), None
        # A trial that was interrupted in its first step never had one.
        had_one = any(isinstance(event, ToolCallEvent) for event in past)
        return past, 0, "its checkpoint is missing or newer than its record" if had_one else None


def _with_verdict(past: Sequence[TrialEvent], kept: int) -> int:
    """Keep the verdict on a finished audit too: a judge may have been paid for it."""
    finished = isinstance(past[kept - 1], SubmissionEvent)
    return kept + (finished and len(past) > kept and isinstance(past[kept], VerdictEvent))


def started_event(planned: PlannedTrial, resolved: ResolvedScenario) -> TrialStarted:
    """The first event of a trial."""
    truth = planned.target.truth
    static = planned.tool_set.policy == "static"
    placebo = placebo_of(planned, resolved)
    return TrialStarted(
        at=utc_now(),
        key=planned.key,
        seed=planned.seed,
        auditor="static" if static else auditor_name(resolved.scenario.auditor),
        judge=resolved.scenario.judge.kind,
        group=truth.group,
        regime=truth.regime,
        split=truth.split,
        versions=package_versions(),
        null_readout=planned.tool_set.null_readout,
        placebo=None if placebo is None else placebo.id,
    )


def auditor_name(auditor: AuditorSpec) -> str:
    """What records call an auditor: no address of a server and no folder stands in it."""
    if auditor.model is None:
        return auditor.kind
    scheme, _, model = auditor.model.name.partition("/")
    model = model.partition("@http")[0]
    return f"{auditor.kind}: {scheme}/{Path(model).name if Path(model).is_absolute() else model}"


def error_events(
    events: Sequence[TrialEvent], *, message: str, details: str, seconds: float
) -> list[TrialEvent]:
    """The last two events of a trial that broke off after `events`."""
    results = [event for event in events if isinstance(event, ToolResultEvent)]
    usage = TrialUsage(
        turns=1 + max((getattr(event, "turn", -1) for event in events), default=-1),
        tool_calls=sum(isinstance(event, ToolCallEvent) for event in events),
        target_tokens=sum(event.target_tokens for event in results),
        baseline_tokens=sum(event.baseline_tokens for event in results),
        reader_tokens=sum(event.reader_tokens for event in results),
        seconds=seconds,
    )
    return [
        ErrorEvent(at=utc_now(), message=message, traceback=details),
        SealedEvent(at=utc_now(), status="errored", usage=usage),
    ]


def _seal(events: Sequence[TrialEvent], usage: TrialUsage) -> SealedEvent:
    verdicts = [event.verdict for event in events if isinstance(event, VerdictEvent)]
    status: Literal["scored", "invalid"] = "scored" if verdicts[-1].valid else "invalid"
    return SealedEvent(at=utc_now(), status=status, usage=usage)


def _audit_and_judge(
    trial: _Trial, pool: ModelPool, policy: PolicyFactory, stop: Callable[[], bool]
) -> TrialUsage:
    outcome = _audit(trial, pool, policy, stop)
    if not isinstance(trial.events[-1], VerdictEvent):
        if stop():
            raise AuditStoppedError("the trial was asked to stop before the judge")
        trial.record(_judge(trial.planned, trial.resolved, pool, outcome, trial.events))
    return outcome.usage


def _audit(
    trial: _Trial, pool: ModelPool, policy: PolicyFactory, stop: Callable[[], bool]
) -> "AuditOutcome":
    from auditor.investigator.loop import run_audit
    from tools import registry

    planned, resolved = trial.planned, trial.resolved
    corpus = None if resolved.corpus_path is None else _corpus(resolved.corpus_path)
    subject = load_subject(planned, resolved, pool=pool, corpus=corpus)
    return run_audit(
        policy=policy(planned, resolved),
        tools=registry.tools_of_row(tool_names(planned), planned.tool_set.settings),
        target=subject.target,
        baseline=subject.baseline,
        corpus=subject.corpus,
        reader=subject.reader,
        mind=subject.mind,
        baseline_mind=subject.baseline_mind,
        probe=subject.probe,
        sae=subject.sae,
        oracle=subject.oracle,
        writer=_writer(resolved, pool),
        budget=resolved.scenario.budget,
        seed=planned.seed,
        emit=trial.record,
        checkpointer=None if trial.checkpoint is None else trial.checkpoint.saver,
        thread_id=thread_id(planned.key),
        results=_results(trial.events),
        stop=stop,
    )


def scenario_policy(
    planned: PlannedTrial, resolved: ResolvedScenario, *, pool: ModelPool
) -> "Policy":
    """Build the auditor that the scenario asks for."""
    from auditor.investigator.policies import make_policy

    auditor, kind = resolved.scenario.auditor, planned.tool_set.policy
    model = auditor.model if auditor.kind == "model" and kind == "agent" else None
    provider = None if model is None else pool.providers.make(model, "auditor")
    return make_policy(
        kind,
        auditor,
        tool_names(planned),
        resolved.calibrator,
        provider,
        settings=planned.tool_set.settings,
    )


def tool_names(planned: PlannedTrial) -> Sequence[str]:
    """Names of the tools that a trial's auditor may call."""
    from auditor.investigator.policies import STATIC_TOOLS

    return STATIC_TOOLS if planned.tool_set.policy == "static" else planned.tool_set.tools


def _results(events: Sequence[TrialEvent]) -> dict[str, ToolOutput]:
    return {
        event.evidence_id: ToolOutput(summary=event.summary, items=tuple(event.items))
        for event in events
        if isinstance(event, ToolResultEvent)
    }


def _judge(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    pool: ModelPool,
    outcome: "AuditOutcome",
    events: Sequence[TrialEvent],
) -> VerdictEvent:
    from auditor.judge import facts_from_events, make_judge

    spec = resolved.scenario.judge
    model = spec.model if spec.kind == "model" else None
    provider = None if model is None else pool.providers.make(model, "judge")
    truth, judge = planned.target.truth, make_judge(resolved, provider=provider)
    facts = facts_from_events(events, truth)
    try:
        verdict = judge.judge(outcome.submission, truth=truth, facts=facts)
    except BudgetReachedError as reached:
        # The audit is over, so there is no outcome that the limit could be.
        raise RunStoppedError(str(reached)) from reached
    return VerdictEvent(at=utc_now(), judge=judge.name, verdict=verdict, truth=truth.motive)


def _writer(resolved: ResolvedScenario, pool: ModelPool) -> Writer | None:
    model = resolved.scenario.writer
    if model is None:
        return None
    from auditor.investigator.writer import ProviderWriter

    return ProviderWriter(pool.providers.make(model, "writer"))


@cache
def _corpus(path: Path) -> Corpus:
    from auditor.investigator.corpus import Bm25Corpus

    return Bm25Corpus.load(path)
