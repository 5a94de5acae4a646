"""What of a run's folder is whole, what is not, and what to do about it. Nothing is changed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from auditor.errors import AuditorError, RunError
from auditor.records import Record, TrialEvent, TrialKey, TrialStarted
from auditor.run import checkpoints, index
from auditor.run.lock import holder, is_held
from auditor.run.record import RunRecord
from auditor.run.resume import all_trials
from auditor.run.sequence import fault_of
from auditor.run.store import (
    CHECKPOINTS_FOLDER,
    LOCK_FILE,
    RUN_FILE,
    TRIALS_FOLDER,
    ends_whole,
    is_sealed,
    load_run,
    read_events,
)

State = Literal[
    "whole", "unfinished", "torn", "damaged", "missing", "foreign", "leftover", "behind"
]
"""unfinished: stopped between two lines; torn: in the middle of one. leftover: harmless, and
deleted when the run goes on. behind: the index lacks what the files say."""


class Finding(Record):
    """One file of a run, or one that should be there."""

    path: str
    """Relative to the run's folder."""
    state: State
    what: str = ""
    """What is the matter."""
    todo: str = ""
    """What to do."""


class Report(Record):
    """What was found."""

    run: str
    whole: bool
    """Whether there is nothing to do."""
    writer: str | None
    """Who is writing the run just now, which alone explains what is unfinished."""
    trials: dict[State, int]
    """Trials by state."""
    findings: tuple[Finding, ...]
    """All that is not whole."""


def fsck(run_dir: Path) -> Report:
    """Examine a run's folder.

    Raises:
        RunError: When it cannot be read at all.
    """
    run_dir = run_dir.absolute()
    record, findings = _record(run_dir)
    trials = list(_trials(run_dir, record))
    findings += [one for one in trials if one.state != "whole"]
    keys = _keys(record, run_dir)
    findings += _checkpoints(run_dir, keys)
    findings += _leftovers(run_dir)
    if record is not None:
        findings += _index(run_dir, keys)
    lock = run_dir / LOCK_FILE
    return Report(
        run=run_dir.name,
        whole=not findings,
        writer=str(holder(lock) or "another process") if is_held(lock) else None,
        trials=dict(Counter(one.state for one in trials)),
        findings=tuple(findings),
    )


def _record(run_dir: Path) -> tuple[RunRecord | None, list[Finding]]:
    try:
        record = load_run(run_dir)
        all_trials(record)
    except AuditorError as error:
        there = (run_dir / RUN_FILE).exists()
        return None, [
            Finding(
                path=RUN_FILE,
                state="damaged" if there else "missing",
                what=str(error),
                todo="bring it back from a copy; or move the folder away, give the command that "
                "started the run again, stop it, and move the trials back",
            )
        ]
    if record.run == run_dir.name:
        return record, []
    what = f"it is of run {record.run!r}, and the folder is called {run_dir.name!r}"
    return record, [
        Finding(path=RUN_FILE, state="foreign", what=what, todo="give the folder its name back")
    ]


def _keys(record: RunRecord | None, run_dir: Path) -> dict[str, TrialKey]:
    """All trials by file stem: those asked for, and those that are there."""
    keys = {} if record is None else {t.key.stem: t.key for t in all_trials(record)}
    for path in (run_dir / TRIALS_FOLDER).glob("*.jsonl"):
        key = _key_of(path)
        if path.stem not in keys and key is not None:
            keys[path.stem] = key
    return keys


def _key_of(path: Path) -> TrialKey | None:
    try:
        with path.open("rb") as file:
            return TrialStarted.model_validate_json(file.readline()).key
    except (OSError, ValueError):
        return None


def _trials(run_dir: Path, record: RunRecord | None) -> Iterator[Finding]:
    folder = run_dir / TRIALS_FOLDER
    asked = None if record is None else {trial.key.stem for trial in all_trials(record)}
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in there:
        name = f"{TRIALS_FOLDER}/{path.name}"
        if path.suffix != ".jsonl" or (asked is not None and path.stem not in asked):
            what = "the run has no such trial"
            yield Finding(path=name, state="foreign", what=what, todo="move it away")
        else:
            yield _trial(path, name, run_dir)
    stems = {path.stem for path in there}
    for stem in sorted((asked or set()) - stems):
        yield Finding(
            path=f"{TRIALS_FOLDER}/{stem}.jsonl",
            state="missing",
            what="the trial has not begun",
            todo=_resume(run_dir),
        )


