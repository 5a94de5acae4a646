"""A running trial is followed to its seal, whole lines only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.errors import RunError
from auditor.records import SealedEvent, ThoughtEvent, TrialUsage
from auditor.run.follow import follow
from auditor.run.lock import is_held, locked

AT = "2026-01-02T03:04:05.000+00:00"


def thought(text: str) -> bytes:
    return ThoughtEvent(at=AT, turn=0, text=text).model_dump_json().encode() + b"\n"


SEAL = SealedEvent(at=AT, status="scored", usage=TrialUsage()).model_dump_json().encode() + b"\n"


class Writer:
    """Writes one more piece whenever the reader waits, and is gone when there is no more."""

    def __init__(self, path: Path, pieces: list[bytes], *, last: bytes = b"") -> None:
        self.path, self.pieces, self.last = path, pieces, last
        path.write_bytes(b"")

    def alive(self) -> bool:
        if not self.pieces and self.last:
            # What a writer does just before it ends.
            with self.path.open("ab") as file:
                file.write(self.last)
            self.last = b""
        return bool(self.pieces)

    def wait(self) -> None:
        with self.path.open("ab") as file:
            file.write(self.pieces.pop(0))

    def followed(self) -> Iterator[str]:
        for event in follow(self.path, alive=self.alive, wait=self.wait):
            yield event.text if isinstance(event, ThoughtEvent) else event.type


def test_events_come_as_they_are_written_until_the_seal(tmp_path: Path) -> None:
    whole = thought("one") + thought("two — ü") + SEAL
    pieces = [whole[:30], whole[30:200], whole[200:], thought("after the seal")]
    writer = Writer(tmp_path / "t.jsonl", pieces)
    assert list(writer.followed()) == ["one", "two — ü", "sealed"]


def test_what_a_writer_leaves_behind_is_read_but_for_a_line_cut_short(tmp_path: Path) -> None:
    last = thought("last") + b'{"type": "thou'
    writer = Writer(tmp_path / "t.jsonl", [thought("first")], last=last)
    assert list(writer.followed()) == ["first", "last"]


def test_a_trial_that_is_begun_anew_is_told_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(thought("interrupted") + thought("never finished"))

    def replace() -> None:
        path.write_bytes(thought("anew") + SEAL)

    events = list(follow(path, alive=lambda: True, wait=replace))
    assert [getattr(event, "text", event.type) for event in events] == [
        "interrupted",
        "never finished",
        "anew",
        "sealed",
    ]


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(thought("fine") + b"{}\n")
    with pytest.raises(RunError, match=r"t\.jsonl:2: not an event"):
        list(follow(path, alive=lambda: False))


def test_a_lock_tells_whether_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with locked(path):
        assert is_held(path)
    assert not is_held(path)
