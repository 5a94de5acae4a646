"""Whether the events of a trial can have followed one another."""

from collections.abc import Sequence

from auditor.records import (
    SealedEvent,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
)


def fault_of(events: Sequence[TrialEvent]) -> str | None:
    """Say what is wrong with a trial's events, as a sentence without its end; None if nothing is.

    Calls are numbered without a gap and each is answered before the auditor goes on. What else may
    be missing cannot be told.
    """
    if not isinstance(events[0], TrialStarted):
        return "it does not begin with the start of a trial"
    if any(isinstance(event, SealedEvent) for event in events[:-1]):
        return "it goes on after its seal"
    n_calls, waiting = 0, False
    for event in events:
        match event:
            case ToolCallEvent():
                n_calls += 1
                if waiting:
                    return "results are missing"
                if event.evidence_id != f"E{n_calls}":
                    return "calls are missing or double"
                waiting = True
            case ToolResultEvent():
                if not waiting or event.evidence_id != f"E{n_calls}":
                    return "calls or results are missing or double"
                waiting = False
            case ThoughtEvent() | SubmissionEvent():
                if waiting:
                    return "results are missing"
            case _:
                pass
    return None
