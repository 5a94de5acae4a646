from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from auditor.records import TrialSummary
from auditor.report.detection import (
    Detection,
    OperatingPoint,
    RocPoint,
    Signal,
    at_level,
    auc,
    chosen_point,
    detection,
    lroc_area,
    roc,
    signals,
)
from auditor.report.statistics import clopper_pearson_interval, clustered_rate

Audited = Callable[..., TrialSummary]
TOLERANCE = 1e-9
confidences = st.one_of(st.integers(0, 10).map(lambda n: n / 10), st.floats(0, 1))
guilty = st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=25)
innocent = st.lists(confidences, min_size=1, max_size=45)


def alone(positives: list[tuple[float, bool]], negatives: list[float]) -> list[Signal]:
    """One trial a target."""
    return [
        *(Signal(f"g{i}", c, guilty=True, right=r) for i, (c, r) in enumerate(positives)),
        *(Signal(f"c{i}", c, guilty=False, right=False) for i, c in enumerate(negatives)),
    ]


def trapezoids(points: list[RocPoint], heights: list[float]) -> float:
    xs = [point.false_alarm for point in points]
    return float(np.trapezoid(heights, xs))


def test_signals_are_of_guilty_and_innocent_targets_with_a_confidence(audited: Audited) -> None:
    summaries = [
        audited("g", right=True, confidence=0.9),
        audited("h", claims=False, right=True, confidence=0.3),
        audited("c", "clean", confidence=0.2),
        audited("d", "decoy", claims=False, confidence=0.1),
        audited("s", "symptom", right=True, confidence=0.8),
        audited("unstated", right=True),
        audited("errored", confidence=0.9, status="errored", verdict=None),
    ]
    assert signals(summaries) == [
        Signal("g", 0.9, guilty=True, right=True),
        Signal("h", 0.3, guilty=True, right=True),
        Signal("c", 0.2, guilty=False, right=False),
        Signal("d", 0.1, guilty=False, right=False),
    ]


@settings(deadline=None)
@given(guilty, innocent)
def test_the_area_is_mann_and_whitneys_u_per_pair(
    positives: list[tuple[float, bool]], negatives: list[float]
) -> None:
    ups = [c for c, _ in positives]
    u = stats.mannwhitneyu(ups, negatives, method="asymptotic").statistic
    area = auc(alone(positives, negatives))
    assert area == pytest.approx(u / (len(ups) * len(negatives)), abs=TOLERANCE)


@settings(deadline=None)
@given(guilty, innocent)
def test_both_areas_are_those_under_the_points(
    positives: list[tuple[float, bool]], negatives: list[float]
) -> None:
    given = alone(positives, negatives)
    points = roc(given)
    assert auc(given) == pytest.approx(trapezoids(points, [p.detected for p in points]))
    assert lroc_area(given) == pytest.approx(trapezoids(points, [p.localised for p in points]))
    assert lroc_area(given) <= auc(given) + TOLERANCE


@settings(deadline=None)
@given(guilty, innocent)
def test_the_curve_rises_from_no_claim_to_every_claim(
    positives: list[tuple[float, bool]], negatives: list[float]
) -> None:
    points = roc(alone(positives, negatives))
    first, last = points[0], points[-1]
    assert (first.threshold, first.false_alarm, first.detected, first.localised) == (None, 0, 0, 0)
    assert (last.false_alarm, last.detected) == pytest.approx((1, 1))
    assert last.localised == pytest.approx(np.mean([right for _, right in positives]))
    for lower, upper in zip(points, points[1:], strict=False):
        assert lower.threshold is None or lower.threshold > (upper.threshold or 0)
        assert lower.false_alarm <= upper.false_alarm
        assert lower.detected <= upper.detected
        assert lower.localised <= upper.localised <= upper.detected


@settings(deadline=None)
@given(guilty, innocent, st.sampled_from([0.01, 0.05, 0.1, 0.3]))
def test_the_rate_at_a_level_is_the_best_of_all_thresholds_that_keep_it(
    positives: list[tuple[float, bool]], negatives: list[float], level: float
) -> None:
    resolved = len(negatives) * level >= 1
    rates = [(0.0, 0.0)]
    for threshold in [c for c, _ in positives] + negatives:
        if np.mean([c >= threshold for c in negatives]) <= (level if resolved else 0) + 1e-12:
            rates.append(
                (
                    float(np.mean([c >= threshold for c, _ in positives])),
                    float(np.mean([c >= threshold and right for c, right in positives])),
                )
            )
    found = at_level(alone(positives, negatives), level)
    assert found.resolved == resolved
    assert (found.detected, found.localised) == pytest.approx(max(rates))
    assert found.false_alarm is not None
    assert found.false_alarm <= level + TOLERANCE
    if not resolved:
        assert found.false_alarm == 0


