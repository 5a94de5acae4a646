import math
from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.investigator.ledger.significance import log_odds_z, permutation_test

counts = st.integers(0, 40)


def plain_log_odds_z(y: int, x: int, n: int, m: int, strength: float) -> float:
    """Monroe et al. with two outcomes, written out with `math` alone."""
    prior_with = strength * (y + x + 0.5) / (n + m + 1)
    prior_without = strength - prior_with
    target = math.log((y + prior_with) / (n - y + prior_without))
    baseline = math.log((x + prior_with) / (m - x + prior_without))
    variance = 1 / (y + prior_with) + 1 / (x + prior_with)
    return (target - baseline) / math.sqrt(variance)


@given(counts, counts, st.integers(0, 30), st.integers(0, 30), st.floats(0.5, 50))
def test_log_odds_agree_with_a_plain_reference(
    y: int, x: int, more: int, others: int, strength: float
) -> None:
    n, m = y + more + 1, x + others + 1
    z = log_odds_z(np.array([y]), np.array([x]), n, m, strength)
    assert z[0] == pytest.approx(plain_log_odds_z(y, x, n, m, strength), rel=1e-9, abs=1e-9)


def test_a_small_count_scores_less_than_a_large_one_of_the_same_ratio() -> None:
    z = log_odds_z(np.array([3, 30]), np.array([1, 10]), 100, 100)
    assert 0 < z[0] < z[1]


def test_family_wise_p_values_agree_with_all_relabellings_of_a_small_table() -> None:
    present = np.array([[1, 0], [1, 1], [0, 1], [1, 0], [0, 0], [0, 1]], dtype=np.bool_)
    labels = np.array([1, 1, 0, 1, 0, 0], dtype=np.bool_)
    strata = np.array([0, 0, 0, 1, 1, 1])

    def statistic(side: np.ndarray) -> np.ndarray:
        excess, variance = np.zeros(2), np.zeros(2)
        for s in (0, 1):
            rows, n = present[strata == s], 3
            k = int(labels[strata == s].sum())
            share = rows.mean(axis=0)
            excess += rows[side[strata == s]].sum(axis=0) - k * share
            variance += k * (n - k) / (n - 1) * share * (1 - share)
        return excess / np.sqrt(variance)

    every = [
        np.array([*a, *b], dtype=np.bool_)
        for a in set(permutations([1, 1, 0]))
        for b in set(permutations([1, 0, 0]))
    ]
    largest = np.array([statistic(side).max() for side in every])
    exact = [(largest >= z - 1e-9).mean() for z in statistic(labels)]
    test = permutation_test(present, labels, strata, seed=0, permutations=20_000)
    assert test.z == pytest.approx(statistic(labels))
    assert test.p == pytest.approx(exact, abs=0.02)


def test_p_values_are_uniform_when_the_models_are_one() -> None:
    rng = Random(5)
    smallest = []
    for trial in range(300):
        rates = [[rng.uniform(0.2, 0.8) for _ in range(12)] for _ in range(10)]
        strata = np.repeat(np.arange(10), 8)
        present = np.array([[rng.random() < r for r in rates[s]] for s in strata])
        labels = np.tile(np.array([True, False]), 40)
        test = permutation_test(present, labels, strata, seed=trial, permutations=199)
        smallest.append(float(test.p.min()))
    # The smallest family-wise p-value is that of the maximum, uniform under the null.
    assert stats.kstest(smallest, "uniform").pvalue > 0.01
    assert np.mean(np.array(smallest) <= 0.05) <= 0.09


def test_a_planted_phrase_gets_the_smallest_p_value_and_only_it() -> None:
    rng = Random(1)
    labels = np.tile(np.array([True, False]), 40)
    noise = np.array([[rng.random() < 0.4 for _ in range(20)] for _ in labels])
    present = np.column_stack([labels & (np.arange(80) % 10 != 0), noise])
    test = permutation_test(present, labels, np.repeat(np.arange(10), 8), seed=3)
    assert test.p[0] == pytest.approx(0.001)
    assert test.p[1:].min() > 0.05


def test_what_every_reply_holds_tells_nothing() -> None:
    labels = np.array([True, False, True, False])
    test = permutation_test(np.ones((4, 1), np.bool_), labels, np.zeros(4, np.int64), seed=0)
    assert (test.z[0], test.p[0]) == (0.0, 1.0)


def test_no_samples_and_no_phrases_are_no_finding() -> None:
    nothing = np.zeros(0, np.int64)
    test = permutation_test(np.zeros((0, 2), np.bool_), nothing.astype(bool), nothing, seed=0)
    assert test.p.tolist() == [1.0, 1.0]
    one = np.zeros(1, np.int64)
    assert permutation_test(np.zeros((1, 0), np.bool_), one > 0, one, seed=0).p.tolist() == []
