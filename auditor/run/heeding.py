"""What the one writer of a run's records does with what trials elsewhere say."""

from contextlib import suppress
from pathlib import Path

from auditor.errors import RunError
from auditor.run import checkpoints
from auditor.run.executors.protocol import Saved
from auditor.run.recorder import Recorder
from auditor.run.trial import error_events, started_event
from auditor.run.workers import Begin, Died, Happened, Keep, Message
from auditor.scenario.schema import ResolvedScenario


def heed(
    message: Message | Saved, recorder: Recorder, resolved: ResolvedScenario, *, saved: Path
) -> None:
    """Do what a message asks for.

    Args:
        message: From a worker or from another machine.
        recorder: Writes the records.
        resolved: The scenario.
        saved: Folder of the checkpoints.

    Raises:
        RunError: When something cannot be written.
    """
    key = message.trial.key
    match message:
        case Begin():
            recorder.close(key)
        case Keep():
            recorder.keep(key, message.n_events, why_anew=message.why_anew)
        case Happened():
            recorder.write(key, message.event)
        case Died():
            _bury(message, recorder, resolved)
        case Saved():
            # The state must not come to disk before the events that it stands on.
            recorder.sync(key)
            checkpoints.put(saved, key, message.content)
        case _:
            recorder.sync(key)


def _bury(died: Died, recorder: Recorder, resolved: ResolvedScenario) -> None:
    """Seal a trial whose workers die of it."""
    key = died.trial.key
    if not recorder.events(key):  # it died before it came to its record
        with suppress(RunError):
            recorder.keep(key, len(recorder.past(key)))
    if not recorder.events(key):
        recorder.keep(key, 0)
        recorder.write(key, started_event(died.trial, resolved))
    for event in error_events(
        recorder.events(key), message=died.why, details=died.log, seconds=died.seconds
    ):
        recorder.write(key, event)
