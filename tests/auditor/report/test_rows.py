import random
from typing import Any

import pytest

from auditor.records import Group, Submission, TrialKey, TrialSummary, TrialUsage, Verdict
from auditor.report.rows import ALL, Row, table_rows
from auditor.report.statistics import clustered_rate
from auditor.scenario.schema import Ceiling


def trial(
    target: str, verdict: Verdict | None = None, *, group: Group = "guilty", **over: Any
) -> TrialSummary:
    key = TrialKey(
        run=over.pop("run", "r"),
        target=target,
        tool_set=over.pop("tool_set", "t"),
        trial=over.pop("trial", 0),
    )
    status = over.pop("status", "scored" if verdict else "errored")
    return TrialSummary(key=key, group=group, status=status, verdict=verdict, **over)


def hit(top1: bool, any10: bool | None = None, **over: Any) -> Verdict:
    return Verdict(valid=True, top1=top1, any_of_k=top1 if any10 is None else any10, **over)


def alarm(yes: bool) -> Verdict:
    return Verdict(valid=True, false_alarm=yes)


def only(rows: list[Row], split: str = ALL, regime: str = ALL) -> Row:
    (row,) = [row for row in rows if (row.split, row.regime) == (split, regime)]
    return row


def test_rates_are_means_over_targets_with_clustered_intervals() -> None:
    summaries = [
        trial("a", hit(True)),
        trial("a", hit(False, True), trial=1),
        trial("b", hit(False)),
        trial("c", hit(True)),
        trial("c", hit(True), trial=1),
        trial("c", hit(True), trial=2),
    ]
    row = only(table_rows(summaries, ceiling=None))
    expected = clustered_rate({"a": [1, 0], "b": [0], "c": [1, 1, 1]})
    assert expected is not None
    assert (row.top1, row.top1_low, row.top1_high) == expected[:3]
    assert row.any10 == pytest.approx(2 / 3)
    assert (row.n_targets, row.n_trials, row.n_guilty) == (3, 6, 3)


def test_trials_without_a_score_are_counted_and_are_no_misses() -> None:
    invalid = Verdict(valid=False, invalid_reason="the target was never called")
    summaries = [
        trial("a", hit(True)),
        trial("a", trial=1),
        trial("b", invalid, status="invalid"),
        trial("c", status="unfinished"),
    ]
    row = only(table_rows(summaries, ceiling=None))
    assert (row.top1, row.n_guilty) == (1.0, 1)
    assert (row.n_errored, row.n_invalid, row.n_unfinished) == (1, 1, 1)
    assert (row.n_targets, row.n_trials) == (3, 4)


def test_what_nobody_measured_is_unknown_and_never_zero() -> None:
    row = only(table_rows([trial("a")], ceiling=None))
    unknown = set(Row.model_fields) - {"run", "tool_set", "split", "regime"}
    unknown = {name for name in unknown if not name.startswith("n_") or name == "n_null_pairs"}
    assert {name: getattr(row, name) for name in unknown} == dict.fromkeys(unknown)


def test_a_tool_set_of_innocent_targets_has_false_alarms_and_no_hit_rate() -> None:
    summaries = [
        trial("c1", alarm(True), group="clean"),
        trial("c2", alarm(False), group="clean"),
        trial("d", alarm(False), group="decoy"),
    ]
    row = only(table_rows(summaries, ceiling=None))
    assert (row.top1, row.any10, row.corrected) == (None, None, None)
    assert (row.false_alarm_clean, row.n_clean) == (0.5, 2)
    assert (row.false_alarm_decoy, row.n_decoy) == (0.0, 1)
    assert row.false_alarm_decoy_high is not None
    assert row.false_alarm_decoy_high > 0.9


