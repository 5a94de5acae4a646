"""The checkpoint file of a trial, through the saver that the loop uses."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import RunError
from auditor.records import TrialKey
from auditor.run.checkpoints import KEPT, Checkpoint, CheckpointError, problem, remove, thread_id

KEY = TrialKey(run="r", target="t", tool_set="a+b", trial=0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    found = Checkpoint(tmp_path / "checkpoints", KEY)
    yield found
    found.close()


def save(checkpoint: Checkpoint, events: int, *, number: int | None = None, **usage: Any) -> None:
    """Save one state as the loop does; ids grow with `number`."""
    from langgraph.checkpoint.base import empty_checkpoint

    state = empty_checkpoint()
    state["id"] = f"{events if number is None else number:08d}"
    state["channel_values"] = {"events": events, **({"usage": usage} if usage else {})}
    config: Any = {"configurable": {"thread_id": thread_id(KEY), "checkpoint_ns": ""}}
    checkpoint.saver.put(config, state, {"source": "loop", "step": events}, {})


def newest(checkpoint: Checkpoint) -> int:
    found = checkpoint.saver.get_tuple({"configurable": {"thread_id": thread_id(KEY)}})
    assert found is not None
    events: int = found.checkpoint["channel_values"]["events"]
    return events


def test_the_newest_state_that_the_record_covers_is_gone_on_with(checkpoint: Checkpoint) -> None:
    for events in (0, 3, 5, 8):
        save(checkpoint, events)
    assert checkpoint.rewind(9) == 8
    assert checkpoint.rewind(7) == 5
    assert newest(checkpoint) == 5
    assert checkpoint.rewind(4) == 3
    checkpoint.close()
    assert Checkpoint(checkpoint.path.parent, KEY).rewind(9) == 3


def test_without_a_file_or_a_state_there_is_nothing_to_go_on_with(checkpoint: Checkpoint) -> None:
    assert checkpoint.rewind(9) is None
    assert not checkpoint.path.exists()
    save(checkpoint, 5)
    assert checkpoint.rewind(4) is None
    assert checkpoint.rewind(9) is None


def test_the_file_holds_the_last_states_alone(checkpoint: Checkpoint) -> None:
    for events in range(40):
        save(checkpoint, events)
    (count,) = checkpoint.saver.conn.execute("select count(*) from checkpoints").fetchone()
    assert count == KEPT
    assert newest(checkpoint) == 39


def test_a_clock_that_was_set_back_hides_no_state(checkpoint: Checkpoint) -> None:
    save(checkpoint, 1, number=100)
    save(checkpoint, 2, number=101)
    save(checkpoint, 3, number=50)
    assert newest(checkpoint) == 3
    assert checkpoint.rewind(9) == 3


def test_the_record_is_brought_to_disk_before_a_state_is_saved(tmp_path: Path) -> None:
    seen: list[int] = []

    def sync(paid: bool) -> None:
        with sqlite3.connect(checkpoint.path) as connection:
            seen.extend(connection.execute("select count(*) from checkpoints").fetchone())

    checkpoint = Checkpoint(tmp_path, KEY, before_saving=sync)
    save(checkpoint, 1)
    save(checkpoint, 2)
    checkpoint.close()
    assert seen == [0, 1]


def test_a_power_cut_spares_every_step_that_was_paid_for(tmp_path: Path) -> None:
    told: list[bool] = []
    checkpoint = Checkpoint(tmp_path, KEY, before_saving=told.append)
    synced = []
    # Seconds are no cost, and unknown dollars that become known are.
    for events, usage in enumerate(
        (
            {"seconds": 1.0, "target_tokens": 0, "dollars": None},
            {"seconds": 2.0, "target_tokens": 0, "dollars": None},
            {"seconds": 3.0, "target_tokens": 9, "dollars": None},
            {"seconds": 4.0, "target_tokens": 9, "dollars": None},
            {"seconds": 5.0, "target_tokens": 9, "dollars": 0.0},
        )
    ):
        save(checkpoint, events, **usage)
        synced.extend(checkpoint.saver.conn.execute("pragma synchronous").fetchone())
    checkpoint.close()
    assert told == [True, False, True, False, True]
    full, normal = 2, 1
    assert synced == [full, normal, full, normal, full]


def test_a_state_that_a_power_cut_spares_is_always_among_those_kept(tmp_path: Path) -> None:
    told: list[bool] = []
    checkpoint = Checkpoint(tmp_path, KEY, before_saving=told.append)
    for events in range(3 * KEPT):
        save(checkpoint, events, target_tokens=5)
    checkpoint.close()
    assert all(any(told[n : n + KEPT - 1]) for n in range(len(told) - KEPT + 1))
    assert not all(told)


def test_a_damaged_file_says_so(checkpoint: Checkpoint) -> None:
    checkpoint.path.parent.mkdir()
    checkpoint.path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.rewind(9)
    assert "damaged" in (problem(checkpoint.path) or "")
    checkpoint.reset()
    save(checkpoint, 1)
    assert checkpoint.rewind(9) == 1


def test_a_damaged_page_says_so(checkpoint: Checkpoint) -> None:
    for events in range(4):
        save(checkpoint, events)
    checkpoint.close()
    content = bytearray(checkpoint.path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    checkpoint.path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.rewind(9)


def test_a_file_of_another_version_is_not_gone_on_with(checkpoint: Checkpoint) -> None:
    save(checkpoint, 1)
    checkpoint.close()
    with sqlite3.connect(checkpoint.path) as connection:
        connection.execute("pragma user_version = 99")
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoint.rewind(9)
    assert "format 99" in (problem(checkpoint.path) or "")


def test_a_sound_file_has_no_problem_and_is_left_as_it_is(checkpoint: Checkpoint) -> None:
    save(checkpoint, 1)
    checkpoint.close()
    before = checkpoint.path.read_bytes()
    assert problem(checkpoint.path) is None
    assert checkpoint.path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpoint = Checkpoint(tmp_path / "file", KEY)
    with pytest.raises(RunError, match="cannot write"):
        save(checkpoint, 1)
    assert checkpoint.failed


def test_removing_takes_all_files_of_a_checkpoint(checkpoint: Checkpoint) -> None:
    save(checkpoint, 1)
    assert len(list(checkpoint.path.parent.iterdir())) > 1
    checkpoint.close()
    remove(checkpoint.path)
    remove(checkpoint.path)
    assert list(checkpoint.path.parent.iterdir()) == []


def test_a_file_removed_while_it_is_open_leaves_nothing_when_it_is_closed(
    checkpoint: Checkpoint,
) -> None:
    save(checkpoint, 1)
    remove(checkpoint.path)
    checkpoint.close()
    assert list(checkpoint.path.parent.iterdir()) == []


def test_the_file_itself_is_removed_last_for_an_interrupted_removal_is_then_found(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(checkpoint, 1)
    left: list[set[str]] = []
    unlink = Path.unlink

    def spied(path: Path, missing_ok: bool = False) -> None:
        left.append({found.name for found in path.parent.iterdir()})
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", spied)
    remove(checkpoint.path)
    assert len(left[0]) == 3
    assert all(checkpoint.path.name in names for names in left)
