"""Summaries from both ends of a file, beside those from all of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import RunError
from auditor.records import ThoughtEvent, ToolResultEvent, TrialEvent, TrialKey
from auditor.run import glance
from auditor.run.glance import sealed_summary, sealed_trials
from auditor.run.store import load_summaries, read_events, summarise, trial_path

AT = "2026-01-01T00:00:00+00:00"
Events = Callable[..., list[TrialEvent]]


def key(trial: int = 0, run: str = "r") -> TrialKey:
    return TrialKey(run=run, target="t", tool_set="s", trial=trial)


def write(run_dir: Path, events: list[TrialEvent]) -> Path:
    path = trial_path(run_dir, events[0].key)  # type: ignore[union-attr]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(event.model_dump_json() + "\n" for event in events))
    return path


def longer(events: list[TrialEvent], items: list[dict[str, Any]]) -> list[TrialEvent]:
    result = ToolResultEvent(
        at=AT, turn=0, evidence_id="E1", tool="chat", ok=True, summary="", items=items,
        target_tokens=1, baseline_tokens=0, seconds=0.0,
    )  # fmt: skip
    return [*events[:2], result, *events[2:]]


@pytest.mark.parametrize("status", ["scored", "invalid", "errored"])
@pytest.mark.parametrize("n_items", [0, 3, 2_000])
def test_a_finished_trial_is_told_from_both_ends(
    tmp_path: Path, make_events: Events, status: str, n_items: int
) -> None:
    events = longer(make_events(key(), status), [{"reply": "x" * 100}] * n_items)
    path = write(tmp_path / "r", events)
    assert sealed_summary(path) == summarise(events) == summarise(read_events(path))


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_trial_whose_end_is_cut_is_not_finished(
    tmp_path: Path, make_events: Events, cut: int
) -> None:
    path = write(tmp_path / "r", make_events(key()))
    path.write_bytes(path.read_bytes()[:-cut])
    assert sealed_summary(path) is None
    # Without its line feed alone, the seal is whole.
    assert (key().stem in sealed_trials(tmp_path / "r")) == (cut == 1)


def test_what_a_target_said_is_never_taken_for_an_event(
    tmp_path: Path, make_events: Events
) -> None:
    fake = json.dumps({"at": AT, "type": "sealed", "status": "scored"})
    items = [{"at": AT, "type": "sealed"}, {"reply": f"\n{fake}\n"}, {"type": "verdict"}]
    events = longer(make_events(key(), "errored"), items)
    path = write(tmp_path / "r", events)
    assert sealed_summary(path) == summarise(events)
    unfinished = [*events[:-2], ThoughtEvent(at=AT, turn=1, text=fake)]
    assert sealed_summary(write(tmp_path / "r", unfinished)) is None


def test_an_ending_longer_than_what_is_read_first_is_read_in_full(
    tmp_path: Path, make_events: Events
) -> None:
    events = make_events(key(), "errored")
    events[-2] = events[-2].model_copy(update={"traceback": "deep\n" * 9_000})
    assert sealed_summary(write(tmp_path / "r", events)) == summarise(events)
    assert sealed_trials(tmp_path / "r") == {key().stem: summarise(events)}


def test_sealed_trials_of_a_run_are_found_and_others_left_out(
    tmp_path: Path, make_events: Events
) -> None:
    run_dir = tmp_path / "r"
    for trial, status in enumerate(["scored", "unfinished", "errored"]):
        write(run_dir, make_events(key(trial), status))
    write(run_dir, make_events(key(3, run="other")))
    found = sealed_trials(run_dir)
    assert set(found) == {key(n).stem for n in (0, 2, 3)}
    assert found[key(3).stem] is None
    with pytest.raises(RunError, match="must not be renamed"):
        load_summaries(run_dir, known=found)
    trial_path(run_dir, key(3)).unlink()
    known = load_summaries(run_dir, known=found)
    assert known == load_summaries(run_dir)
    assert [s.status for s in known] == ["scored", "unfinished", "errored"]


def test_what_is_known_is_not_read_again(tmp_path: Path, make_events: Events) -> None:
    run_dir = tmp_path / "r"
    path = write(run_dir, make_events(key()))
    found = sealed_trials(run_dir)
    path.write_text("spoilt in the meantime")
    assert load_summaries(run_dir, known=found) == list(found.values())


def test_every_event_is_either_of_a_step_or_of_the_ending() -> None:
    events = get_args(get_args(TrialEvent)[0])
    types = {event.model_fields["type"].default.encode() for event in events}
    steps = {b"thought", b"tool_call", b"tool_result", b"ledger"}
    assert types == {b"started"} | steps | glance._LAST


@given(st.data())
def test_any_file_gives_a_true_summary_or_none(
    tmp_path_factory: pytest.TempPathFactory, make_events: Events, data: st.DataObject
) -> None:
    events = make_events(key(), data.draw(st.sampled_from(["scored", "errored", "unfinished"])))
    lines = [event.model_dump_json().encode() for event in events]
    content = b"\n".join(data.draw(st.permutations(lines))) + b"\n"
    spoilt = bytearray(content[: data.draw(st.integers(0, len(content)))])
    if spoilt and data.draw(st.booleans()):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("any") / "file.jsonl"
    path.write_bytes(bytes(spoilt))
    found = sealed_summary(path)
    if found is not None:
        assert found.status != "unfinished"
        try:
            whole = read_events(path)
        except RunError:
            return  # a line between the ends is spoilt, of which a summary says nothing
        assert found == summarise(whole)
