import numpy as np
import pytest

from auditor.report.clusters import clusters, multiplicities, percentile_interval
from auditor.report.statistics import clopper_pearson_interval


def test_items_of_a_target_share_the_weight_of_one() -> None:
    found = clusters(["b", "a", "b", "b"])
    assert found.n_targets == 2
    assert found.weights == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
    assert list(found.index) == [1, 0, 1, 1]


def test_a_resample_draws_whole_targets_as_many_as_there_are() -> None:
    found = clusters(["b", "a", "b", "c"])
    weights = found.resampled(seed=0, resamples=500)
    assert weights.shape == (500, 4)
    assert weights.sum(axis=1) == pytest.approx(3)
    assert weights[:, 0] == pytest.approx(weights[:, 2])
    assert weights[:, 1].mean() == pytest.approx(1, abs=0.1)


def test_how_often_a_target_is_drawn_is_binomial() -> None:
    drawn = multiplicities(10, np.random.default_rng(0), resamples=20_000)
    assert drawn[:, 0].mean() == pytest.approx(1, abs=0.03)
    assert drawn[:, 0].var() == pytest.approx(0.9, abs=0.05)


def test_the_percentile_interval_leaves_a_tail_on_each_side() -> None:
    values = np.linspace(0, 1, 1001)
    assert percentile_interval(values, 0.5, 9, confidence=0.8) == pytest.approx((0.1, 0.9))
    assert percentile_interval(values * 3 - 1, 0.5, 9) == (0.0, 1.0)


def test_values_that_are_all_alike_fall_back_on_clopper_and_pearson() -> None:
    assert percentile_interval(np.full(9, 0.5), 0.5, 8) == clopper_pearson_interval(4, 8)


def test_nothing_cannot_be_grouped() -> None:
    with pytest.raises(ValueError, match="nothing"):
        clusters([])
