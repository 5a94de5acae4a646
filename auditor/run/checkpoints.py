"""The saved state of a trial that is under way: one SQLite file, gone once the trial is sealed.

Order is what makes an interrupted trial go on as if nothing had happened. The events of a step are
in the record, and the record is on disk, before the step's state is saved; the state says how many
events it stands on. Whatever the record holds beyond them belongs to a step that was interrupted:
it is dropped, and the step runs again.

A power cut may take the last steps, as long as nothing was paid for in them.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from auditor.errors import RunError
from auditor.records import TrialKey
from auditor.run.store import sync_folder, write_atomically

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

STATE_VERSION = 3
"""Goes up when a saved state means something else than before; older ones are not gone on with."""
KEPT = 4
"""States that stay in the file, newest last: a record that lost its end can go on from an older
one. All of them would grow with the square of an audit's length."""
_FREE = KEPT - 2
"""Steps in a row that a power cut may take from the record alone: an older state is left then."""
_SPENT = ("auditor_tokens", "target_tokens", "baseline_tokens", "reader_tokens", "dollars")
"""What of a `TrialUsage` changes when a model has worked: replies cost money, or time at least."""
_FILES = ("-wal", "-shm", "-journal", "")
"""What stands behind its name, in the order in which they are deleted: without the last one nobody
looks for the others."""


class CheckpointError(Exception):
    """A checkpoint cannot be gone on with; the message says why, as part of a sentence."""


