"""A trial's events as they are written."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from auditor.errors import RunError
from auditor.records import SealedEvent, TrialEvent
from auditor.run.store import parse_event

POLL_SECONDS = 0.3
_HEAD_BYTES = 512


def follow(
    path: Path,
    *,
    alive: Callable[[], bool],
    wait: Callable[[], None] = lambda: time.sleep(POLL_SECONDS),
) -> Iterator[TrialEvent]:
    """Yield the events of a record, then those that are added, until it is sealed.

    When the trial is begun anew, as it is when an interrupted run is continued, its events follow
    from the first on.

    Args:
        path: The record.
        alive: Whether somebody still writes to the run; asked when nothing new is there. The end
            is when nobody does.
        wait: Called before looking again.

    Raises:
        RunError: When the record cannot be read, or a line of it is not an event.
    """
    read, number, head, rest = 0, 0, b"", b""
    last_look = False
    while True:
        added = _added(path, read, head)
        if added is None:
            read, number, head, rest = 0, 0, b"", b""
            continue
        read += len(added)
        head = (head + added)[:_HEAD_BYTES]
        *lines, rest = (rest + added).split(b"\n")
        for line in lines:
            number += 1
            event = _parsed(path, number, line)
            yield event
            if isinstance(event, SealedEvent):
                return
        if added:
            last_look = False
        elif last_look:
            return
        else:
            # What was written between the last look and the writer's end is still to be read.
            last_look = not alive()
            if not last_look:
                wait()


def _added(path: Path, read: int, head: bytes) -> bytes | None:
    """Return what follows the first `read` bytes; None when the file is another than the one read.

    A new one has another beginning, for a trial's first event holds the time.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(head)) != head:
                return None
            size = file.seek(0, 2)
            file.seek(read)
            return file.read() if size >= read else None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


def _parsed(path: Path, number: int, line: bytes) -> TrialEvent:
    try:
        return parse_event(line)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise RunError(f"{path}:{number}: not an event of a trial: {what}") from error
