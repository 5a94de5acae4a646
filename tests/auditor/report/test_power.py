from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.errors import UsageError
from auditor.report.power import (
    MAX_TARGETS,
    Design,
    clean_needed,
    closed_form_targets,
    false_alarm_bound,
    sign_flip_p_values,
    simulated_power,
    targets_needed,
    welch_p_values,
)
from auditor.report.statistics import paired_permutation_test

TOLERANCE = 1e-9
runs = st.integers(1, 6).flatmap(
    lambda trials: st.tuples(
        st.just(trials),
        st.lists(
            st.tuples(st.integers(0, trials), st.integers(0, trials)), min_size=2, max_size=12
        ),
    )
)


def design(*rates: float, **over: Any) -> Design:
    return Design(rates=(rates[0], rates[1]), **over)


def error_of(power: float, simulations: int) -> float:
    """Four standard errors of a simulated power."""
    return 4 * sqrt(power * (1 - power) / simulations) + 1e-9


def mcnemar_power(left: float, right: float, n: int, alpha: float) -> float:
    """Power of the exact paired test with one trial a target, by counting all outcomes."""
    first, second = left * (1 - right), (1 - left) * right
    total = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if b > c and stats.binomtest(b, b + c).pvalue <= alpha + TOLERANCE:
                cells = [b, c, n - b - c]
                total += stats.multinomial.pmf(cells, n, [first, second, 1 - first - second])
    return float(total)


@settings(deadline=None)
@given(runs)
def test_the_sign_flip_test_is_the_paired_permutation_test_of_the_reports(
    run: tuple[int, list[tuple[int, int]]],
) -> None:
    trials, pairs = run
    left, right = (np.array([side]) for side in zip(*pairs, strict=True))
    expected = paired_permutation_test(list(left[0] / trials), list(right[0] / trials))
    assert expected.exact
    (got,) = sign_flip_p_values(left, right, trials)
    assert got == pytest.approx(expected.p_value, abs=1e-12)


def test_runs_are_tested_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 5, (2, 7, 30))
    together = sign_flip_p_values(left, right, 4)
    alone = [sign_flip_p_values(left[[i]], right[[i]], 4)[0] for i in range(7)]
    assert together == pytest.approx(alone, abs=1e-12)
    sampled = paired_permutation_test(list(left[0] / 4), list(right[0] / 4))
    assert not sampled.exact
    assert together[0] == pytest.approx(sampled.p_value, abs=0.01)


def test_the_normal_limit_is_near_the_exact_test_where_it_takes_over() -> None:
    left = np.array([[1] * 115 + [0] * 85])
    (limit,) = sign_flip_p_values(left, 1 - left, 1)
    assert limit == pytest.approx(stats.binomtest(115, 200).pvalue, abs=0.0005)
    (exact,) = sign_flip_p_values(left[:, 1:], 1 - left[:, 1:], 1)
    assert exact == pytest.approx(stats.binomtest(114, 199).pvalue, abs=1e-12)


def test_rows_without_any_difference_have_p_one() -> None:
    same = np.array([[0, 2, 1], [1, 0, 0]])
    assert list(sign_flip_p_values(same, same, 2)) == [1, 1]
    assert list(welch_p_values(same, same, 2)) == [1, 1]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 8))
def test_the_unpaired_test_is_welchs(seed: int, n: int, trials: int) -> None:
    left, right = np.random.default_rng(seed).integers(0, trials + 1, (2, 1, n))
    left[0, :2], right[0, :2] = [0, trials], [trials, 0]
    expected = stats.ttest_ind(left[0] / trials, right[0] / trials, equal_var=False).pvalue
    (got,) = welch_p_values(left, right, trials)
    assert got == pytest.approx(expected, abs=1e-8)


def test_rows_that_are_each_alike_are_tested_by_permutation() -> None:
    for n in (2, 3, 4):
        ones, zeros = np.ones((1, n), dtype=np.int64), np.zeros((1, n), dtype=np.int64)
        expected = stats.permutation_test(
            (ones[0], zeros[0]), lambda x, y: np.mean(x) - np.mean(y), vectorized=False
        ).pvalue
        assert welch_p_values(ones, zeros, 1) == pytest.approx([expected])


@pytest.mark.parametrize(("left", "right", "n"), [(0.75, 0.25, 18), (0.12, 0.03, 60), (0.9, 1, 30)])
@pytest.mark.parametrize("icc", [0.0, 0.4, 1.0])
def test_simulated_power_is_the_exact_one_for_single_trials(
    left: float, right: float, n: int, icc: float
) -> None:
    simulations = 4000
    high, low = max(left, right), min(left, right)
    exact = mcnemar_power(high, low, n, 0.05)
    got = simulated_power(design(left, right, icc=icc), n, simulations=simulations)
    assert got.power == pytest.approx(exact, abs=error_of(exact, simulations))
    assert got.low <= got.power <= got.high


def test_trials_that_all_end_alike_are_worth_one() -> None:
    one = simulated_power(design(0.6, 0.2, icc=1.0, trials=1), 25)
    many = simulated_power(design(0.6, 0.2, icc=1.0, trials=8), 25)
    assert many.power == pytest.approx(one.power, abs=2 * error_of(one.power, 2000))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("trials", [1, 4])
@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_the_closed_form_is_near_the_simulation_where_it_should_be(
    paired: bool, trials: int, icc: float
) -> None:
    chosen = design(0.55, 0.4, trials=trials, icc=icc, paired=paired)
    n = round(closed_form_targets(chosen, 0.8))
    assert simulated_power(chosen, n, simulations=4000).power == pytest.approx(0.8, abs=0.04)


