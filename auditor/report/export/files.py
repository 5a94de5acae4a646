"""Files that appear only when they are whole, and trials read one by one."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import RunError, UsageError
from auditor.records import TrialStarted
from auditor.report.export.rows import Recorded


def recorded(files: Iterable[Path]) -> Iterator[Recorded]:
    """Yield the trials of some records, one in memory at a time; empty ones are passed over.

    Raises:
        RunError: When a record cannot be read.
    """
    from auditor.run.store import read_events, summarise

    for path in files:
        events = read_events(path)
        if events:
            yield Recorded(events, summarise(events))


def first_event(path: Path) -> TrialStarted | None:
    """Return how a record begins; None when nothing is in it yet.

    Raises:
        RunError: When it cannot be read, or does not begin as a trial does.
    """
    from auditor.run.store import parse_event

    try:
        with path.open("rb") as file:
            line = file.readline()
        event = parse_event(line) if line.endswith(b"\n") else None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it does not begin as a trial does"
        raise RunError(f"cannot read {path}: {why}") from error
    return event if isinstance(event, TrialStarted) else None


def folder(out: Path) -> Path:
    """Return a folder, made when missing.

    Raises:
        UsageError: When there is a file of that name.
        RunError: When it cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give --out the name of a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {out}: {error.strerror or error}") from error
    return out


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Give a file to fill, which gets its name when it is whole and goes when that failed.

    Raises:
        RunError: When it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
