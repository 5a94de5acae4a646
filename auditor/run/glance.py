"""What a finished trial came to, from both ends of its file.

A record is long because of its tool results, and of those no table says anything. What a summary is
made of stands in the first line and in the last few, so that thousands of finished trials are
looked through in seconds. Whether the lines between them are whole, `read_events` tells.
"""

import os
import re
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from auditor.errors import RunError
from auditor.records import TrialEvent, TrialSummary
from auditor.run.store import TRIALS_FOLDER, is_sealed, parse_event, summarise

_TAIL_BYTES = 1 << 14
_TYPE = re.compile(rb'\{"at":"[^"\\]*","type":"([a-z_]+)"')
_LAST: Final = frozenset({b"submission", b"verdict", b"error", b"sealed"})
"""Types of the events that come after the last step of an audit."""


def sealed_summary(path: Path) -> TrialSummary | None:
    """Summarise a sealed trial; None when it is not sealed, or its two ends do not tell.

    Raises:
        RunError: When the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            first = file.readline()
            last = _last_events(file, len(first), os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    if not last or _kind(last[-1]) != b"sealed":
        return None
    try:
        events: list[TrialEvent] = [parse_event(line) for line in (first, *last)]
        return summarise(events)
    except (ValidationError, ValueError):
        return None


def sealed_trials(run_dir: Path) -> dict[str, TrialSummary | None]:
    """Return the sealed trials of a run by the stems of their files.

    The summary is None where the file does not tell it, or is not what its name says.

    Raises:
        RunError: When a file cannot be read.
    """
    found: dict[str, TrialSummary | None] = {}
    for path in (run_dir / TRIALS_FOLDER).glob("*.jsonl"):
        summary = sealed_summary(path)
        if summary is None and not is_sealed(path):
            continue
        if summary is not None and (summary.key.run, summary.key.stem) != (run_dir.name, path.stem):
            summary = None
        found[path.stem] = summary
    return found


def _last_events(file: BinaryIO, start: int, size: int) -> list[bytes]:
    """Return the lines after the last step, none when the last line is cut short.

    More of the file is read until a line of another kind, or the first one, stands before them.
    """
    length = _TAIL_BYTES
    while True:
        begin = max(start, size - length)
        file.seek(begin)
        *lines, rest = file.read(size - begin).split(b"\n")
        if rest:
            return []
        whole = lines if begin == start else lines[1:]
        n = len(whole)
        while n and _kind(whole[n - 1]) in _LAST:
            n -= 1
        if n or begin == start:
            return whole[n:]
        length *= 16


def _kind(line: bytes) -> bytes | None:
    match = _TYPE.match(line)
    return match[1] if match else None
