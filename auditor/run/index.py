"""The SQLite index of all runs: a copy of what the trial files say, and rebuilt from them.

Nothing is read from the index that decides an audit. When it is missing, behind or damaged it is
built again; `auditor reindex` does so on request.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import Field

from auditor.errors import RunError
from auditor.records import Record, TrialKey, TrialSummary
from auditor.run.listing import run_dirs
from auditor.run.record import RunRecord
from auditor.run.store import load_run, load_summaries

if TYPE_CHECKING:
    from sqlite_utils import Database

INDEX_FILE = "auditor.db"
_BUSY_SECONDS = 60.0
_KEY = ("run", "target", "tool_set", "trial")
# A field added to these records comes here together with a migration.
_VERDICT = (
    *("valid", "invalid_reason", "top1", "any_of_k", "hit_rank"),
    *("quirks_named", "quirks_seen", "false_alarm", "why"),
    *("withheld_right", "exposed", "taken_up", "verified"),
)
_USAGE = (
    *("turns", "tool_calls", "target_tokens", "baseline_tokens", "reader_tokens"),
    *("auditor_tokens", "seconds", "dollars"),
)
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class RunInfo(Record):
    """One run as a list of runs shows it."""

    run: str
    scenario: str
    created: str
    """UTC time, ISO 8601."""
    seed: int
    planned: int
    """Trials planned."""
    scored: int = 0
    invalid: int = 0
    """Trials that the judge's validity gates kept out of the table."""
    errored: int = 0

    @property
    def unfinished(self) -> int:
        """Trials planned and not sealed."""
        return max(0, self.planned - self.scored - self.invalid - self.errored)


class IndexCounts(Record):
    """What an index holds after it was built."""

    runs: int
    trials: int
    skipped: tuple[str, ...] = Field(default=())
    """Folders that could not be read, each with the reason."""


def upsert_run(runs_dir: Path, record: RunRecord, summaries: Iterable[TrialSummary] = ()) -> None:
    """Write the rows of one run and of those of its trials that are sealed."""
    _update(runs_dir, lambda db: _put_run(db, record, summaries))


def upsert_trial(runs_dir: Path, summary: TrialSummary) -> None:
    """Write the row of one sealed trial; an unfinished one has none."""
    upsert_trials(runs_dir, [summary])


def upsert_trials(runs_dir: Path, summaries: Iterable[TrialSummary]) -> None:
    """Write the rows of sealed trials at once; unfinished ones have none."""
    rows = [_row(summary) for summary in summaries if summary.status != "unfinished"]
    if rows:
        _update(runs_dir, lambda db: db.table("trials").upsert_all(rows, pk=_KEY))


def reindex(runs_dir: Path) -> IndexCounts:
    """Build the index of `runs_dir` again from the files of its runs.

    Raises:
        RunError: When the index cannot be written.
    """
    try:
        with _database(runs_dir) as db:
            return _fill(db, runs_dir)
    except sqlite3.OperationalError as error:
        raise RunError(f"cannot write {runs_dir / INDEX_FILE}: {error}") from error
    except sqlite3.DatabaseError as error:
        _log.warning("%s is damaged (%s): building it again", runs_dir / INDEX_FILE, error)
    for suffix in ("", "-wal", "-shm"):
        _unlink(runs_dir / (INDEX_FILE + suffix))
    with _sqlite_errors(runs_dir), _database(runs_dir) as db:
        return _fill(db, runs_dir)


def list_runs(runs_dir: Path) -> list[RunInfo]:
    """List all runs, newest first.

    Raises:
        RunError: When the index can be neither read nor built.
    """
    on_disk = {path.name for path in run_dirs(runs_dir)}
    if not on_disk:
        return []
    rows = _update(runs_dir, _read_runs)
    if {row["run"] for row in rows} != on_disk:
        for line in reindex(runs_dir).skipped:
            _log.warning("left out of the list: %s", line)
        rows = _update(runs_dir, _read_runs)
    return [RunInfo(**row) for row in rows]


def indexed_trials(runs_dir: Path, run: str) -> set[TrialKey]:
    """Return the trials of a run that the index lists; it is not built where it is missing.

    Raises:
        RunError: When it is missing or cannot be read.
    """
    path = runs_dir / INDEX_FILE
    if not path.exists():
        raise RunError("it is missing")
    names = ", ".join(_KEY)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as connection:
            rows = connection.execute(f"select {names} from trials where run = ?", (run,))
            return {TrialKey(**dict(zip(_KEY, row, strict=True))) for row in rows}
    except sqlite3.Error as error:
        raise RunError(f"it cannot be read: {error}") from error


def _read_runs(db: "Database") -> list[dict[str, Any]]:
    counts = ", ".join(
        f"coalesce(sum(trials.status = '{status}'), 0) as {status}"
        for status in ("scored", "invalid", "errored")
    )
    return list(
        db.query(
            f"select runs.run, scenario, created, seed, planned, {counts} from runs "
            "left join trials on trials.run = runs.run "
            "group by runs.run order by created desc, runs.run"
        )
    )


