"""Agreement of two raters, against independent computations and published examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.report.agreement import (
    Rated,
    agreement,
    bootstrap,
    cohen_kappa,
    rank_correlation,
    spearman,
)

TOLERANCE = 1e-9
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
scores = st.lists(
    st.tuples(st.integers(-5, 5).map(float), st.integers(-5, 5).map(float)), min_size=2, max_size=40
)


def kappa_by_confusion(left: list[bool], right: list[bool]) -> float | None:
    """Kappa as scikit-learn computes it: 1 - observed over expected disagreement."""
    confusion = np.zeros((2, 2))
    for a, b in zip(left, right, strict=True):
        confusion[int(a), int(b)] += 1
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    weights = 1 - np.eye(2)
    if (weights * expected).sum() == 0:
        return None
    return float(1 - (weights * confusion).sum() / (weights * expected).sum())


@given(pairs)
def test_kappa_agrees_with_the_confusion_matrix(labels: list[tuple[bool, bool]]) -> None:
    left, right = map(list, zip(*labels, strict=True))
    expected = kappa_by_confusion(left, right)
    got = cohen_kappa(np.array(left), np.array(right))
    assert got == (None if expected is None else pytest.approx(expected, abs=TOLERANCE))


def test_kappa_of_a_textbook_table() -> None:
    # 20 both yes, 5 and 10 of one mind each, 15 both no: p_o = 0.7, p_e = 0.5, kappa = 0.4.
    left = np.array([True] * 25 + [False] * 25)
    right = np.array([True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    assert cohen_kappa(left, right) == pytest.approx(0.4, abs=TOLERANCE)


@given(scores)
def test_spearman_agrees_with_scipy(values: list[tuple[float, float]]) -> None:
    left, right = (np.array(side) for side in zip(*values, strict=True))
    got = spearman(left, right)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        assert got is None
        return
    assert got == pytest.approx(stats.spearmanr(left, right).statistic, abs=TOLERANCE)


def rated(cells: list[tuple[bool, bool]], *, per_target: int = 1) -> list[Rated]:
    return [Rated(f"t{i // per_target}", a, b) for i, (a, b) in enumerate(cells)]


def test_errors_of_each_class_and_counts() -> None:
    cells = [(True, True)] * 6 + [(True, False)] * 2 + [(False, True)] + [(False, False)] * 3
    found = agreement(rated(cells))
    assert found is not None
    assert (found.both, found.only_left, found.only_right, found.neither) == (6, 2, 1, 3)
    assert found.agreement == pytest.approx(9 / 12)
    assert (found.missed, found.invented) == (pytest.approx(2 / 8), pytest.approx(1 / 4))
    assert found.kappa_low is not None
    assert found.kappa is not None
    assert found.kappa_high is not None
    assert found.kappa_low < found.kappa < found.kappa_high


def test_perfect_agreement_has_an_interval_that_is_no_point() -> None:
    found = agreement(rated([(True, True)] * 5 + [(False, False)] * 5))
    assert found is not None
    assert found.kappa == found.kappa_high == pytest.approx(1.0)
    assert found.kappa_low is not None
    assert 0 < found.kappa_low < 0.8


def test_more_trials_of_the_same_targets_do_not_narrow_the_interval() -> None:
    cells = [(i % 2 == 0, i % 3 == 0) for i in range(12)]
    once = agreement(rated(cells))
    often = agreement([one for one in rated(cells) for _ in range(5)])
    assert once is not None
    assert often is not None
    assert (often.kappa_low, often.kappa_high) == (
        pytest.approx(once.kappa_low),
        pytest.approx(once.kappa_high),
    )


def test_what_is_not_defined_is_none_and_never_zero() -> None:
    assert agreement([]) is None
    same = agreement(rated([(True, True)] * 4))
    assert same is not None
    assert (same.kappa, same.kappa_low, same.invented) == (None, None, None)
    assert rank_correlation(["a", "b"], [1.0, 1.0], [1.0, 2.0]) is None
    assert spearman(np.array([1.0]), np.array([1.0])) is None


def test_the_bootstrap_covers_a_mean_as_the_normal_interval_does() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=200)
    found = bootstrap([str(i) for i in range(200)], lambda rows: float(values[rows].mean()), seed=3)
    assert found is not None
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert bootstrap(["a"] * 200, lambda rows: 1.0, seed=3) is None, "one target tells nothing"


def test_a_rank_correlation_has_an_interval_around_it() -> None:
    left = [float(i) for i in range(20)]
    right = [float(i + (i * 7) % 5) for i in range(20)]
    found = rank_correlation([f"t{i}" for i in range(20)], left, right)
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(left, right).statistic, abs=TOLERANCE)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.rho <= found.high