def test_false_alarms_of_the_tool_set_are_repeated_in_every_slice_and_correct_it() -> None:
    summaries = [
        trial("g1", hit(True), split="development", regime="thoughts"),
        trial("g2", hit(False), split="held-out", regime="thoughts"),
        trial("g3", hit(True), split="held-out", regime="documents"),
        trial("c1", alarm(True), group="clean", regime="clean"),
        trial("c2", alarm(False), group="clean", regime="clean"),
    ]
    rows = table_rows(summaries, ceiling=Ceiling(top1=0.2, top3=0.6))
    assert [(row.split, row.regime) for row in rows] == [
        (ALL, ALL),
        ("development", ALL),
        ("held-out", ALL),
        (ALL, "documents"),
        (ALL, "thoughts"),
        ("development", "thoughts"),
        ("held-out", "documents"),
        ("held-out", "thoughts"),
    ]
    assert {row.false_alarm_clean for row in rows} == {0.5}
    assert {row.ceiling_top1 for row in rows} == {0.2}
    assert {row.ceiling_top3 for row in rows} == {0.6}
    assert only(rows, "held-out").top1 == 0.5
    assert only(rows, "held-out").corrected == pytest.approx(0.0)
    assert only(rows, ALL, "documents").corrected == pytest.approx(1.0)
    assert only(rows, ALL, "thoughts").n_targets == 2
    assert only(rows).n_targets == 5


def test_symptom_targets_are_apart_from_guilty_ones() -> None:
    summaries = [trial("g", hit(False)), trial("s", hit(True), group="symptom")]
    row = only(table_rows(summaries, ceiling=None))
    assert (row.top1, row.symptom_top1) == (0.0, 1.0)
    assert (row.n_guilty, row.n_symptom) == (1, 1)


def test_naming_quirks_has_its_own_column() -> None:
    summaries = [
        trial("a", hit(False, quirks_named=True)),
        trial("b", hit(False, quirks_named=False)),
        trial("c", hit(False)),
    ]
    row = only(table_rows(summaries, ceiling=None))
    assert (row.quirks_named, row.top1) == (0.5, 0.0)


def test_a_target_is_flagged_when_its_quirks_never_show_in_any_trial() -> None:
    summaries = [
        trial("dead", hit(False, quirks_seen=False)),
        trial("dead", hit(False, quirks_seen=False), trial=1),
        trial("alive", hit(False, quirks_seen=False)),
        trial("alive", hit(False, quirks_seen=True), trial=1),
        trial("unknown", hit(False)),
        trial("decoy", Verdict(valid=True, false_alarm=False, quirks_seen=False), group="decoy"),
    ]
    assert only(table_rows(summaries, ceiling=None)).n_quirks_dead == 2


def test_costs_are_means_over_scored_trials_whose_cost_is_known() -> None:
    def usage(n: int) -> TrialUsage:
        return TrialUsage(tool_calls=n, target_tokens=100 * n, reader_tokens=10 * n, seconds=n / 2)

    summaries = [
        trial("a", hit(True), usage=usage(2)),
        trial("b", hit(True), usage=usage(4)),
        trial("c", hit(True)),
        trial("d", usage=usage(100)),
    ]
    row = only(table_rows(summaries, ceiling=None))
    assert (row.tool_calls, row.target_tokens, row.seconds) == (3.0, 300.0, 1.5)
    assert row.reader_tokens == 30.0


def test_every_run_and_tool_set_has_its_own_rows_in_order_of_appearance() -> None:
    summaries = [
        trial("a", hit(True), run="r2", tool_set="z"),
        trial("a", hit(False), run="r2", tool_set="b"),
        trial("a", hit(False), run="r1", tool_set="z"),
        trial("b", hit(True), run="r2", tool_set="z"),
    ]
    rows = table_rows(summaries, ceiling=None)
    assert [(row.run, row.tool_set, row.top1) for row in rows] == [
        ("r2", "z", 1.0),
        ("r2", "b", 0.0),
        ("r1", "z", 0.0),
    ]
    assert table_rows([], ceiling=None) == []


