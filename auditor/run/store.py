"""The files of a run: append-only JSON lines per trial, and one `run.json`.

    RUNS_DIR/RUN/run.json               what was asked; holds the truth
    RUNS_DIR/RUN/scenario.yaml          copy of the scenario file
    RUNS_DIR/RUN/trials/STEM.jsonl      one event a line; sealed when the last is `sealed`
    RUNS_DIR/RUN/lock                   which process writes here

A sealed trial is never written again. An unsealed one is what a killed process left; when the run
is continued its file is replaced, which loses nothing, because a trial is a function of its seed.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
_TAIL_BYTES = 1 << 16
_BULKY = re.compile(rb'\{"at":"[^"]*","type":"(?:thought|tool_call|tool_result|ledger)",')
_EVENT: TypeAdapter[TrialEvent] = TypeAdapter(TrialEvent)


class TrialWriter:
    """Appends the events of one trial to its file; each line is flushed, the seal is synced."""

    def __init__(self, path: Path) -> None:
        """Begin the trial's file anew.

        Raises:
            RunError: When the trial is sealed, or the file cannot be written.
        """
        if is_sealed(path):
            raise RunError(f"{path} is sealed: a finished trial is never written again")
        self.path = path
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, event: TrialEvent) -> None:
        """Append one event; a `sealed` one closes the file.

        Raises:
            RunError: When the file cannot be written, for instance because the disk is full.
            ValueError: When the trial is already sealed.
        """
        with _writing(self.path):
            self._file.write(event.model_dump_json() + "\n")
            self._file.flush()
            if isinstance(event, SealedEvent):
                os.fsync(self._file.fileno())
                self._file.close()

    def close(self) -> None:
        """Close the file; without a seal the trial stays unfinished."""
        # A full disk was reported when the line was written; closing would report it again.
        try:
            self._file.close()
        except OSError:
            return

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
    return _events(path, bulky=True)


def read_summary(path: Path) -> TrialSummary | None:
    """Read a trial as one row, without what happened in between; None when it has not begun.

    Raises:
        RunError: When the file cannot be read, or does not begin as a trial does.
    """
    events = _events(path, bulky=False)
    try:
        return summarise(events) if events else None
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error


def _events(path: Path, *, bulky: bool) -> list[TrialEvent]:
    with _reading(path):
        lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1]:
        lines.pop()
    events: list[TrialEvent] = []
    for number, line in enumerate(lines, start=1):
        # Nearly all bytes of a record are in events that no summary is made of.
        if not bulky and _BULKY.match(line) and line.endswith(b"}"):
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


def load_summaries(run_dir: Path) -> list[TrialSummary]:
    """Summarise every trial that began, ordered by target, tool set and number.

    Raises:
        RunError: When a file cannot be read, or belongs to another run or trial.
    """
    found = []
    for path in sorted((run_dir / TRIALS_FOLDER).glob("*.jsonl")):
        summary = read_summary(path)
        if summary is None:
            continue
        if (summary.key.run, summary.key.stem) != (run_dir.name, path.stem):
            raise RunError(f"{path} holds trial {summary.key}: files of runs must not be renamed")
        found.append(summary)
    return sorted(found, key=lambda s: (s.key.target, s.key.tool_set, s.key.trial))


def trial_files(run_dir: Path) -> list[Path]:
    """Return the records of a run's trials, by target, tool set and number."""
    return sorted((run_dir / TRIALS_FOLDER).glob("*.jsonl"), key=lambda path: order(path.stem))


def order(stem: str) -> tuple[str, int]:
    """Return a sort key that puts trial 10 of a target after trial 9."""
    name, _, number = stem.rpartition("__")
    return (name, int(number)) if number.isdecimal() else (stem, 0)


def run_dirs(runs_dir: Path) -> list[Path]:
    """Folders of all runs, by name."""
    return sorted(path.parent for path in runs_dir.glob(f"*/{RUN_FILE}"))


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
        finally:
            temporary.unlink(missing_ok=True)


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
