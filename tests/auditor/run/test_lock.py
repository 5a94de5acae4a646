import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.errors import RunError, RunLockedError
from auditor.run.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from auditor.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run-1" / "lock"
    path.parent.mkdir()
    refused = pytest.raises(RunLockedError, match=f"'run-1'.*process {os.getpid()} on")
    with locked(path), refused, locked(path):
        pass


def test_a_lock_that_was_let_go_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock"):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_lock_is_let_go_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=f"process {holder.pid}"), locked(path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"), locked(tmp_path / "none" / "lock"):
        pass
