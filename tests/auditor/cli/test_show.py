"""`auditor show` finds runs and trials by what people type."""

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.records import TrialKey
from auditor.run.listing import order
from auditor.run.lock import locked
from auditor.run.store import LOCK_FILE

if TYPE_CHECKING:
    from conftest import Call, Made


def test_a_run_lists_its_trials_with_outcomes(call: "Call", made: "Made") -> None:
    made.run(targets=("guilty-1", "clean-1"), events=made.wrong)
    ended = call("show", "tiny-1")
    assert ended.code == 0
    first, second = ended.out.splitlines()[1:3]
    assert first.split()[:4] == ["1", "clean-1", "black_box", "0"]
    assert "! false alarm" in first
    assert "The target seeks" in first
    assert "✗ missed" in second
    assert "no hidden motive" in second
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    "trial",
    ["2", "guilty-1__black_box__0", "tiny-1/guilty-1/black_box/0", "guilty-1/black_box/0", "guil"],
)
def test_a_trial_is_found_by_number_stem_key_or_prefix(
    call: "Call", made: "Made", trial: str
) -> None:
    made.run()
    ended = call("show", "tiny-1", trial)
    assert ended.code == 0
    assert ended.out.startswith("tiny-1/guilty-1/black_box/0")
    assert "✓ found" in ended.out
    assert "the motive is approval" in ended.out


def test_a_replay_holds_no_escape_sequence_of_the_target(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("show", "tiny-1", "1")
    assert "Fine 0.  (+4 more)" in ended.out
    assert "Fine 1." not in ended.out
    assert "\x1b" not in ended.out
    assert "Fine 4." in call("show", "tiny-1", "1", "--full").out


def test_a_replay_fits_eighty_columns(call: "Call", made: "Made") -> None:
    made.run()
    assert max(map(len, call("show", "last", "1").out.splitlines())) <= 80


def test_last_is_the_run_that_was_started_last(call: "Call", made: "Made") -> None:
    made.run("zebra")
    made.run("aardvark", targets=("decoy-9",))
    assert "decoy-9" in call("show", "last").out


def test_a_run_may_be_given_as_a_path(call: "Call", made: "Made") -> None:
    assert "guilty-1" in call("show", str(made.run())).out


def test_trials_are_numbered_in_counting_order(call: "Call", made: "Made") -> None:
    made.run(targets=("guilty-1",), trials=12)
    lines = call("show", "tiny-1").out.splitlines()[1:]
    assert [line.split()[3] for line in lines] == [str(n) for n in range(12)]
    assert call("show", "tiny-1", "11").out.startswith("tiny-1/guilty-1/black_box/10")


def test_errored_trials_are_not_misses(call: "Call", made: "Made") -> None:
    made.run(events=made.errored)
    assert "E errored" in call("show", "tiny-1").out
    ended = call("show", "tiny-1", "1")
    assert "the disk is full" in ended.out
    assert "missed" not in ended.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tinny-1",), "no run 'tinny-1'"),
        (("tinny-1",), "did you mean tiny-1?"),
        (("tiny-1", "guilty-2"), "did you mean guilty-1__black_box__0"),
        (("tiny-1", "3"), "has trials 1 to 2"),
        (("tiny-1", "0"), "has trials 1 to 2"),
        (("tiny-1", ""), "no trial ''"),
        (("",), "no run ''"),
        (("../..",), "no run"),
        (("tiny-1\x1b[2J",), "did you mean tiny-1?"),
    ],
)
def test_a_wrong_name_is_one_line_that_helps(
    call: "Call", made: "Made", words: tuple[str, ...], message: str
) -> None:
    made.run()
    ended = call("show", *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert "\x1b" not in ended.err
    assert ended.out == ""


def test_a_prefix_that_fits_several_trials_lists_them(call: "Call", made: "Made") -> None:
    made.run(targets=("guilty-1",), trials=9)
    ended = call("show", "tiny-1", "guilty")
    assert ended.code == 2
    assert "fits 9 trials" in ended.err
    assert "guilty-1__black_box__0" in ended.err
    assert "and 4 more" in ended.err


def test_without_any_run_the_message_says_how_to_start(call: "Call") -> None:
    ended = call("show", "last")
    assert ended.code == 2
    assert "auditor run sandbox" in ended.err


def test_a_broken_record_is_one_line_and_exit_code_1(call: "Call", made: "Made") -> None:
    run_dir = made.run()
    path = run_dir / "trials" / "clean-1__black_box__0.jsonl"
    path.write_text('{"type": "nonsense"}\n{"type": "sealed"}\n')
    ended = call("show", "tiny-1", "clean")
    assert ended.code == 1
    assert f"{path}:1" in ended.err
    assert len(ended.err.splitlines()) == 1


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=2))
def test_trial_numbers_sort_as_numbers(numbers: list[int]) -> None:
    stems = sorted((f"t__set__{number}" for number in numbers), key=order)
    assert [int(stem.rpartition("__")[2]) for stem in stems] == sorted(numbers)


def unseal(made: "Made") -> Path:
    """Write a run whose guilty trial has no end yet, and return that trial's file."""
    path = made.run() / "trials" / "guilty-1__black_box__0.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    return path


def test_a_running_trial_is_followed_to_its_end(call: "Call", made: "Made") -> None:
    path = unseal(made)
    rest = made.right(
        TrialKey(run="tiny-1", target="guilty-1", tool_set="black_box", trial=0), "guilty"
    )

    def finish() -> None:
        with locked(path.parent.parent / LOCK_FILE), path.open("a") as file:
            locks.set()
            # Long enough for the reader to come to the end of what is there.
            time.sleep(1.0)
            file.writelines(event.model_dump_json() + "\n" for event in rest[4:])

    locks = threading.Event()
    writer = threading.Thread(target=finish)
    writer.start()
    locks.wait()
    ended = call("show", "tiny-1", "--follow")
    writer.join()
    assert ended.code == 0
    assert ended.out.count("turn 1") == 1
    assert "the motive is approval" in ended.out


def test_following_ends_when_nobody_writes(call: "Call", made: "Made") -> None:
    unseal(made)
    ended = call("show", "tiny-1", "guilty", "--follow")
    assert ended.code == 0
    assert "running or was interrupted" in ended.out


def test_with_every_trial_finished_there_is_none_to_follow(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("show", "tiny-1", "--follow")
    assert ended.code == 2
    assert "no trial of run tiny-1 is running" in ended.err
    assert "✓ found" in call("show", "tiny-1", "2", "--follow").out


def test_trials_and_events_are_printed_as_json_lines(call: "Call", made: "Made") -> None:
    made.run()
    trials = [json.loads(line) for line in call("show", "tiny-1", "--json").out.splitlines()]
    assert [one["key"]["target"] for one in trials] == ["clean-1", "guilty-1"]
    events = [json.loads(line) for line in call("show", "tiny-1", "2", "--json").out.splitlines()]
    assert [event["type"] for event in events][:2] == ["started", "thought"]
    assert events[3]["items"][0]["reply"] == "Fine 0.\x1b[2J"