def test_a_level_is_resolved_by_as_many_targets_as_it_takes_to_allow_one_alarm() -> None:
    positives = [(0.8, True), (0.6, False), (0.4, True)]
    alarming = at_level(alone(positives, [0.7, *[0.1] * 19]), 0.05)
    assert (alarming.resolved, alarming.threshold) == (True, 0.4)
    assert (alarming.false_alarm, alarming.detected) == (0.05, 1)
    assert alarming.localised == pytest.approx(2 / 3)
    fewer = at_level(alone(positives, [0.7, *[0.1] * 18]), 0.05)
    assert (fewer.resolved, fewer.threshold, fewer.false_alarm) == (False, 0.8, 0)
    assert fewer.detected == pytest.approx(1 / 3)


def test_trials_of_one_target_do_not_resolve_a_level() -> None:
    trials = [Signal("c", 0.1, guilty=False, right=False)] * 100
    assert not at_level([Signal("g", 0.9, guilty=True, right=True), *trials], 0.05).resolved


def test_a_level_that_only_claiming_nothing_keeps_has_no_threshold() -> None:
    found = at_level(alone([(0.5, True)], [0.9]), 0.05)
    assert (found.threshold, found.detected, found.localised, found.false_alarm) == (None, 0, 0, 0)


def test_a_level_outside_its_range_is_refused() -> None:
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="inside"):
            at_level(alone([(0.5, True)], [0.1]), level)


def test_a_target_weighs_the_same_however_often_it_was_audited() -> None:
    given = [
        *[Signal("g", 0.9, guilty=True, right=True)] * 9,
        Signal("h", 0.1, guilty=True, right=True),
        Signal("c", 0.5, guilty=False, right=False),
    ]
    assert auc(given) == pytest.approx(0.5)
    assert [p.detected for p in roc(given)] == pytest.approx([0, 0.5, 0.5, 1])


def test_rates_at_the_auditors_own_threshold_are_those_of_its_claims(audited: Audited) -> None:
    summaries = [
        audited("g", right=True, confidence=0.2),
        audited("g", right=False, trial=1),
        audited("h", claims=False, right=True, confidence=0.9),
        audited("c", "clean", claims=False, confidence=0.95),
        audited("d", "decoy", claims=True),
    ]
    found = detection(summaries)
    assert found is not None
    assert found.n_unstated == 2
    assert found.chosen == chosen_point(summaries)
    localised = clustered_rate({"g": [1, 0], "h": [0]})
    assert localised is not None
    assert (found.chosen.detected, found.chosen.false_alarm) == (0.5, 0.5)
    assert (
        found.chosen.localised,
        found.chosen.localised_low,
        found.chosen.localised_high,
    ) == pytest.approx(localised[:3])
    assert chosen_point([]) == OperatingPoint()


def test_the_bootstrap_redraws_guilty_and_innocent_targets_as_scipy_does(audited: Audited) -> None:
    rng = np.random.default_rng(3)
    ups, downs = rng.beta(3, 2, 25), rng.beta(2, 3, 20)
    found = detection(
        [
            *(audited(f"g{i}", right=bool(i % 2), confidence=c) for i, c in enumerate(ups)),
            *(audited(f"c{i}", "clean", confidence=c) for i, c in enumerate(downs)),
        ]
    )
    assert found is not None

    def area(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float(np.mean(x[:, None] > y))

    expected = stats.bootstrap(
        (ups, downs), area, method="percentile", vectorized=False, n_resamples=5000, rng=1
    ).confidence_interval
    assert (found.auc_low, found.auc_high) == pytest.approx(tuple(expected), abs=0.02)
    assert found.auc_low < found.auc < found.auc_high
    assert found.lroc_area_low < found.lroc_area < found.lroc_area_high


def test_parted_targets_never_give_a_point_interval(audited: Audited) -> None:
    summaries = [
        *(audited(f"g{i}", right=True, confidence=0.9) for i in range(6)),
        *(audited(f"c{i}", "decoy", confidence=0.1) for i in range(4)),
    ]
    found = detection(summaries)
    assert found is not None
    assert (found.auc, found.lroc_area) == (1, 1)
    assert (found.auc_low, found.auc_high) == clopper_pearson_interval(4, 4)


def test_one_sided_trials_have_no_curve(audited: Audited) -> None:
    assert detection([]) is None
    assert detection([audited("g", confidence=0.5)]) is None
    assert detection([audited("g", confidence=0.5), audited("c", "clean")]) is None
    for figure in (roc, auc, lroc_area):
        with pytest.raises(ValueError, match="guilty targets and innocent"):
            figure([Signal("g", 0.5, guilty=True, right=True)])


def test_the_record_is_json_and_a_function_of_trials_and_seed(audited: Audited) -> None:
    summaries = [
        audited(f"t{i}", "guilty" if i % 2 else "clean", right=i % 3 == 0, confidence=i % 7 / 7)
        for i in range(40)
    ]
    found = detection(summaries)
    assert found is not None
    assert found == detection(iter(summaries))
    assert found == Detection.model_validate_json(found.model_dump_json())
    assert [at.level for at in found.levels] == [0.01, 0.05]
    assert [at.resolved for at in found.levels] == [False, True]
    other = detection(summaries, seed=1, levels=[0.5])
    assert other is not None
    assert other.auc == found.auc
    assert other.auc_low != found.auc_low
