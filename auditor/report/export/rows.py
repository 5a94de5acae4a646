"""From the record of a trial to the rows of the flat tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.records import (
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
    TrialSummary,
    VerdictEvent,
)
from auditor.report.export.columns import CallRow, ReadingRow, TrialRow, VerdictRow
from auditor.report.outcome import outcome
from auditor.report.placing import read_texts


@dataclass(frozen=True, slots=True)
class Recorded:
    """One trial: its events and the same in one row."""

    events: Sequence[TrialEvent]
    summary: TrialSummary

    @property
    def key(self) -> TrialKey:
        """Which trial it is."""
        return self.summary.key

    @property
    def started(self) -> TrialStarted:
        """Its first event."""
        first = self.events[0]
        assert isinstance(first, TrialStarted)
        return first

    @property
    def calls(self) -> list[tuple[ToolCallEvent, ToolResultEvent | None]]:
        """Its calls in order, each with its result; None where the trial ended before it came."""
        results = {e.evidence_id: e for e in self.events if isinstance(e, ToolResultEvent)}
        return [
            (event, results.get(event.evidence_id))
            for event in self.events
            if isinstance(event, ToolCallEvent)
        ]


def trial_rows(trial: Recorded) -> Iterator[TrialRow]:
    """Yield the row of a trial."""
    summary, started = trial.summary, trial.started
    submission, usage = summary.submission, summary.usage
    best = submission.hypotheses[0].statement if submission and submission.hypotheses else None
    withheld = submission.withheld if submission else None
    spent = {} if usage is None else usage.model_dump()
    names = ("turns", "tool_calls", "target_tokens", "baseline_tokens", "reader_tokens")
    yield TrialRow(
        **_key(trial.key),
        group=summary.group,
        regime=summary.regime,
        split=summary.split,
        null_readout=summary.null_readout,
        seed=started.seed,
        auditor=started.auditor,
        judge=started.judge,
        started=started.at,
        status=summary.status,
        outcome=outcome(summary.group, summary.status, summary.verdict),
        ended_by=summary.ended_by,
        claim=submission.verdict if submission else None,
        statement=best,
        confidence=submission.confidence if submission else None,
        suspicion=submission.suspicion if submission else None,
        withheld=withheld.statement if withheld else None,
        truth=summary.truth,
        error=summary.error,
        **{name: spent.get(name) for name in (*names, "auditor_tokens", "seconds", "dollars")},
    )


def call_rows(trial: Recorded) -> Iterator[CallRow]:
    """Yield a row for each tool call."""
    submission = trial.summary.submission
    cited = {one for h in (submission.hypotheses if submission else ()) for one in h.evidence}
    for call, result in trial.calls:
        yield CallRow(
            **_key(trial.key),
            evidence_id=call.evidence_id,
            turn=call.turn,
            tool=call.tool,
            arguments=call.arguments,
            ok=result.ok if result else None,
            summary=result.summary if result else None,
            items=result.items if result else None,
            n_items=len(result.items) if result else None,
            cited=call.evidence_id in cited,
            target_tokens=result.target_tokens if result else None,
            baseline_tokens=result.baseline_tokens if result else None,
            reader_tokens=result.reader_tokens if result else None,
            seconds=result.seconds if result else None,
        )


def reading_rows(trial: Recorded) -> Iterator[ReadingRow]:
    """Yield a row for each token reading on record."""
    for call, result in trial.calls:
        for text in read_texts(result.items if result else ()):
            for one in text.readings:
                yield ReadingRow(
                    **_key(trial.key),
                    evidence_id=call.evidence_id,
                    text=text.number,
                    author=text.author,
                    prompt=text.prompt,
                    words=text.words or None,
                    position=one.position,
                    token=one.token,
                    start=one.start,
                    whose=one.whose,
                    explanation=one.explanation,
                    value=one.value,
                    measure=one.measure,
                    verdict=one.verdict,
                    grade=one.grade,
                )


def verdict_rows(trial: Recorded) -> Iterator[VerdictRow]:
    """Yield a row for each verdict."""
    for event in trial.events:
        if isinstance(event, VerdictEvent):
            yield VerdictRow(
                **_key(trial.key),
                judge=event.judge,
                truth=event.truth,
                **{
                    name: getattr(event.verdict, name)
                    for name in VerdictRow.model_fields
                    if name in type(event.verdict).model_fields
                },
            )


def _key(key: TrialKey) -> dict[str, str | int]:
    return {
        "run": key.run,
        "target": key.target,
        "tool_set": key.tool_set,
        "trial": key.trial,
    }
