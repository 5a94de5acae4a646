"""The files of a run: append-only JSON lines per trial, and one `run.json`.

    RUNS_DIR/RUN/run.json               what was asked; holds the truth
    RUNS_DIR/RUN/scenario.yaml          copy of the scenario file
    RUNS_DIR/RUN/trials/STEM.jsonl      one event a line; sealed when the last is `sealed`
    RUNS_DIR/RUN/lock                   which process writes here

    RUNS_DIR/RUN/checkpoints/STEM.db    state of a trial that is under way

A sealed trial is never written again. An unsealed one is what a stopped process left; when the run
is continued, what an interrupted step wrote is cut off and the step runs again.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from auditor.errors import RunError
from auditor.records import (
    ErrorEvent,
    SealedEvent,
    SubmissionEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
    TrialSummary,
    VerdictEvent,
)
from auditor.run.record import RunRecord

RUN_FILE = "run.json"
TRIALS_FOLDER = "trials"
LOCK_FILE = "lock"
CHECKPOINTS_FOLDER = "checkpoints"
_TAIL_BYTES = 1 << 16
# As `model_dump_json` writes them; a line in any other form is looked at.
_BULK = re.compile(rb'\{"at":"[^"\\]*","type":"(?:thought|tool_call|tool_result|ledger)",')
_EVENT: TypeAdapter[TrialEvent] = TypeAdapter(TrialEvent)


class TrialWriter:
    """Appends the events of one trial to its file, each as one line; the seal is synced."""

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        """Begin the trial's file anew, or go on after its first `keep` events.

        What follows those events is cut off, in one step that happens or does not.

        Raises:
            RunError: When the trial is sealed, the file cannot be written, or it holds fewer
                events.
        """
        if is_sealed(path):
            raise RunError(f"{path} is sealed: a finished trial is never written again")
        self.path = path
        self._dirty = True
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line is with the operating system once it is written, and a failed
            # write leaves nothing that would be tried again.
            self._file = path.open("r+b" if keep else "wb", buffering=0)
            if keep:
                self._cut(keep)
            else:
                sync_folder(path.parent)

    def write(self, event: TrialEvent) -> None:
        """Append one event; a `sealed` one closes the file.

        Raises:
            RunError: When the file cannot be written, for instance because the disk is full.
            ValueError: When the trial is already sealed.
        """
        self._append(event.model_dump_json().encode() + b"\n")
        if isinstance(event, SealedEvent):
            self.sync()
            with _writing(self.path):
                self._file.close()

    def sync(self) -> None:
        """Return once all that was written would survive a power cut.

        Raises:
            RunError: When the disk fails.
        """
        if self._dirty:
            with _writing(self.path):
                os.fsync(self._file.fileno())
        self._dirty = False

    def close(self) -> None:
        """Close the file; without a seal the trial stays unfinished."""
        # A full disk was reported when the line was written; closing would report it again.
        with suppress(OSError):
            self._file.close()

    def _append(self, line: bytes) -> None:
        left = memoryview(line)
        with _writing(self.path):
            while left:
                self._dirty = True
                left = left[self._file.write(left) :]

    def _cut(self, keep: int) -> None:
        content = self._file.read()
        end = 0
        for _ in range(keep):
            end = content.find(b"\n", end) + 1
            if end == 0:
                break
        unended = bool(content) and not content.endswith(b"\n")
        # A last line that lacks only its end is whole.
        if end == 0 and unended and content.count(b"\n") == keep - 1:
            self._file.seek(0, os.SEEK_END)
            self._append(b"\n")
        elif end == 0:
            self.close()
            raise RunError(f"{self.path} holds fewer than {keep} events")
        else:
            self._file.truncate(end)
            self._file.seek(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trial_path(run_dir: Path, key: TrialKey) -> Path:
    """Where the events of one trial are."""
    return run_dir / TRIALS_FOLDER / f"{key.stem}.jsonl"


def parse_event(line: str | bytes) -> TrialEvent:
    """Read one line of a trial's file.

    Raises:
        ValidationError: When the line is not an event.
    """
    return _EVENT.validate_json(line)


def read_events(path: Path) -> list[TrialEvent]:
    """Read a trial's events; a last line that was cut short is left out.

    Raises:
        RunError: When the file cannot be read, or a line before the last is not an event.
    """
    return _parsed(path, _lines(path))


def _lines(path: Path) -> list[bytes]:
    with _reading(path):
        lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _parsed(
    path: Path, lines: Sequence[bytes], skip: re.Pattern[bytes] | None = None
) -> list[TrialEvent]:
    events: list[TrialEvent] = []
    for number, line in enumerate(lines, start=1):
        if skip is not None and skip.match(line):
            continue
        try:
            events.append(parse_event(line))
        except ValidationError as error:
            if number == len(lines) and not _is_json(line):
                break
            what = error.errors(include_url=False)[0]["msg"]
            raise RunError(f"{path}:{number}: not an event of a trial: {what}") from error
    return events


def is_sealed(path: Path) -> bool:
    """Whether the trial's last event is there, and is its seal."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            last = file.read(_TAIL_BYTES).rstrip(b"\n").rpartition(b"\n")[2]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    try:
        event = json.loads(last)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("type") == "sealed"


