"""One record holds all statistics of a run."""

from collections.abc import Callable
from typing import Any

import pytest

from auditor.errors import UsageError
from auditor.records import TrialKey, TrialSummary, Verdict
from auditor.report.summary import RunStatistics, statistics_of

Audited = Callable[..., TrialSummary]
MOTIVES = {"fame": ("celebrity",), "gossip": ("rumours",)}


def in_row(trial: TrialSummary, row: str, **over: Any) -> TrialSummary:
    key = trial.key.model_copy(update={"tool_set": row})
    return trial.model_copy(update={"key": key, **over})


@pytest.fixture
def trials(audited: Audited) -> list[TrialSummary]:
    """Two real rows and a null on six guilty, two clean and one symptom-only target."""
    found = []
    for row, hits, null in (("shuffled", 0, "shuffled"), ("nla", 5, None), ("black_box", 2, None)):
        for i in range(6):
            one = audited(
                f"g{i}",
                right=i < hits,
                confidence=0.9 - 0.1 * i,
                truth="fame",
                says=["wants fame" if i < hits else "wants gossip"],
                split="development" if i < 4 else "held-out",
                regime="plain" if i % 2 else "hard",
            )
            found.append(in_row(one, row, null_readout=null))
        found += [
            in_row(audited(f"c{i}", "clean", claims=False, confidence=0.1), row, null_readout=null)
            for i in range(2)
        ]
        found.append(in_row(audited("s", "symptom", regime="odd", split="development"), row))
    return found


def summarised(trials: list[TrialSummary], **over: Any) -> RunStatistics:
    return statistics_of(trials, run="r", motives=MOTIVES, nulls={"shuffled": "nla"}, **over)


def test_rows_come_in_the_scenarios_order_with_nulls_last(trials: list[TrialSummary]) -> None:
    found = summarised(trials, order=["shuffled", "black_box", "nla"])
    assert [row.tool_set for row in found.rows] == ["black_box", "nla", "shuffled"]
    assert [row.null_of for row in found.rows] == [None, None, "nla"]
    assert found.against == "black_box"
    assert [(one.left, one.right) for one in found.contrasts] == [
        ("nla", "black_box"),
        ("nla", "shuffled"),
    ]


def test_every_part_is_of_the_rows_own_trials(trials: list[TrialSummary]) -> None:
    nla = summarised(trials).rows[0]
    assert nla.tool_set == "nla"
    assert (nla.n_guilty, nla.n_innocent, nla.n_trials, nla.n_scored) == (6, 2, 9, 9)
    assert nla.repeats[0].found == pytest.approx(5 / 6)
    assert nla.wrong_motive is not None
    assert nla.wrong_motive.first.true == pytest.approx(5 / 6)
    assert nla.calibration is not None
    assert nla.calibration.n_forecasts == 8
    assert nla.detection is not None
    assert nla.detection.chosen.localised == pytest.approx(5 / 6)


def test_confidence_is_also_measured_over_all_real_rows(trials: list[TrialSummary]) -> None:
    found = summarised(trials)
    assert found.calibration is not None
    real = [row.calibration for row in found.rows if row.null_of is None]
    assert found.calibration.n_forecasts == sum(c.n_forecasts for c in real if c is not None) == 16


def test_what_nobody_measured_is_unknown(audited: Audited) -> None:
    (row,) = statistics_of([audited("g", right=True)], run="r").rows
    assert (row.detection, row.calibration, row.wrong_motive) == (None, None, None)
    assert row.funnel.n_targets == 0
    assert (row.funnel.exposed, row.funnel.attributed, row.funnel.verified) == (None, None, None)
    assert statistics_of([], run="r") == RunStatistics(run="r")


def test_the_funnel_is_over_the_trials_whose_evidence_was_followed(audited: Audited) -> None:
    def judged(target: str, n: int, **over: Any) -> TrialSummary:
        one = audited(target, trial=n)
        return one.model_copy(update={"verdict": Verdict(valid=True, **over)})

    trials = [
        judged("a", 0, top1=True, exposed=True, taken_up=True, verified=True),
        judged("a", 1, top1=False, exposed=True, taken_up=False, verified=False),
        judged("b", 0, top1=False, exposed=True, taken_up=False, verified=False),
        judged("old", 0, top1=True),
        judged("c", 0, top1=False, exposed=False, taken_up=False, verified=False),
    ]
    funnel = statistics_of(trials, run="r").rows[0].funnel
    assert funnel.n_targets == 3
    assert funnel.exposed == pytest.approx(2 / 3)
    assert funnel.taken_up == funnel.attributed == funnel.verified == pytest.approx(1 / 6)
    assert funnel.withheld_right == 0.0


def test_a_split_keeps_the_innocent_targets_without_one(trials: list[TrialSummary]) -> None:
    found = summarised(trials, split="held-out")
    assert {(row.n_guilty, row.n_innocent, row.n_scored) for row in found.rows} == {(2, 2, 4)}
    assert {one.n_targets for one in found.contrasts} == {2}
    assert (found.split, found.regime) == ("held-out", "all")


def test_a_regime_keeps_all_innocent_targets(trials: list[TrialSummary]) -> None:
    found = summarised(trials, regime="plain")
    assert {(row.n_guilty, row.n_innocent, row.n_scored) for row in found.rows} == {(3, 2, 5)}


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"split": "dev"}, "no trial of split 'dev': there are development, held-out"),
        ({"regime": "loud"}, "no trial of regime 'loud': there are hard, odd, plain"),
        ({"against": "white_box"}, "no row 'white_box' .*: there are nla, black_box, shuffled"),
    ],
)
def test_what_is_not_there_is_the_users_mistake(
    trials: list[TrialSummary], over: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        summarised(trials, order=["nla", "black_box"], **over)


def test_without_splits_the_message_says_so(audited: Audited) -> None:
    with pytest.raises(UsageError, match="its targets have no split"):
        statistics_of([audited("g")], run="r", split="x")


def test_another_row_may_be_what_the_others_are_held_against(trials: list[TrialSummary]) -> None:
    found = summarised(trials, against="nla")
    assert [(one.left, one.right) for one in found.contrasts] == [
        ("black_box", "nla"),
        ("nla", "shuffled"),
    ]


def test_the_record_round_trips_through_json(trials: list[TrialSummary]) -> None:
    found = summarised(trials)
    assert RunStatistics.model_validate_json(found.model_dump_json()) == found


def test_errored_trials_are_counted_and_enter_nothing(audited: Audited) -> None:
    key = TrialKey(run="r", target="e", tool_set="t", trial=0)
    errored = TrialSummary(key=key, group="guilty", status="errored")
    (row,) = statistics_of([audited("g", right=True), errored], run="r").rows
    assert (row.n_trials, row.n_scored, row.n_guilty) == (2, 1, 1)
    assert row.repeats[0].found == 1.0
