"""One writer per run folder."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from auditor.errors import RunError, RunLockedError
from auditor.records import Record
from auditor.run.record import utc_now

# Windows locks bytes against reading too, so the locked byte lies behind the text.
_LOCKED_BYTE = 1 << 30


@contextmanager
def locked(path: Path, *, take_over: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, which says which process holds it.

    The operating system drops the lock when its holder ends, however it ends. A file that a dead
    process left behind is therefore taken over, and the file is never deleted: deleting it would
    let two processes lock two files of one name.

    On a file system that machines share, one may not see the locks of another. There the file
    alone speaks: a holder on another machine that did not let go is taken for alive.

    Args:
        path: The lock file.
        take_over: Take the lock of a process on another machine that did not let go of it.

    Raises:
        RunLockedError: When another process, or another caller in this one, holds it.
        RunError: When the file cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    try:
        _take(path, handle, take_over=take_over)
        try:
            yield
        finally:
            with suppress(OSError):
                _blank(handle)
    finally:
        os.close(handle)


class Holder(Record):
    """What a lock file says."""

    pid: int
    host: str
    since: str
    """UTC time, ISO 8601."""
    boot: str | None = None
    """Which start of which machine; None where the system does not tell."""

    def __str__(self) -> str:
        """Render for a message."""
        return f"process {self.pid} on {self.host} since {self.since}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is on another machine, whose locks may not be seen here."""
        here = Holder.me()
        same = self.host == here.host or (self.boot is not None and self.boot == here.boot)
        return not same

    @classmethod
    def me(cls) -> Self:
        """Describe this process."""
        return cls(pid=os.getpid(), host=socket.gethostname(), since=utc_now(), boot=_boot())


def holder(path: Path) -> Holder | None:
    """Return the process that signed a lock file and did not let go of it; it may be dead."""
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock, as far as can be seen from this machine."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try_lock(handle)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    found = holder(path)
    return found is not None and found.is_elsewhere


def _take(path: Path, handle: int, *, take_over: bool) -> None:
    name = path.parent.name
    try:
        _try_lock(handle)
    except (BlockingIOError, PermissionError) as error:
        who = holder(path) or "another process"
        raise RunLockedError(
            f"run {name!r} is being written by {who}: wait for it to end, or choose another name "
            "with --run"
        ) from error
    except OSError as error:
        raise RunError(
            f"cannot lock {path}: {error.strerror}; put the runs on a file system that has locks, "
            "with --runs-dir"
        ) from error
    found = holder(path)
    if found is not None and found.is_elsewhere and not take_over:
        raise RunLockedError(
            f"run {name!r} was begun by {found}, which did not let go of it and may still be "
            "writing: make sure that it has ended, then add --take-over"
        )
    try:
        _sign(handle)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def _sign(handle: int) -> None:
    _blank(handle)
    os.write(handle, Holder.me().model_dump_json().encode())


def _blank(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)


def _boot() -> str | None:
    # Containers have host names of their own and share the machine's locks.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
