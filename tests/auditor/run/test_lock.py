import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.errors import RunError, RunLockedError
from auditor.run.lock import Holder, is_held, locked

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


def signed(path: Path, **changes: object) -> None:
    """Leave a lock file as a process that was killed elsewhere does."""
    found = {"pid": 4711, "host": "elsewhere", "since": "2026-01-01", "boot": "another"}
    path.write_text(json.dumps(found | changes))


def test_the_lock_of_another_machine_is_taken_over_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "run-1" / "lock"
    path.parent.mkdir()
    signed(path)
    with (
        pytest.raises(RunLockedError, match=r"process 4711 on elsewhere.*--take-over"),
        locked(path),
    ):
        pass
    assert is_held(path)
    with locked(path, take_over=True):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    with locked(path):
        pass
    assert not is_held(path)


def test_a_dead_process_in_another_container_of_this_machine_is_no_holder(tmp_path: Path) -> None:
    here = Holder.me()
    assert here.boot
    signed(tmp_path / "lock", boot=here.boot)
    with locked(tmp_path / "lock"):
        pass


def test_a_dead_process_from_before_a_reboot_is_no_holder(tmp_path: Path) -> None:
    signed(tmp_path / "lock", host=Holder.me().host)
    with locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "\0\0"])
def test_a_lock_file_that_says_nothing_is_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_what_the_holder_raises_is_not_taken_for_the_locks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), locked(tmp_path / "lock"):
        raise FileNotFoundError("mine")


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"), locked(tmp_path / "none" / "lock"):
        pass