def _trial(path: Path, name: str, run_dir: Path) -> Finding:
    try:
        sealed, events = is_sealed(path), read_events(path)
        fault = _fault(events, path, run_dir.name) if events else None
    except RunError as error:
        sealed, events, fault = is_sealed(path), [], "line " + str(error).removeprefix(f"{path}:")
    if fault is not None and sealed:
        todo = f"move it away, then {_resume(run_dir)} runs the trial again"
        return Finding(path=name, state="damaged", what=fault, todo=todo)
    if fault is not None:
        todo = f"{_resume(run_dir)} begins the trial anew"
        return Finding(path=name, state="damaged", what=fault, todo=todo)
    if sealed:
        return Finding(path=name, state="whole")
    saved = _is_saved(run_dir, events)
    todo = f"{_resume(run_dir)} {'goes on with it' if saved else 'begins it anew'}"
    if not ends_whole(path):
        return Finding(path=name, state="torn", what="its last line was cut short", todo=todo)
    what = f"it stops after {len(events)} events"
    return Finding(path=name, state="unfinished", what=what, todo=todo)


def _fault(events: Sequence[TrialEvent], path: Path, run: str) -> str | None:
    start = events[0]
    if isinstance(start, TrialStarted) and (start.key.run, start.key.stem) != (run, path.stem):
        return f"it holds trial {start.key}"
    return fault_of(events)


def _is_saved(run_dir: Path, events: Sequence[TrialEvent]) -> bool:
    start = events[0] if events else None
    if not isinstance(start, TrialStarted):
        return False
    path = checkpoints.checkpoint_path(run_dir / CHECKPOINTS_FOLDER, start.key)
    return path.is_file() and checkpoints.problem(path) is None


def _checkpoints(run_dir: Path, keys: dict[str, TrialKey]) -> Iterator[Finding]:
    folder = run_dir / CHECKPOINTS_FOLDER
    owners = {checkpoints.checkpoint_path(folder, key): key for key in keys.values()}
    for path in sorted(folder.glob("*.db")):
        name = f"{CHECKPOINTS_FOLDER}/{path.name}"
        key = owners.get(path)
        if key is None:
            what = "the run has no trial that it is of"
            yield Finding(path=name, state="foreign", what=what, todo="move it away")
        elif is_sealed(run_dir / TRIALS_FOLDER / f"{key.stem}.jsonl"):
            what = f"trial {key.stem} is finished"
            yield Finding(path=name, state="leftover", what=what, todo="delete it")
        elif (fault := checkpoints.problem(path)) is not None:
            what = f"trial {key.stem}: {fault}"
            todo = f"{_resume(run_dir)} begins the trial anew"
            yield Finding(path=name, state="damaged", what=what, todo=todo)


def _leftovers(run_dir: Path) -> Iterator[Finding]:
    for path in sorted(run_dir.glob(".*.[0-9]*")):
        what = "a process was stopped while it wrote the file"
        yield Finding(path=path.name, state="leftover", what=what, todo="delete it")


def _index(run_dir: Path, keys: dict[str, TrialKey]) -> Iterator[Finding]:
    sealed = {k for k in keys.values() if is_sealed(run_dir / TRIALS_FOLDER / f"{k.stem}.jsonl")}
    try:
        listed = index.indexed_trials(run_dir.parent, run_dir.name)
    except RunError as error:
        what = str(error)
    else:
        if listed == sealed:
            return
        what = f"it lists {len(listed & sealed)} of the run's {len(sealed)} finished trials"
        if listed - sealed:
            what += f" and {len(listed - sealed)} that are not there"
    yield Finding(path=f"../{index.INDEX_FILE}", state="behind", what=what, todo="auditor reindex")


def _resume(run_dir: Path) -> str:
    return f"`auditor resume {run_dir.name}`"
