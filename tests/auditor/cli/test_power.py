import json
from collections.abc import Callable
from typing import Any

import pytest

from auditor.report.power import (
    Design,
    false_alarm_bound,
    simulated_power,
    targets_needed,
)

Call = Callable[..., Any]


def test_the_table_says_how_many_targets_each_number_of_trials_takes(call: Call) -> None:
    ended = call("power", "--rates", "0.75", "0.25", "--trials", "4", "--trials", "1")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "Targets needed to tell 75 % from 25 % with a power of 80 %"
    assert all(len(line) <= 80 for line in lines)
    cells = [line.split() for line in lines if line.strip()[:1].isdigit()]
    for row, trials in zip(cells, (1, 4), strict=True):
        needed = targets_needed(Design(rates=(0.75, 0.25), trials=trials)).targets
        assert needed is not None
        assert row[:3] == [str(trials), str(needed), str(2 * needed * trials)]


def test_the_power_of_a_given_number_of_targets(call: Call) -> None:
    ended = call("power", "--rates", "0.75", "0.25", "--targets", "12", "--unpaired", "--json")
    record = json.loads(ended.out)
    separate = record["separate"]
    assert record["false_alarms"] is None
    assert (separate["paired"], separate["wanted"]) == (False, None)
    assert [row["trials"] for row in separate["rows"]] == [1, 2, 4, 8]
    expected = simulated_power(Design(rates=(0.75, 0.25), trials=2, paired=False), 12)
    row = separate["rows"][1]
    assert (row["power"], row["power_low"], row["power_high"]) == expected
    assert (row["targets"], row["targets_in_all"], row["audits"]) == (12, 24, 48)
    text = call("power", "--rates", "0.75", "0.25", "--targets", "12").out
    assert text.startswith("Power to tell 75 % from 25 % with 12 targets\n")


def test_the_search_as_json(call: Call) -> None:
    words = ("power", "--rates", "0.9", "0.2", "--trials", "2", "--power", "0.9", "--icc", "0.2")
    separate = json.loads(call(*words, "--json").out)["separate"]
    needed = targets_needed(Design(rates=(0.9, 0.2), trials=2, icc=0.2), 0.9)
    assert needed.power is not None
    (row,) = separate["rows"]
    assert separate["wanted"] == 0.9
    assert (row["targets"], row["power"]) == (needed.targets, needed.power.power)
    assert row["targets_closed_form"] == round(needed.closed_form, 1)


def test_too_close_rates_say_so(call: Call) -> None:
    words = ("power", "--rates", "0.301", "0.3", "--trials", "1")
    assert "> 5000" in call(*words).out
    (row,) = json.loads(call(*words, "--json").out)["separate"]["rows"]
    assert (row["targets"], row["power"]) == (None, None)


def test_what_clean_targets_show_of_false_alarms(call: Call) -> None:
    few = " ".join(call("power", "--clean", "16", "--false-alarm", "0.05").out.split())
    assert few == (
        "No false alarm on 16 clean targets means, with 95 % confidence, a rate of at most "
        "17.1 %. For 5 % it takes 59: 43 more."
    )
    enough = " ".join(call("power", "--clean", "80", "--false-alarm", "0.05").out.split())
    assert "at most 3.68 %" in enough
    assert "For 5 %, 59 would do." in enough
    assert "on 1 clean target means" in call("power", "--clean", "1").out
    assert "on 59 clean targets" in call("power", "--false-alarm", "0.05").out
    record = json.loads(call("power", "--clean", "16", "--json").out)
    assert record["separate"] is None
    assert record["false_alarms"]["bound"] == false_alarm_bound(16)
    assert record["false_alarms"]["clean_needed"] is None


def test_both_questions_are_answered_one_below_the_other(call: Call) -> None:
    out = call("power", "--rates", "1", "0", "--trials", "1", "--clean", "16").out
    assert out.index("Targets needed") < out.index("\n\nNo false alarm")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "--rates 0.12 0.03"),
        (("--targets", "5"), "--targets needs two success rates"),
        (("--rates", "0.2", "0.1", "--targets", "5", "--power", "0.9"), "leave out --power"),
        (("--rates", "0.1", "0.1"), "two different ones"),
        (("--rates", "0.2", "0.1", "--targets", "1"), "targets are 2 to"),
        (("--clean", "0"), "cannot be"),
        (("--false-alarm", "2"), "inside (0, 1)"),
        (("--rates", "0.2", "0.1", "--unpaired", "--correlation", "0.5"), "--paired"),
    ],
)
def test_mistakes_are_one_line(call: Call, words: tuple[str, ...], what: str) -> None:
    ended = call("power", *words)
    assert (ended.code, ended.out) == (2, "")
    assert what in ended.err
    assert len(ended.err.splitlines()) == 1
