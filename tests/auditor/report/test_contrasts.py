"""Paired differences between rows, target by target."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.records import Group, Submission, TrialKey, TrialSummary, Verdict
from auditor.report.contrasts import (
    Contrast,
    contrast,
    contrasts,
    difference_interval,
    hit_rates,
    null_contrasts,
    null_rows,
)
from auditor.report.statistics import holm
from auditor.scenario.schema import ReaderSpec, ResolvedScenario, Scenario, ToolSet


def trial(row: str, target: str, top1: bool, *, n: int = 0, group: Group = "guilty") -> Any:
    return TrialSummary(
        key=TrialKey(run="r", target=target, tool_set=row, trial=n),
        group=group,
        status="scored",
        submission=Submission(verdict="motive"),
        verdict=Verdict(valid=True, top1=top1),
    )


def row_of(name: str, hits: int, n: int) -> list[TrialSummary]:
    return [trial(name, f"g{i:02}", i < hits) for i in range(n)]


def test_rates_are_means_over_the_trials_of_each_guilty_target() -> None:
    trials = [
        trial("a", "x", True),
        trial("a", "x", False, n=1),
        trial("a", "y", True),
        trial("b", "x", False),
        trial("b", "s", True, group="symptom"),
    ]
    assert hit_rates(trials) == {"a": {"x": 0.5, "y": 1.0}, "b": {"x": 0.0}}


def test_only_targets_that_both_rows_scored_are_compared() -> None:
    found = contrast({"x": 1.0, "y": 0.0, "z": 1.0}, {"x": 0.0, "y": 0.0}, left="a", right="b")
    assert found.n_targets == 2
    assert (found.left_rate, found.right_rate, found.difference) == (0.5, 0.0, 0.5)


def test_rows_without_a_common_target_have_no_difference() -> None:
    found = contrast({"x": 1.0}, {"y": 0.0}, left="a", right="b")
    assert found.n_targets == 0
    assert {found.difference, found.low, found.high, found.p, found.p_holm} == {None}
    assert found.too_few
    assert not found.better


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=12))
def test_the_p_value_is_that_of_an_exact_permutation_test_over_all_pairs(
    differences: list[float],
) -> None:
    left = {str(i): max(0.0, d) for i, d in enumerate(differences)}
    right = {str(i): max(0.0, -d) for i, d in enumerate(differences)}
    found = contrast(left, right, left="a", right="b")
    reference = stats.permutation_test(
        (list(left.values()), list(right.values())),
        lambda x, y, axis: np.abs(np.mean(x - y, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert found.p == pytest.approx(reference.pvalue)
    assert found.difference == pytest.approx(np.mean(differences))


@settings(deadline=None)
@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=3, max_size=30).filter(
        lambda values: float(np.std(values)) > 1e-3
    )
)
def test_the_interval_is_that_of_a_paired_t_test(differences: list[float]) -> None:
    found = difference_interval(differences)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(max(-1, low), abs=1e-6)
    assert found.high == pytest.approx(min(1, high), abs=1e-6)


@pytest.mark.parametrize("difference", [-1.0, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_targets_that_differ_alike_are_no_certainty(difference: float, n: int) -> None:
    found = difference_interval([difference] * n)
    assert -1 <= found.low <= difference <= found.high <= 1
    assert found.high - found.low > 0.05
    assert found.high - found.low == pytest.approx(2 * (1 - 0.025 ** (1 / n)))


def test_no_target_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        difference_interval([])


def test_rows_are_held_against_black_box_unless_told_otherwise() -> None:
    trials = [*row_of("first", 3, 6), *row_of("black_box", 1, 6), *row_of("last", 6, 6)]

    def pairs(against: str | None = None) -> list[tuple[str, str]]:
        return [(one.left, one.right) for one in contrasts(trials, against=against)]

    assert pairs() == [("first", "black_box"), ("last", "black_box")]
    assert pairs("last") == [("first", "last"), ("black_box", "last")]
    without = [one for one in trials if one.key.tool_set != "black_box"]
    assert [(one.left, one.right) for one in contrasts(without)] == [("last", "first")]


def test_p_values_are_corrected_within_each_family() -> None:
    trials = [
        *row_of("black_box", 0, 12),
        *row_of("nla", 12, 12),
        *row_of("weak", 4, 12),
        *row_of("placebo", 0, 12),
        *row_of("shuffled", 9, 12),
    ]
    nulls = {"placebo": "nla", "shuffled": "nla"}
    found = contrasts(trials, nulls=nulls)
    for family in ("against", "null"):
        raw = [one.p for one in found if one.family == family and one.p is not None]
        assert len(raw) == 2
        assert [one.p_holm for one in found if one.family == family] == holm(raw)
    assert [(one.left, one.right) for one in found] == [
        ("nla", "black_box"),
        ("weak", "black_box"),
        ("nla", "placebo"),
        ("nla", "shuffled"),
    ]
    by_null = null_contrasts(trials, nulls=nulls)
    assert by_null["placebo"].better
    assert not by_null["shuffled"].better
    assert not by_null["shuffled"].too_few


def test_a_row_that_is_worse_is_not_better_however_small_p_is() -> None:
    trials = [*row_of("nla", 0, 16), *row_of("placebo", 16, 16)]
    found = null_contrasts(trials, nulls={"placebo": "nla"})["placebo"]
    assert found.p_holm is not None
    assert found.p_holm < 0.001
    assert not found.better


@pytest.mark.parametrize(("n", "nulls", "too_few"), [(5, 1, True), (6, 1, False), (7, 4, True)])
def test_with_few_targets_no_outcome_could_be_told_from_chance(
    n: int, nulls: int, too_few: bool
) -> None:
    names = [f"null{i}" for i in range(nulls)]
    trials = [*row_of("nla", n, n), *(t for name in names for t in row_of(name, 0, n))]
    found = null_contrasts(trials, nulls=dict.fromkeys(names, "nla"))
    assert {one.too_few for one in found.values()} == {too_few}
    assert {one.better for one in found.values()} == {not too_few}
    assert all(one.p_least == pytest.approx(nulls * 2 ** (1 - n)) for one in found.values())


def resolved(sets: dict[str, ToolSet], readers: dict[str, str] | None = None) -> ResolvedScenario:
    target = {"id": "t", "model": {"path": "x"}, "truth": {"group": "clean"}}
    scenario = Scenario.model_validate({"name": "s", "targets": [target], "tool_sets": sets})
    return ResolvedScenario(
        source=Path("s.yaml"),
        scenario=scenario,
        targets=(),
        corpus_path=None,
        readers={name: ReaderSpec(av=av, ar=av) for name, av in (readers or {}).items()},
        motives={},
        ceiling=None,
    )


def test_the_real_row_of_a_null_row_has_the_same_tools_and_reader() -> None:
    tools = ("sample_user", "nla_compare")
    sets = {
        "black_box": ToolSet(tools=("chat",)),
        "warm": ToolSet(tools=tools, reader="warm"),
        "nla": ToolSet(tools=tools, reader="nla"),
        "placebo": ToolSet(tools=tools, null_readout="placebo"),
        "odd": ToolSet(tools=("nla_compare",), null_readout="shuffled"),
    }
    readers = {"nla": "a", "warm": "b", "placebo": "a", "odd": "a"}
    assert null_rows(resolved(sets, readers)) == {"placebo": "nla"}


def test_of_several_real_rows_the_one_with_the_tools_in_the_same_order_is_taken() -> None:
    swapped = {"swapped": ToolSet(tools=("nla_compare", "chat"))}
    null = {"null": ToolSet(tools=("chat", "nla_compare"), null_readout="shuffled")}
    same = {"same": ToolSet(tools=("chat", "nla_compare"))}
    assert null_rows(resolved(swapped | same | null)) == {"null": "same"}
    assert null_rows(resolved(swapped | null)) == {"null": "swapped"}


def test_a_contrast_is_json() -> None:
    found = contrast({"x": 1.0}, {"x": 0.0}, left="a", right="b")
    assert Contrast.model_validate_json(found.model_dump_json()) == found