def _put_run(db: "Database", record: RunRecord, summaries: Iterable[TrialSummary]) -> int:
    row = record.model_dump(include={"run", "scenario", "created", "seed", "planned"})
    sealed = [_row(summary) for summary in summaries if summary.status != "unfinished"]
    there = {
        _place(old): old for old in db.query("select * from trials where run = ?", [record.run])
    }
    with db.atomic():
        db.table("runs").upsert(row, pk="run")
        # A run that is started again brings its finished trials along, most of them known.
        db.table("trials").upsert_all([r for r in sealed if there.get(_place(r)) != r], pk=_KEY)
    return len(sealed)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _row(summary: TrialSummary) -> dict[str, Any]:
    submission = summary.submission
    return {
        **summary.key.model_dump(),
        "target_group": summary.group,
        "regime": summary.regime,
        "split": summary.split,
        "status": summary.status,
        "ended_by": summary.ended_by,
        "submitted": submission.verdict if submission else None,
        "submission": submission.model_dump_json() if submission else None,
        "confidence": submission.confidence if submission else None,
        "null_readout": summary.null_readout,
        "truth": summary.truth,
        "error": summary.error,
        **{name: getattr(summary.verdict, name, None) for name in _VERDICT},
        **{name: getattr(summary.usage, name, None) for name in _USAGE},
    }


def _fill(db: "Database", runs_dir: Path) -> IndexCounts:
    skipped, trials, runs = [], 0, 0
    db.conn.execute("delete from trials")
    db.conn.execute("delete from runs")
    for run_dir in run_dirs(runs_dir):
        try:
            record, summaries = load_run(run_dir), load_summaries(run_dir)
        except RunError as error:
            skipped.append(str(error))
            continue
        runs, trials = runs + 1, trials + _put_run(db, record, summaries)
    return IndexCounts(runs=runs, trials=trials, skipped=tuple(skipped))


def _update(runs_dir: Path, work: Callable[["Database"], _T]) -> _T:
    """Do `work` on the index, on a new one if there is none or the old one is damaged."""
    if (runs_dir / INDEX_FILE).exists():
        try:
            with _database(runs_dir) as db:
                return work(db)
        except sqlite3.OperationalError as error:
            raise RunError(f"cannot use {runs_dir / INDEX_FILE}: {error}") from error
        except sqlite3.DatabaseError:
            pass  # `reindex` meets the same damage and says so.
    elif len(run_dirs(runs_dir)) > 1:
        _log.warning("%s is missing: building it from the runs", runs_dir / INDEX_FILE)
    reindex(runs_dir)
    with _sqlite_errors(runs_dir), _database(runs_dir) as db:
        return work(db)


@contextmanager
def _database(runs_dir: Path) -> Iterator["Database"]:
    """Open the index, hold its write lock, and commit in the end.

    The lock is held from the start, so that no trial is sealed and indexed between what a rebuild
    reads from the files and what it writes.
    """
    connection = sqlite3.connect(runs_dir / INDEX_FILE, timeout=_BUSY_SECONDS)
    try:
        db = _prepared(connection)
        connection.execute("begin immediate")
        yield db
        connection.commit()
    finally:
        connection.close()


def _prepared(connection: sqlite3.Connection) -> "Database":
    from sqlite_utils import Database, Migrations

    migrations = Migrations("auditor")
    migrations()(_m001_runs_and_trials)
    migrations()(_m002_readers_and_confidence)
    db = Database(connection)
    _patiently(db.enable_wal)
    if migrations.pending(db):
        # Two processes may start on an empty index at once; the second then finds nothing to do.
        connection.execute("begin immediate")
        migrations.apply(db)
        connection.commit()
    return db


def _patiently(switch: Callable[[], object]) -> None:
    # SQLite's own time limit for locks does not cover a change of the journal mode.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            switch()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _m001_runs_and_trials(db: "Database") -> None:
    text, whole, real = str, int, float
    db.table("runs").create(
        {"run": text, "scenario": text, "created": text, "seed": whole, "planned": whole},
        pk="run",
        strict=True,
    )
    columns: dict[str, type] = dict.fromkeys(
        (*_KEY, "target_group", "regime", "split", "status", "ended_by", "submitted"), text
    )
    columns |= dict.fromkeys(("submission", "truth", "error"), text)
    columns |= {"valid": whole, "invalid_reason": text}
    columns |= dict.fromkeys(("top1", "any_of_k", "hit_rank", "quirks_named"), whole)
    columns |= {"quirks_seen": whole, "false_alarm": whole, "why": text, "trial": whole}
    columns |= dict.fromkeys(("turns", "tool_calls", "target_tokens", "baseline_tokens"), whole)
    columns |= {"auditor_tokens": whole, "seconds": real, "dollars": real}
    db.table("trials").create(columns, pk=_KEY, strict=True)


def _m002_readers_and_confidence(db: "Database") -> None:
    trials = db.table("trials")
    trials.add_column("null_readout", str)
    trials.add_column("confidence", float)
    for name in ("reader_tokens", "withheld_right", "exposed", "taken_up", "verified"):
        trials.add_column(name, int)
    # What older rows lack is in the files: an index that misses runs is built again when listed.
    db.conn.execute("delete from trials")
    db.conn.execute("delete from runs")


@contextmanager
def _sqlite_errors(runs_dir: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise RunError(f"cannot write {runs_dir / INDEX_FILE}: {error}") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot replace {path}: {error.strerror}") from error
