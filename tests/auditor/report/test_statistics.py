from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from auditor.report.statistics import (
    beta_quantile,
    clopper_pearson_interval,
    clustered_rate,
    corrected_rate,
    holm,
    incomplete_beta,
    paired_permutation_test,
    pass_at_k,
    student_t_quantile,
    wilson_interval,
)

TOLERANCE = 1e-8
counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
shapes = st.floats(-1, 4).map(lambda exponent: 10**exponent)
rates = st.lists(st.floats(0, 1), min_size=1, max_size=5)
confidences = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@given(counts, confidences)
def test_wilson_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    expected = stats.binomtest(*count).proportion_ci(confidence, method="wilson")
    got = wilson_interval(*count, confidence=confidence)
    assert got == pytest.approx((expected.low, expected.high), abs=TOLERANCE)


@given(counts, confidences)
def test_clopper_pearson_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    expected = stats.binomtest(*count).proportion_ci(confidence, method="exact")
    got = clopper_pearson_interval(*count, confidence=confidence)
    assert got == pytest.approx((expected.low, expected.high), abs=TOLERANCE)


@given(st.floats(0, 1), shapes, shapes)
def test_the_incomplete_beta_function_agrees_with_scipy(x: float, a: float, b: float) -> None:
    assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=TOLERANCE)


@given(st.floats(0.001, 0.999), shapes, shapes)
def test_the_beta_quantile_agrees_with_scipy(p: float, a: float, b: float) -> None:
    # Scipy's own inverse is off by 1e-8 at p = 1/2 of a symmetric shape, where 1/2 is exact.
    assert beta_quantile(p, a, b) == pytest.approx(special.betaincinv(a, b, p), abs=1e-6)


@given(st.floats(0.001, 0.999), st.integers(1, 2000))
def test_the_t_quantile_agrees_with_scipy(p: float, df: int) -> None:
    assert student_t_quantile(p, df) == pytest.approx(
        stats.t.ppf(p, df), rel=TOLERANCE, abs=TOLERANCE
    )


@given(st.dictionaries(st.text(max_size=3), rates, min_size=2, max_size=30))
def test_the_clustered_interval_is_the_t_interval_of_target_means(
    outcomes: dict[str, list[float]],
) -> None:
    estimate = clustered_rate(outcomes)
    means = np.array([np.mean(values) for values in outcomes.values()])
    assert estimate is not None
    assert estimate.n_targets == len(outcomes)
    assert estimate.mean == pytest.approx(means.mean(), abs=TOLERANCE)
    assert 0 <= estimate.low <= estimate.high <= 1
    assert estimate.low <= estimate.mean + TOLERANCE
    assert estimate.mean <= estimate.high + TOLERANCE
    if np.ptp(means) > 1e-6:
        low, high = stats.t.interval(0.95, len(means) - 1, loc=means.mean(), scale=stats.sem(means))
        assert estimate.low == pytest.approx(max(0, low), abs=TOLERANCE)
        assert estimate.high == pytest.approx(min(1, high), abs=TOLERANCE)


@given(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(1, 30), st.integers(1, 4))
def test_equal_targets_never_give_a_point_interval(rate: float, n: int, trials: int) -> None:
    estimate = clustered_rate({str(i): [rate] * trials for i in range(n)})
    assert estimate is not None
    assert estimate.mean == pytest.approx(rate)
    assert estimate.low <= rate <= estimate.high
    assert estimate.high - estimate.low > 0.05


@pytest.mark.parametrize(("hits", "method"), [(0, "exact"), (8, "exact")])
def test_equal_targets_get_the_exact_interval_over_targets(hits: int, method: str) -> None:
    estimate = clustered_rate({str(i): [hits / 8] * 5 for i in range(8)})
    expected = stats.binomtest(hits, 8).proportion_ci(0.95, method=method)
    assert estimate is not None
    assert estimate[1:3] == pytest.approx((expected.low, expected.high), abs=TOLERANCE)


def test_more_trials_of_the_same_targets_do_not_narrow_the_interval() -> None:
    once = clustered_rate({"a": [0], "b": [1], "c": [1]})
    often = clustered_rate({"a": [0] * 50, "b": [1] * 50, "c": [1] * 50})
    assert once == often