class Checkpoint:
    """The checkpoint file of one trial."""

    def __init__(
        self,
        folder: Path,
        key: TrialKey,
        *,
        before_saving: Callable[[bool], None] = lambda paid: None,
    ) -> None:
        """Name the file; nothing is opened yet.

        Args:
            folder: Folder of the file.
            key: The trial.
            before_saving: Called before each state is saved, to bring the record to disk; told
                whether something was paid for in it.
        """
        self.path, self.thread_id = checkpoint_path(folder, key), thread_id(key)
        self.before_saving = before_saving
        self.failed = False
        """Whether the file could not be written."""
        self._saver: SqliteSaver | None = None
        self._lasting: bool | None = None
        """Whether a power cut spares what is committed; None: the file itself is not on disk."""
        self._spent: object = None
        self._free = 0
        """Steps since the last one that a power cut spares."""

    @property
    def saver(self) -> "SqliteSaver":
        """What the loop saves to; the file is made when there is none.

        Raises:
            CheckpointError: When the file is damaged or of another version.
            RunError: When it cannot be written.
        """
        if self._saver is None:
            self._saver = self._opened()
        return self._saver

    def rewind(self, events: int) -> int | None:
        """Forget the states that stand on more than `events` events.

        Returns:
            How many events the newest state left stands on; None when there is none.

        Raises:
            CheckpointError: When the file is damaged or of another version.
        """
        if not self.path.exists():
            return None
        try:
            # In the order of saving: the ids follow the clock, which may have been set back.
            for row, checkpoint_id in self.saver.conn.execute(
                "select rowid, checkpoint_id from checkpoints order by rowid desc"
            ).fetchall():
                found = self._events(checkpoint_id)
                if found is not None and found <= events:
                    return found
                self.saver.conn.execute("delete from checkpoints where rowid = ?", (row,))
        except sqlite3.OperationalError as error:
            raise RunError(f"cannot use {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise CheckpointError(f"its checkpoint is damaged ({error})") from error
        return None

    def reset(self) -> None:
        """Begin with an empty file."""
        self.close()
        remove(self.path)

    def close(self) -> None:
        """Close the file; it stays, unless it was removed while it was open."""
        if self._saver is not None:
            if not self.path.exists():
                # Closing would bring all of it to disk.
                self._saver.conn.execute("pragma synchronous = off")
            self._saver.conn.close()
            self._saver, self._lasting = None, None

    def _events(self, checkpoint_id: str) -> int | None:
        """Events that one state stands on; None for the state before the first step."""
        where = {"thread_id": self.thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
        try:
            found = self.saver.get_tuple({"configurable": where})
            values = {} if found is None else found.checkpoint["channel_values"]
        except sqlite3.Error:
            raise
        except Exception as error:
            raise CheckpointError(f"its checkpoint is damaged ({error})") from error
        events = values.get("events")
        return events if isinstance(events, int) else None

    def _opened(self) -> "SqliteSaver":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self.path.exists()
            # Without an isolation level every statement is a commit of its own.
            connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from error
        try:
            # Nothing is in a new file that a power cut could take; see `_set_lasting`.
            connection.execute(f"pragma synchronous = {'off' if is_new else 'normal'}")
            _check_version(connection)
            saver: SqliteSaver = _step_saver()(connection, self)
            saver.setup()
            connection.execute(_PRUNE)
        except sqlite3.OperationalError as error:
            connection.close()
            raise self._unwritable(error) from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise CheckpointError(f"its checkpoint is damaged ({error})") from error
        except BaseException:
            connection.close()
            raise
        return saver

    def _is_paid(self, usage: Mapping[str, Any] | None) -> bool:
        """Whether a power cut may not take the step that a state comes after."""
        spent = None if usage is None else tuple(usage.get(name) for name in _SPENT)
        paid = spent is None or spent != self._spent or self._free == _FREE
        self._spent, self._free = spent, 0 if paid else self._free + 1
        return paid

    def _set_lasting(self, connection: sqlite3.Connection, lasting: bool) -> None:
        """Let a power cut spare what is committed from now on, or not."""
        if self._lasting is None:
            try:
                with self.path.open("rb") as file:
                    os.fsync(file.fileno())
            except OSError as error:
                raise self._unwritable(error) from error
            sync_folder(self.path.parent)
        if lasting != self._lasting:
            # "normal" keeps the file whole, and loses the last commits.
            connection.execute(f"pragma synchronous = {'full' if lasting else 'normal'}")
        self._lasting = lasting

    def _unwritable(self, error: Exception) -> RunError:
        self.failed = True
        return RunError(f"cannot write {self.path}: {error}")


def thread_id(key: TrialKey) -> str:
    """Name of a trial inside its checkpoint, which may not tell the target's."""
    return hashlib.sha256(str(key).encode()).hexdigest()[:32]


def checkpoint_path(folder: Path, key: TrialKey) -> Path:
    """Where the checkpoint of a trial is."""
    return folder / f"{thread_id(key)}.db"


def copy(path: Path) -> bytes | None:
    """Return the content of a checkpoint file, also while it is written to; None without one."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.serialize()


def put(folder: Path, key: TrialKey, content: bytes) -> None:
    """Put a checkpoint file in a folder that was written elsewhere.

    Raises:
        RunError: When it cannot be written.
    """
    path = checkpoint_path(folder, key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    for suffix in _FILES[:-1]:
        # They belong to the file that is replaced.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    write_atomically(path, content)


def remove(path: Path) -> None:
    """Delete a checkpoint with all its files."""
    for suffix in _FILES:
        # What cannot be deleted is told apart from a live one by its trial, which is sealed.
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def problem(path: Path) -> str | None:
    """Say what keeps a checkpoint file from being used; None when nothing does.

    Its content stays as it is.
    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)
        try:
            _check_version(connection)
            (verdict,) = connection.execute("pragma quick_check(1)").fetchone()
        finally:
            connection.close()
    except CheckpointError as error:
        return str(error)
    except sqlite3.Error as error:
        return f"its checkpoint is damaged ({error})"
    return None if verdict == "ok" else f"its checkpoint is damaged ({verdict})"


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if tables == 0:
        with suppress(sqlite3.OperationalError):  # opened to be read only
            connection.execute(f"pragma user_version = {STATE_VERSION}")
    elif version != STATE_VERSION:
        raise CheckpointError(
            f"its checkpoint has format {version}, and this version of auditor writes "
            f"{STATE_VERSION}"
        )


@cache
def _step_saver() -> Any:
    """Return the class of a saver that is made with a connection and its `Checkpoint`."""
    from auditor.investigator.loop import settle_environment

    settle_environment()
    from langgraph.checkpoint.sqlite import SqliteSaver

    class StepSaver(SqliteSaver):
        """Saves the state after each step in one statement."""

        def __init__(self, connection: sqlite3.Connection, owner: Checkpoint) -> None:
            super().__init__(connection)
            self._owner = owner

        def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            paid = self._owner._is_paid(checkpoint["channel_values"].get("usage"))
            self._owner.before_saving(paid)
            try:
                self._owner._set_lasting(self.conn, paid)
                return super().put(config, checkpoint, metadata, new_versions)
            except sqlite3.Error as error:
                raise self._owner._unwritable(error) from error

    return StepSaver


_PRUNE = f"""
create temp trigger prune after insert on main.checkpoints begin
    delete from checkpoints where rowid <> new.rowid and (
        checkpoint_id >= new.checkpoint_id
        or rowid not in (select rowid from checkpoints order by rowid desc limit {KEPT})
    );
end
"""
"""Part of the statement that saves a state: every further one would give the interpreter away once
more, and with many trials it takes long to come back. It is the connection's; the file has none.
An id is newer when it is greater. One that is greater than the next, because the clock was set
back, would hide it."""