def test_the_closed_form_accounts_for_correlated_targets() -> None:
    chosen = design(0.55, 0.4, trials=30, icc=0.1, correlation=0.7)
    n = round(closed_form_targets(chosen, 0.8))
    assert simulated_power(chosen, n, simulations=4000).power == pytest.approx(0.8, abs=0.05)
    assert n < 0.7 * closed_form_targets(design(0.55, 0.4, trials=30, icc=0.1))


def test_the_closed_form_is_that_of_two_t_tests() -> None:
    """With the noncentral t distribution, as power calculators have it."""
    for paired in (True, False):
        n = closed_form_targets(design(0.7, 0.5, icc=0.0, paired=paired), 0.9)
        variance, difference = 0.7 * 0.3 + 0.5 * 0.5, 0.2
        df = n - 1 if paired else 2 * (n - 1)
        shift = difference / sqrt(variance / n)
        edge = stats.t.ppf(0.975, df)
        power = stats.nct.sf(edge, df, shift) + stats.nct.cdf(-edge, df, shift)
        assert power == pytest.approx(0.9, abs=0.002)


@pytest.mark.parametrize(
    "over", [{}, {"trials": 4}, {"paired": False}, {"correlation": 0.6, "trials": 2}]
)
@pytest.mark.parametrize("rates", [(0.75, 0.25), (0.03, 0.12), (0.0, 1.0)])
def test_the_targets_found_reach_the_power_and_fewer_do_not(
    rates: tuple[float, float], over: dict[str, Any]
) -> None:
    chosen = design(*rates, **over)
    needed = targets_needed(chosen, 0.8)
    assert needed.targets is not None
    assert needed.power is not None
    assert needed.power.power >= 0.8
    again = simulated_power(chosen, needed.targets, seed=7)
    assert again.power >= 0.8 - 2 * error_of(0.8, 2000) / sqrt(2)
    fewer = int(0.85 * needed.targets)
    if fewer >= 2:
        assert simulated_power(chosen, fewer, seed=7).power < 0.8 + error_of(0.8, 2000)


def test_more_trials_and_higher_stakes_move_the_number_of_targets_the_right_way() -> None:
    def needed(power: float = 0.8, **over: Any) -> int:
        targets = targets_needed(design(0.5, 0.2, **over), power, simulations=1000).targets
        assert targets is not None
        return targets

    plain = needed()
    assert needed(trials=8) < plain
    assert needed(trials=8, icc=0.9) > needed(trials=8, icc=0.1)
    assert needed(power=0.95) > plain
    assert needed(alpha=0.005) > plain
    assert needed(trials=8, correlation=0.9) < needed(trials=8)


def test_rates_too_close_to_separate_are_given_up() -> None:
    needed = targets_needed(design(0.301, 0.3), 0.8, simulations=50)
    assert needed.targets is None
    assert needed.power is None
    assert needed.closed_form > MAX_TARGETS


def test_a_search_is_a_function_of_its_seed() -> None:
    chosen = design(0.6, 0.3)
    assert simulated_power(chosen, 30) == simulated_power(chosen, 30)
    assert simulated_power(chosen, 30) != simulated_power(chosen, 30, seed=1)


@settings(deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_false_alarm_bound_is_clopper_and_pearsons_one_sided_one(
    counts: tuple[int, int],
) -> None:
    clean, alarms = counts
    exact = stats.binomtest(alarms, clean, alternative="less").proportion_ci(0.95, method="exact")
    assert false_alarm_bound(clean, alarms=alarms) == pytest.approx(exact.high, abs=1e-8)


@settings(deadline=None)
@given(st.floats(0.001, 0.999), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_clean_targets_needed_are_the_fewest_that_do(rate: float, confidence: float) -> None:
    n = clean_needed(rate, confidence=confidence)
    assert false_alarm_bound(n, confidence=confidence) <= rate + 1e-7
    assert n == 1 or false_alarm_bound(n - 1, confidence=confidence) > rate - 1e-7


def test_fifty_nine_clean_targets_show_five_percent() -> None:
    assert clean_needed(0.05) == 59


@pytest.mark.parametrize(
    ("over", "what"),
    [
        ({"rates": (0.2, 0.2)}, "two different"),
        ({"rates": (1.2, 0.2)}, "between 0 and 1"),
        ({"rates": (float("nan"), 0.2)}, "between 0 and 1"),
        ({"trials": 0}, "trials per target"),
        ({"trials": 101}, "trials per target"),
        ({"icc": 1.1}, "intraclass"),
        ({"correlation": -2.0}, "correlation"),
        ({"correlation": 0.5, "paired": False}, "--paired"),
        ({"alpha": 0.0}, "significance"),
    ],
)
def test_impossible_designs_are_refused(over: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Design(**{"rates": (0.5, 0.2), **over})


def test_impossible_questions_are_refused() -> None:
    chosen = design(0.5, 0.2)
    for power in (0.05, 1.0, float("nan")):
        with pytest.raises(UsageError, match="power"):
            targets_needed(chosen, power)
    for targets in (1, MAX_TARGETS + 1):
        with pytest.raises(UsageError, match="targets"):
            simulated_power(chosen, targets)
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="rate"):
            clean_needed(rate)
    for clean, alarms in ((0, 0), (3, 4), (3, -1)):
        with pytest.raises(UsageError, match="cannot be"):
            false_alarm_bound(clean, alarms=alarms)