def test_no_outcome_is_unknown() -> None:
    assert clustered_rate({}) is None
    assert clustered_rate({"a": []}) is None
    assert clustered_rate({"a": [], "b": [1]}) == clustered_rate({"b": [1]})


@pytest.mark.parametrize(
    ("hit", "false_alarm", "expected"),
    [(0.75, 0.0, 0.75), (0.75, 0.5, 0.5), (0.2, 0.6, -1.0), (1.0, 0.99, 1.0)],
)
def test_the_corrected_rate_takes_false_alarms_off(
    hit: float, false_alarm: float, expected: float
) -> None:
    assert corrected_rate(hit, false_alarm) == pytest.approx(expected)


@pytest.mark.parametrize("pair", [(0.5, 1.0), (None, 0.1), (0.5, None), (None, None)])
def test_the_corrected_rate_is_unknown_where_it_has_no_meaning(
    pair: tuple[float | None, float | None],
) -> None:
    assert corrected_rate(*pair) is None


tenths = st.integers(0, 10).map(lambda k: k / 10)


@settings(max_examples=40)
@given(st.lists(st.tuples(tenths, tenths), min_size=2, max_size=10))
def test_the_exact_permutation_test_agrees_with_scipy(pairs: list[tuple[float, float]]) -> None:
    left, right = zip(*pairs, strict=True)
    got = paired_permutation_test(left, right)
    expected = stats.permutation_test(
        (np.array(left), np.array(right)),
        lambda a, b, axis: np.abs(np.round((a - b).sum(axis=axis), 9)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert got.exact
    assert got.p_value == pytest.approx(expected.pvalue, abs=TOLERANCE)
    assert got.difference == pytest.approx(np.mean(left) - np.mean(right), abs=TOLERANCE)


def test_the_sampled_permutation_test_is_seeded_and_near_the_exact_one() -> None:
    left = [1.0] * 12 + [0.0] * 5
    right = [0.0] * 6 + [1.0] * 11
    got = paired_permutation_test(left, right, seed=3, resamples=20_000)
    assert got == paired_permutation_test(left, right, seed=3, resamples=20_000)
    assert not got.exact
    # Six pairs differ one way and five the other: the sign test is the exact answer.
    assert got.p_value == pytest.approx(stats.binomtest(6, 11).pvalue, abs=0.02)


def test_the_permutation_test_needs_pairs() -> None:
    with pytest.raises(ValueError, match="one rate per target"):
        paired_permutation_test([0.1], [0.1, 0.2])
    with pytest.raises(ValueError, match="one rate per target"):
        paired_permutation_test([], [])
    assert paired_permutation_test([0.5] * 3, [0.5] * 3).p_value == 1


def test_holm_agrees_with_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float) -> None:
    adjusted = holm(p)
    rejected: set[int] = set()
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if (len(p) - rank) * p[i] > level:
            break
        rejected.add(i)
    assert {i for i, value in enumerate(adjusted) if value <= level} == rejected
    assert all(plain <= value <= 1 for plain, value in zip(p, adjusted, strict=True))


@given(counts, st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_success(
    count: tuple[int, int], data: st.DataObject
) -> None:
    successes, n = count
    k = data.draw(st.integers(1, n))
    none = stats.hypergeom.pmf(0, n, successes, k)
    assert pass_at_k(n, successes, k) == pytest.approx(1 - none, abs=TOLERANCE)


def test_pass_at_one_is_the_plain_rate() -> None:
    assert pass_at_k(8, 3, 1) == pytest.approx(3 / 8)
    assert pass_at_k(8, 3, 6) == 1
    assert pass_at_k(8, 3, 2) == pytest.approx(1 - comb(5, 2) / comb(8, 2))


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: wilson_interval(0, 0),
        lambda: clopper_pearson_interval(3, 2),
        lambda: wilson_interval(-1, 2),
        lambda: pass_at_k(3, 1, 4),
        lambda: pass_at_k(3, 1, 0),
        lambda: student_t_quantile(1.0, 3),
        lambda: student_t_quantile(0.5, 0),
        lambda: beta_quantile(1.5, 1, 1),
        lambda: incomplete_beta(-0.1, 1, 1),
    ],
)
def test_impossible_arguments_are_refused(impossible: object) -> None:
    assert callable(impossible)
    with pytest.raises(ValueError, match=r"\w"):
        impossible()
