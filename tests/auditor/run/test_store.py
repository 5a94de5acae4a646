import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import RunError
from auditor.records import (
    SealedEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialKey,
    TrialUsage,
)
from auditor.run.listing import run_dirs
from auditor.run.record import new_record
from auditor.run.store import (
    TrialWriter,
    is_sealed,
    load_run,
    load_summaries,
    parse_event,
    read_events,
    read_summary,
    summarise,
    trial_path,
    write_atomically,
    write_run,
)
from auditor.scenario.schema import ResolvedScenario, Scenario

MakeEvents = Callable[..., list[TrialEvent]]
KEY = TrialKey(run="r", target="t", tool_set="a+b", trial=0)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ITEM = st.dictionaries(TEXT, JSON, max_size=3)
SECONDS = st.floats(min_value=0, max_value=1e6)
EVENTS = st.one_of(
    st.builds(ThoughtEvent, at=TEXT, turn=st.integers(0, 99), text=TEXT),
    st.builds(
        ToolCallEvent, at=TEXT, turn=st.integers(0, 99), evidence_id=TEXT, tool=TEXT, arguments=ITEM
    ),
    st.builds(
        ToolResultEvent,
        at=TEXT,
        turn=st.integers(0, 99),
        evidence_id=TEXT,
        tool=TEXT,
        ok=st.booleans(),
        summary=TEXT,
        items=st.lists(ITEM, max_size=3),
        target_tokens=st.integers(0, 10**6),
        baseline_tokens=st.integers(0, 10**6),
        seconds=SECONDS,
    ),
    st.builds(
        SealedEvent,
        at=TEXT,
        status=st.sampled_from(["scored", "invalid", "errored"]),
        usage=st.builds(TrialUsage, seconds=SECONDS, dollars=st.none() | SECONDS),
    ),
)


def written(path: Path, events: list[TrialEvent]) -> Path:
    with TrialWriter(path) as writer:
        for event in events:
            writer.write(event)
    return path


@given(EVENTS)
def test_an_event_survives_its_line(event: TrialEvent) -> None:
    line = event.model_dump_json()
    assert "\n" not in line
    assert parse_event(line) == event
    assert parse_event(line).model_dump_json() == line


def test_a_trial_is_read_back_as_it_was_written(tmp_path: Path, make_events: MakeEvents) -> None:
    events = make_events(KEY)
    path = written(trial_path(tmp_path, KEY), events)
    assert path == tmp_path / "trials" / "t__a+b__0.jsonl"
    assert read_events(path) == events
    assert path.read_bytes().count(b"\n") == len(events)


def test_each_line_is_on_disk_before_the_next(tmp_path: Path, make_events: MakeEvents) -> None:
    path = tmp_path / "t.jsonl"
    writer = TrialWriter(path)
    for n, event in enumerate(make_events(KEY), start=1):
        writer.write(event)
        assert len(read_events(path)) == n


@settings(max_examples=60)
@given(cut=st.integers(min_value=0, max_value=10**6))
def test_a_file_cut_anywhere_reads_as_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, make_events: MakeEvents, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "t.jsonl"
    events = make_events(KEY)
    content = written(path, events).read_bytes()
    cut %= len(content) + 1
    path.write_bytes(content[:cut])
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]
    # A last line that lacks only its end of line is whole.
    whole = sum(cut >= end for end in ends)
    assert read_events(path) == events[:whole]
    assert is_sealed(path) == (whole == len(events))


@pytest.mark.parametrize("tail", [b'{"type":"thou', b"\xff\xfe", b"\0\0\0\0", "é".encode()[:1]])
def test_a_torn_last_line_is_left_out(tmp_path: Path, make_events: MakeEvents, tail: bytes) -> None:
    path = written(tmp_path / "t.jsonl", make_events(KEY, "unfinished"))
    path.write_bytes(path.read_bytes() + tail)
    assert read_events(path) == make_events(KEY, "unfinished")
    assert not is_sealed(path)


@pytest.mark.parametrize("line", [b"{", b"{}", b'{"type":"nonsense"}', b"\xff"])
def test_a_bad_line_in_the_middle_is_an_error_with_its_place(
    tmp_path: Path, make_events: MakeEvents, line: bytes
) -> None:
    path = written(tmp_path / "t.jsonl", make_events(KEY))
    lines = path.read_bytes().split(b"\n")
    lines[1] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunError, match=r"t\.jsonl:2: not an event") as caught:
        read_events(path)
    assert "\n" not in str(caught.value)


def test_a_whole_last_line_of_another_kind_is_not_taken_for_a_torn_one(
    tmp_path: Path, make_events: MakeEvents
) -> None:
    path = written(tmp_path / "t.jsonl", make_events(KEY, "unfinished"))
    path.write_bytes(path.read_bytes() + b'{"type":"from_the_future"}\n')
    with pytest.raises(RunError, match=":3: not an event"):
        read_events(path)


def test_a_sealed_trial_is_never_opened_for_writing(
    tmp_path: Path, make_events: MakeEvents
) -> None:
    path = written(tmp_path / "t.jsonl", make_events(KEY))
    before = path.read_bytes()
    with pytest.raises(RunError, match="sealed"):
        TrialWriter(path)
    assert path.read_bytes() == before


