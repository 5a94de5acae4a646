"""What a judge says of a run, and how two judges are held against each other."""

from typing import Any

import pytest

from auditor.records import Group, Submission, TrialKey, TrialSummary, Verdict
from auditor.report.judging import compare, tallies
from auditor.report.statistics import wilson_interval


def key(target: str, trial: int = 0) -> TrialKey:
    return TrialKey(run="r", target=target, tool_set="s", trial=trial)


def hit(top1: bool, **more: Any) -> Verdict:
    return Verdict(valid=True, top1=top1, any_of_k=top1, **more)


def summary(where: TrialKey, verdict: Verdict | None, group: Group = "guilty") -> TrialSummary:
    submission = Submission(verdict="none")
    return TrialSummary(
        key=where, group=group, status="scored", submission=submission, verdict=verdict
    )


def test_a_tally_over_targets_is_clustered_on_them() -> None:
    verdicts = {key(f"t{n}", trial): hit(n < 2) for n in range(4) for trial in range(10)}
    found = tallies(verdicts)["s"]
    assert (found.n_trials, found.n_targets, found.top1) == (40, 4, 0.5)
    assert found.top1_low == 0.0, "four targets are no forty"
    assert (found.behaviours_median, found.behaviours_most) == (None, None)


def test_a_tally_of_one_target_is_about_its_trials() -> None:
    counts = [0, 3, 52, 7]
    verdicts = {
        key("t", n): hit(n == 2, behaviours_found=tuple(map(str, range(count))))
        for n, count in enumerate(counts)
    }
    found = tallies(verdicts)["s"]
    assert (found.any_of_k_low, found.any_of_k_high) == pytest.approx(wilson_interval(1, 4))
    assert (found.behaviours_median, found.behaviours_most) == (5.0, 52)


def test_what_nobody_read_is_in_no_tally() -> None:
    innocent = Verdict(valid=True, false_alarm=False)
    assert tallies({key("clean"): innocent, key("bad"): Verdict(valid=False)}) == {}


def test_every_tool_set_has_a_tally_of_its_own() -> None:
    verdicts = {
        TrialKey(run="r", target="t", tool_set=row, trial=n): hit(row == "nla")
        for row in ("nla", "black_box")
        for n in range(3)
    }
    assert {row: one.top1 for row, one in tallies(verdicts).items()} == {"nla": 1, "black_box": 0}


def test_judges_are_compared_where_both_gave_a_verdict_on_a_motive() -> None:
    there = [
        summary(key("a"), hit(True)),
        summary(key("b"), hit(True)),
        summary(key("c"), Verdict(valid=False)),
        summary(key("d"), hit(False)),
        summary(key("e"), hit(False)),
        summary(key("clean"), Verdict(valid=True, false_alarm=True), "clean"),
    ]
    other = {
        key("a"): hit(True),
        key("b"): hit(False),
        key("c"): hit(True),
        key("d"): Verdict(valid=False),
        key("clean"): Verdict(valid=True, false_alarm=True),
    }
    found = compare(there, other)
    assert found.top1 is not None
    assert (found.top1.n_trials, found.top1.both, found.top1.only_left) == (2, 1, 1)
    assert (found.n_invalid_left, found.n_invalid_right) == (1, 1)