def ends_whole(path: Path) -> bool:
    """Whether the file's last line is a whole one; of an empty file it is.

    Raises:
        RunError: When the file cannot be read.
    """
    with _reading(path):
        content = path.read_bytes()
    last = content.rstrip(b"\n").rpartition(b"\n")[2]
    return not last or _is_json(last)


def summarise(events: Iterable[TrialEvent]) -> TrialSummary:
    """Fold a trial's events into one row; without a seal the status is `unfinished`.

    Raises:
        ValueError: When the first event is not `started`.
    """
    found = iter(events)
    start = next(found, None)
    if not isinstance(start, TrialStarted):
        raise ValueError("a trial begins with a `started` event")
    row: dict[str, Any] = {"status": "unfinished"}
    for event in found:
        match event:
            case SubmissionEvent():
                row |= {"submission": event.submission, "ended_by": event.ended_by}
            case VerdictEvent():
                row |= {"verdict": event.verdict, "truth": event.truth}
            case ErrorEvent():
                row["error"] = event.message
            case SealedEvent():
                row |= {"status": event.status, "usage": event.usage}
            case _:
                pass
    return TrialSummary(
        key=start.key,
        group=start.group,
        regime=start.regime,
        split=start.split,
        null_readout=start.null_readout,
        **row,
    )


def load_run(run_dir: Path) -> RunRecord:
    """Read `run.json`.

    Raises:
        RunError: When there is none, or it cannot be read.
    """
    path = run_dir / RUN_FILE
    with _reading(path):
        text = path.read_bytes()
    try:
        return RunRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: not a run's record: {place}: {first['msg']}") from error


def load_summaries(
    run_dir: Path, *, known: Mapping[str, TrialSummary | None] | None = None
) -> list[TrialSummary]:
    """Summarise every trial that began, ordered by target, tool set and number.

    Lines that a summary does not need are not looked at (see `glance`): `read_events` does.

    Args:
        run_dir: Folder of the run.
        known: Summaries by the stems of files, which then are not read.

    Raises:
        RunError: When the record of a finished trial is damaged, a file cannot be read, or belongs
            to another run or trial.
    """
    found = []
    for path in sorted((run_dir / TRIALS_FOLDER).glob("*.jsonl")):
        summary = (known or {}).get(path.stem) or read_summary(path)
        if summary is None:
            continue
        if (summary.key.run, summary.key.stem) != (run_dir.name, path.stem):
            raise RunError(f"{path} holds trial {summary.key}: files of runs must not be renamed")
        found.append(summary)
    return sorted(found, key=lambda s: (s.key.target, s.key.tool_set, s.key.trial))


def read_summary(path: Path) -> TrialSummary | None:
    """Read a trial as one row, without what happened in between; None when it has not begun.

    Raises:
        RunError: When the file cannot be read, or does not begin as a trial does.
    """
    from auditor.run.glance import sealed_summary  # it stands on this module

    summary = sealed_summary(path)
    if summary is not None:
        return summary
    try:
        return summarise(events) if (events := _outline(path)) else None
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error


def _outline(path: Path) -> list[TrialEvent]:
    """Read what a summary is made of, which is a small part of a record."""
    lines = _lines(path)
    try:
        events = _parsed(path, lines, skip=_BULK)
    except RunError as error:
        if is_sealed(path):
            run = path.parent.parent.name
            raise RunError(f"{error}; `auditor fsck {run}` says what to do") from error
        # What is not sealed is begun anew when the run goes on.
        events = []
        with suppress(ValidationError):
            events = [parse_event(lines[0])]
    if events and not isinstance(events[0], TrialStarted) and not is_sealed(path):
        return []
    return events


def write_run(run_dir: Path, record: RunRecord) -> None:
    """Write `run.json`, and a copy of the scenario file where there is one.

    Raises:
        RunError: When a file cannot be written.
    """
    write_atomically(run_dir / RUN_FILE, record.model_dump_json(indent=2).encode() + b"\n")
    source = record.resolved.source
    if source.is_file():
        with _reading(source):
            text = source.read_bytes()
        write_atomically(run_dir / "scenario.yaml", text)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        RunError: When it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to disk, where the system can."""
    # Windows opens no folders, and some network file systems sync none.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_run_dir(run_dir: Path) -> None:
    """Make the folder of a run and its parents.

    Raises:
        RunError: When it cannot be made.
    """
    with _writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
