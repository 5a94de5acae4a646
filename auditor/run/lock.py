"""One writer per run folder."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import RunError, RunLockedError
from auditor.run.record import utc_now

LOCK_FILE = "lock"
"""Name of a run's lock file within its folder."""
# Windows locks bytes against reading too, so the locked byte lies behind the text.
_LOCKED_BYTE = 1 << 30


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which says which process holds it.

    The operating system drops the lock when its holder ends, however it ends. A file that a dead
    process left behind is therefore taken over, and the file is never deleted: deleting it would
    let two processes lock two files of one name.

    Raises:
        RunLockedError: When another process, or another caller in this one, holds it.
        RunError: When the file cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    try:
        try:
            _try_lock(handle)
        except OSError as error:
            raise RunLockedError(
                f"run {path.parent.name!r} is being written by {_holder(path)}: wait for it to "
                "end, or choose another name with --run"
            ) from error
        _sign(handle)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock file; False where there is none."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try_lock(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _sign(handle: int) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": utc_now()}
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(holder).encode())


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