def test_nothing_is_written_after_the_seal(tmp_path: Path, make_events: MakeEvents) -> None:
    events = make_events(KEY)
    writer = TrialWriter(tmp_path / "t.jsonl")
    for event in events:
        writer.write(event)
    with pytest.raises(ValueError, match="closed file"):
        writer.write(events[1])
    assert read_events(tmp_path / "t.jsonl") == events


def test_an_unsealed_trial_is_begun_anew(tmp_path: Path, make_events: MakeEvents) -> None:
    path = written(tmp_path / "t.jsonl", make_events(KEY, "unfinished"))
    assert read_events(written(path, make_events(KEY))) == make_events(KEY)


def test_a_full_disk_is_one_line(make_events: MakeEvents) -> None:
    writer = TrialWriter(Path("/dev/full"))
    with pytest.raises(RunError, match="cannot write /dev/full: No space left") as caught:
        writer.write(make_events(KEY)[0])
    writer.close()
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file in the way")
    with pytest.raises(RunError, match="Not a directory"):
        TrialWriter(tmp_path / "trials" / "t.jsonl")


@pytest.mark.parametrize("status", ["scored", "invalid", "errored", "unfinished"])
def test_a_summary_says_what_the_events_say(make_events: MakeEvents, status: str) -> None:
    events = make_events(KEY, status)
    summary = summarise(events)
    assert (summary.key, summary.group, summary.status) == (KEY, "guilty", status)
    judged = status in ("scored", "invalid")
    assert (summary.verdict is not None, summary.submission is not None) == (judged, judged)
    assert summary.truth == ("profit" if judged else None)
    assert summary.error == ("boom" if status == "errored" else None)
    assert (summary.usage is None) == (status == "unfinished")


def test_a_summary_read_alone_is_that_of_all_events_wherever_the_file_ends(
    tmp_path: Path, make_events: MakeEvents
) -> None:
    lines = [event.model_dump_json().encode() + b"\n" for event in make_events(KEY)]
    path = tmp_path / f"{KEY.stem}.jsonl"
    for n in range(len(lines) + 1):
        for tail in (b"", b'{"at":"x","type":"tool_resu', b'{"at":"x","type":"thought","text":"x'):
            path.write_bytes(b"".join(lines[:n]) + tail)
            assert read_summary(path) == (summarise(read_events(path)) if n else None)


def test_events_without_a_start_cannot_be_summarised(make_events: MakeEvents) -> None:
    with pytest.raises(ValueError, match="begins with"):
        summarise([])
    with pytest.raises(ValueError, match="begins with"):
        summarise(make_events(KEY)[1:])


def test_summaries_are_ordered_by_number_and_not_by_name(
    tmp_path: Path, make_events: MakeEvents
) -> None:
    run_dir = tmp_path / "r"
    for number in (10, 9, 2):
        key = KEY.model_copy(update={"trial": number})
        written(trial_path(run_dir, key), make_events(key))
    (run_dir / "trials" / "t__a+b__11.jsonl").write_bytes(b'{"type":')
    assert [s.key.trial for s in load_summaries(run_dir)] == [2, 9, 10]


def test_a_renamed_trial_file_is_refused(tmp_path: Path, make_events: MakeEvents) -> None:
    path = written(trial_path(tmp_path / "r", KEY), make_events(KEY))
    path.rename(path.with_name("t__a+b__1.jsonl"))
    with pytest.raises(RunError, match="must not be renamed"):
        load_summaries(tmp_path / "r")


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path, resolved: ResolvedScenario) -> None:
    resolved.source.write_text("name: toy # as written\n")
    record = new_record(resolved, run="r", planned=6, options={"workers": 2})
    (tmp_path / "r").mkdir()
    write_run(tmp_path / "r", record)
    assert load_run(tmp_path / "r") == record
    assert load_run(tmp_path / "r").resolved.ceiling == resolved.ceiling
    assert (tmp_path / "r" / "scenario.yaml").read_text() == "name: toy # as written\n"
    assert run_dirs(tmp_path) == [tmp_path / "r"]
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["run.json", "scenario.yaml"]


def test_a_run_that_is_not_there_or_not_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"run": "r"}))
    with pytest.raises(RunError, match=r"run\.json: not a run's record") as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "kept").write_text("kept")
    with pytest.raises(RunError, match="cannot write"):
        write_atomically(path, b"new")
    assert (path / "kept").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_scenario_that_refers_to_suites_survives_the_record(
    tmp_path: Path, make_resolved: Callable[..., ResolvedScenario]
) -> None:
    resolved = make_resolved().model_copy(
        update={
            "scenario": Scenario.model_validate(
                {
                    "name": "s",
                    "targets": [{"suite": "suite.yaml", "select": ["group:*"], "first": 2}],
                    "tool_sets": {"a+b": {"tools": ["chat"]}},
                }
            )
        }
    )
    record = new_record(resolved, run="s", planned=1, options={})
    write_run(tmp_path, record)
    assert load_run(tmp_path) == record
