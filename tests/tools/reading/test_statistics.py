"""Log-odds and permutation tests, against scipy and brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tools.reading.statistics import log_odds, permutation_test, smallest_p


def brute_force(values, is_target, strata):
    """The exact p-value of one unit: all relabellings within strata, none missed."""
    z = 0.0
    sums = {0.0: 1}
    for stratum in sorted(set(strata)):
        rows = [v for v, s in zip(values, strata, strict=True) if s == stratum]
        k = sum(t for t, s in zip(is_target, strata, strict=True) if s == stratum)
        ways = [sum(chosen) for chosen in combinations(rows, k)]
        sums = merged(sums, ways)
        z += sum(v for v, t, s in zip(values, is_target, strata, strict=True) if s == stratum and t)
    total = sum(sums.values())
    return sum(n for value, n in sums.items() if value >= z - 1e-9) / total


def merged(sums, ways):
    found = {}
    for value, n in sums.items():
        for way in ways:
            found[round(value + way, 9)] = found.get(round(value + way, 9), 0) + n
    return found


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 2)), min_size=4, max_size=10
    )
)
def test_p_values_of_one_unit_are_those_of_all_relabellings(rows):
    values = [value / 4 for value, _, _ in rows]
    is_target = [label for _, label, _ in rows]
    strata = [stratum for _, _, stratum in rows]
    found = permutation_test(
        np.array(values)[:, None], np.array(is_target), np.array(strata), seed=3, permutations=4000
    )
    exact = brute_force(values, is_target, strata)
    assert found.p[0] == pytest.approx(max(exact, found.smallest_p), abs=0.04)


def test_the_paired_case_is_scipys_sign_flip():
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(0.4, 1, 9), rng.normal(0, 1, 9)
    exact = stats.permutation_test(
        (ours, theirs),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )
    found = permutation_test(
        np.concatenate([ours, theirs])[:, None],
        np.arange(18) < 9,
        np.arange(18) % 9,
        seed=0,
        permutations=20_000,
    )
    assert found.p[0] == pytest.approx(exact.pvalue, abs=0.01)


def test_for_presence_the_statistic_is_the_cochran_mantel_haenszel_score():
    present = np.array([1, 1, 0, 1, 0, 0, 1, 0, 1, 0], bool)[:, None]
    is_target = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 0], bool)
    strata = np.array([0] * 6 + [1] * 4)
    excess, variance = 0.0, 0.0
    for s in (0, 1):
        inside = strata == s
        n, k, held = inside.sum(), is_target[inside].sum(), present[inside].sum()
        excess += present[inside & is_target].sum() - k * held / n
        variance += k * (n - k) * held * (n - held) / (n**2 * (n - 1))
    found = permutation_test(present, is_target, strata, seed=0)
    assert found.z[0] == pytest.approx(excess / np.sqrt(variance))


def test_the_chance_of_any_false_finding_among_many_units_is_at_most_the_level():
    rng = np.random.default_rng(1)
    false = 0
    for trial in range(200):
        shared = rng.random((24, 1)) < 0.5
        values = (rng.random((24, 40)) < 0.3) | (shared & (rng.random((24, 40)) < 0.5))
        labels = rng.permutation(24) < 12
        found = permutation_test(values, labels, np.zeros(24, int), seed=trial, permutations=99)
        false += bool((found.p <= 0.05).any())
    # 10 are expected; with 21 the true rate would exceed 5 % with near certainty.
    assert 1 <= false <= 20


def test_a_planted_unit_is_found_among_many():
    rng = np.random.default_rng(2)
    values = rng.random((40, 200)) < 0.1
    labels = np.arange(40) < 20
    values[:20, 7] = True
    found = permutation_test(values, labels, np.zeros(40, int), seed=0)
    assert found.p.argmin() == 7
    assert found.p[7] <= 0.001
    assert (np.delete(found.p, 7) > 0.05).all()


def test_what_cannot_be_told_has_p_one():
    values = np.array([[1.0, 0.5], [1.0, 0.5], [1.0, 0.1]])
    alone = permutation_test(values, np.array([True, True, False]), np.arange(3), seed=0)
    assert alone.p.tolist() == [1.0, 1.0]
    together = permutation_test(values, np.array([True, True, False]), np.zeros(3, int), seed=0)
    assert together.p[0] == 1.0
    assert (
        permutation_test(np.zeros((3, 0)), np.ones(3, bool), np.zeros(3, int), seed=0).p.size == 0
    )


def test_few_texts_bound_the_p_value():
    assert smallest_p(np.array([True, False] * 3), np.array([0, 0, 1, 1, 2, 2]), 999) == 1 / 8
    assert smallest_p(np.arange(40) < 20, np.zeros(40, int), 999) == 1 / 1000
    values = np.array([1.0, 0, 1, 0, 1, 0])[:, None]
    found = permutation_test(
        values, np.array([True, False] * 3), np.array([0, 0, 1, 1, 2, 2]), seed=1
    )
    assert found.p[0] == pytest.approx(1 / 8, abs=0.03)
    assert found.p[0] >= found.smallest_p


def test_log_odds_are_those_of_the_paper():
    # By hand: 30 of 100 against 10 of 100, prior 10 x pooled rate.
    pooled = 40.5 / 201
    a, b = 30 + 10 * pooled, 10 + 10 * pooled
    delta = np.log(a / (110 - a)) - np.log(b / (110 - b))
    found = log_odds(np.array([30]), np.array([10]), 100, 100, floor=0.0)
    assert found.delta[0] == pytest.approx(delta)
    assert found.z[0] == pytest.approx(delta / np.sqrt(1 / a + 1 / b))


@given(n=st.integers(1, 400), m=st.integers(1, 400), data=st.data())
def test_log_odds_are_finite_and_change_sign_with_the_sides(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    ours = log_odds(np.array([a]), np.array([b]), n, m)
    theirs = log_odds(np.array([b]), np.array([a]), m, n)
    assert np.isfinite(ours.delta).all()
    assert ours.delta[0] == pytest.approx(-theirs.delta[0])
    assert ours.z[0] == pytest.approx(-theirs.z[0])


def test_a_rare_count_does_not_outrank_a_frequent_one():
    found = log_odds(np.array([2, 60]), np.array([0, 5]), 300, 300)
    assert found.z[1] > 3 * found.z[0] > 0
    assert found.delta[0] < 2 < found.delta[1]


def test_without_an_informative_part_it_is_the_plain_smoothed_ratio():
    found = log_odds(np.array([7]), np.array([2]), 20, 30, strength=0.0, floor=0.5)
    assert found.delta[0] == pytest.approx(np.log(7.5 / 13.5) - np.log(2.5 / 28.5))


@pytest.mark.parametrize(("strength", "floor"), [(0.0, 0.0), (-1.0, 2.0), (1.0, -0.5)])
def test_a_prior_without_mass_is_refused(strength, floor):
    with pytest.raises(ValueError, match="positive mass"):
        log_odds(np.array([1]), np.array([0]), 5, 5, strength=strength, floor=floor)