def test_the_order_of_trials_does_not_change_a_row() -> None:
    summaries = [
        trial(f"g{i}", hit(i % 3 == 0), usage=TrialUsage(seconds=i / 7), split="x")
        for i in range(9)
    ]
    shuffled = random.Random(0).sample(summaries, len(summaries))
    for row, other in zip(
        table_rows(summaries, ceiling=None), table_rows(shuffled, ceiling=None), strict=True
    ):
        left, right = row.model_dump(), other.model_dump()
        assert left.keys() == right.keys()
        for name, value in left.items():
            expected = pytest.approx(value) if isinstance(value, float) else value
            assert right[name] == expected


def test_a_split_is_held_against_the_innocent_targets_of_that_split() -> None:
    trials = [
        trial("a", hit(True), split="development"),
        trial("b", hit(True), split="held-out"),
        trial("c1", alarm(True), group="clean", split="development"),
        trial("c2", alarm(False), group="clean", split="held-out"),
    ]
    rows = table_rows(trials, ceiling=None)
    assert only(rows).false_alarm_clean == 0.5
    assert only(rows, "development").false_alarm_clean == 1.0
    assert only(rows, "held-out").false_alarm_clean == 0.0
    assert only(rows, "held-out").n_clean == 1


def against_nulls(real: int, null: int, *, n: int = 12, split: str = "x") -> list[TrialSummary]:
    claim = Submission(verdict="motive")
    return [
        trial(
            f"{split}{i}",
            hit(i < hits),
            tool_set=name,
            split=split,
            null_readout=readout,
            submission=claim,
        )
        for name, hits, readout in (("nla", real, None), ("mixed", null, "shuffled"))
        for i in range(n)
    ]


def test_a_null_row_is_held_against_its_real_row() -> None:
    rows = table_rows(against_nulls(12, 0), ceiling=None, nulls={"mixed": "nla"})
    nla, mixed = (row for row in rows if (row.split, row.regime) == (ALL, ALL))
    assert (nla.null_readout, nla.null_of, nla.n_null_pairs, nla.null_p) == (None,) * 4
    assert (mixed.null_readout, mixed.null_of, mixed.n_null_pairs) == ("shuffled", "nla", 12)
    assert mixed.null_margin == 1.0
    assert mixed.null_p == mixed.null_p_least == pytest.approx(2**-11)


def test_each_slice_is_held_against_the_same_slice_of_the_real_row() -> None:
    trials = against_nulls(12, 0, split="x") + against_nulls(0, 12, split="y")
    rows = table_rows(trials, ceiling=None, nulls={"mixed": "nla"})
    margins = {row.split: row.null_margin for row in rows if row.tool_set == "mixed"}
    assert margins == {ALL: 0.0, "x": 1.0, "y": -1.0}


def test_runs_are_held_against_nulls_of_their_own() -> None:
    def of(run: str, trials: list[TrialSummary]) -> list[TrialSummary]:
        return [t.model_copy(update={"key": t.key.model_copy(update={"run": run})}) for t in trials]

    trials = of("one", against_nulls(12, 0)) + of("two", against_nulls(3, 3))
    rows = table_rows(trials, ceiling=None, nulls={"mixed": "nla"})
    margins = {row.run: row.null_margin for row in rows if row.tool_set == "mixed"}
    assert margins == {"one": 1.0, "two": 0.0}


def test_a_null_row_without_trials_of_its_real_row_says_which_that_is() -> None:
    trials = [t for t in against_nulls(12, 0) if t.key.tool_set == "mixed"]
    row = only(table_rows(trials, ceiling=None, nulls={"mixed": "nla"}))
    assert (row.null_of, row.n_null_pairs, row.null_p) == ("nla", 0, None)


@pytest.mark.parametrize(("readout", "corrected"), [("placebo", None), ("shuffled", 0.0)])
def test_alarms_of_a_placebo_row_are_shown_and_correct_nothing(
    readout: str, corrected: float | None
) -> None:
    trials = [
        trial("g1", hit(True), null_readout=readout),
        trial("g2", hit(False), null_readout=readout),
        trial("c1", alarm(True), group="clean", null_readout=readout),
        trial("c2", alarm(False), group="clean", null_readout=readout),
    ]
    row = only(table_rows(trials, ceiling=None))
    assert row.false_alarm_clean == 0.5
    assert row.corrected == corrected
