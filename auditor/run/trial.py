"""One trial: an audit, its verdict, and the events that record both."""

import hashlib
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.records import (
    ErrorEvent,
    SealedEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    TrialSummary,
    TrialUsage,
    VerdictEvent,
)
from auditor.run.plan import PlannedTrial
from auditor.run.record import package_versions, utc_now
from auditor.run.store import summarise
from auditor.run.subjects import ModelPool, load_subject, placebo_of
from auditor.scenario.schema import ResolvedScenario
from tools.protocols import Corpus, Writer

if TYPE_CHECKING:
    from auditor.investigator.loop import AuditOutcome

Emit = Callable[[TrialEvent], None]


def run_trial(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    *,
    pool: ModelPool,
    emit: Emit,
    checkpoints: Path | None = None,
) -> TrialSummary:
    """Audit one target and judge the submission.

    Whatever goes wrong inside the audit becomes an `error` event and a sealed, errored trial. What
    `emit` raises, and an interrupt from the keyboard, goes through to the caller.

    Args:
        planned: The trial.
        resolved: The scenario it belongs to.
        pool: Where target, baseline and reader come from.
        emit: Takes each event, `started` first and `sealed` last, as it happens.
        checkpoints: Folder for the loop's checkpoint while the trial runs; None keeps none.
    """
    events: list[TrialEvent] = []

    def record(event: TrialEvent) -> None:
        events.append(event)
        emit(event)

    began = time.monotonic()
    record(started_event(planned, resolved))
    try:
        usage = _audit_and_judge(planned, resolved, pool, record, events, checkpoints)
    except Exception as error:
        for event in error_events(
            events,
            message=f"{type(error).__name__}: {error}",
            details=traceback.format_exc(),
            seconds=time.monotonic() - began,
        ):
            record(event)
    else:
        verdicts = [event.verdict for event in events if isinstance(event, VerdictEvent)]
        status = "scored" if verdicts[-1].valid else "invalid"
        record(SealedEvent(at=utc_now(), status=status, usage=usage))
    return summarise(events)


def started_event(planned: PlannedTrial, resolved: ResolvedScenario) -> TrialStarted:
    """The first event of a trial."""
    truth = planned.target.truth
    static = planned.tool_set.policy == "static"
    placebo = placebo_of(planned, resolved)
    return TrialStarted(
        at=utc_now(),
        key=planned.key,
        seed=planned.seed,
        auditor="static" if static else resolved.scenario.auditor.kind,
        judge=resolved.scenario.judge.kind,
        group=truth.group,
        regime=truth.regime,
        split=truth.split,
        versions=package_versions(),
        null_readout=planned.tool_set.null_readout,
        placebo=None if placebo is None else placebo.id,
    )


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


def _audit_and_judge(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    pool: ModelPool,
    record: Emit,
    events: Sequence[TrialEvent],
    checkpoints: Path | None,
) -> TrialUsage:
    outcome = _audit(planned, resolved, pool, record, checkpoints)
    record(_judge(planned, resolved, outcome, events))
    return outcome.usage


def _audit(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    pool: ModelPool,
    record: Emit,
    checkpoints: Path | None,
) -> "AuditOutcome":
    from auditor.investigator.loop import run_audit
    from auditor.investigator.policies import STATIC_TOOLS, make_policy
    from tools import registry

    kind = planned.tool_set.policy
    names = STATIC_TOOLS if kind == "static" else planned.tool_set.tools
    corpus = None if resolved.corpus_path is None else _corpus(resolved.corpus_path)
    subject = load_subject(planned, resolved, pool=pool, corpus=corpus)
    thread_id = hashlib.sha256(str(planned.key).encode()).hexdigest()[:32]
    with _checkpointer(checkpoints, thread_id) as checkpointer:
        return run_audit(
            policy=make_policy(kind, resolved.scenario.auditor, names, resolved.calibrator),
            tools=registry.tools_of_row(names, planned.tool_set.settings),
            target=subject.target,
            baseline=subject.baseline,
            corpus=subject.corpus,
            reader=subject.reader,
            mind=subject.mind,
            baseline_mind=subject.baseline_mind,
            probe=subject.probe,
            sae=subject.sae,
            writer=_writer(resolved),
            budget=resolved.scenario.budget,
            seed=planned.seed,
            emit=record,
            checkpointer=checkpointer,
            thread_id=thread_id,
        )


def _judge(
    planned: PlannedTrial,
    resolved: ResolvedScenario,
    outcome: "AuditOutcome",
    events: Sequence[TrialEvent],
) -> VerdictEvent:
    from auditor.judge import RubricJudge, facts_from_events

    truth = planned.target.truth
    verdict = RubricJudge(resolved.motives).judge(
        outcome.submission, truth=truth, facts=facts_from_events(events, truth)
    )
    return VerdictEvent(
        at=utc_now(), judge=resolved.scenario.judge.kind, verdict=verdict, truth=truth.motive
    )


def _writer(resolved: ResolvedScenario) -> Writer | None:
    if resolved.scenario.writer is None:
        return None
    from auditor.investigator.writer import ProviderWriter
    from auditor.provider.factory import make_provider

    return ProviderWriter(make_provider(resolved.scenario.writer))


@cache
def _corpus(path: Path) -> Corpus:
    from auditor.investigator.corpus import Bm25Corpus

    return Bm25Corpus.load(path)


@contextmanager
def _checkpointer(folder: Path | None, thread_id: str) -> Iterator[Any]:
    """Open a checkpoint file for one trial; it goes when the trial ends, however it ends."""
    if folder is None:
        yield None
        return
    from langgraph.checkpoint.sqlite import SqliteSaver

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{thread_id}.db"
    with ExitStack() as stack:
        # A killed process left its checkpoint behind; the trial begins anew, so it must go.
        _remove(path)
        stack.callback(_remove, path)
        connection = sqlite3.connect(path, check_same_thread=False)
        stack.callback(connection.close)
        # It must outlive this process, not a power cut, and syncing took more than saving.
        connection.execute("pragma synchronous = off")
        yield SqliteSaver(connection)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
