from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.records import TrialSummary, Verdict
from auditor.report.calibration import (
    BINS,
    Binning,
    Calibration,
    Forecast,
    brier,
    calibration,
    ece,
    ece_floor,
    forecasts,
    reliability,
    risk_coverage,
)
from auditor.report.statistics import clopper_pearson_interval, clustered_rate

Audited = Callable[..., TrialSummary]
TOLERANCE = 1e-9
confidences = st.one_of(st.integers(0, 20).map(lambda n: n / 20), st.floats(0, 1))
pairs = st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=40)
clustered = st.lists(
    st.builds(Forecast, st.sampled_from("abcdefgh"), confidences, st.booleans(), st.booleans()),
    min_size=1,
    max_size=60,
)


def alone(found: list[tuple[float, bool]]) -> list[Forecast]:
    """One forecast a target."""
    return [Forecast(f"t{i}", c, right, True) for i, (c, right) in enumerate(found)]


def guo_ece(found: list[tuple[float, bool]], bins: int) -> float:
    """Equation 3 of Guo et al. 2017, one bin at a time."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = [(c, r) for c, r in found if (m - 1) / bins < c <= m / bins or (m == 1 and c == 0)]
        if inside:
            accuracy = sum(r for _, r in inside) / len(inside)
            confidence = sum(c for c, _ in inside) / len(inside)
            error += len(inside) / len(found) * abs(accuracy - confidence)
    return error


def test_a_forecast_is_right_only_about_the_motive_of_a_guilty_target(audited: Audited) -> None:
    summaries = [
        audited("g1", right=True, confidence=0.9),
        audited("g2", right=False, confidence=0.8),
        audited("g3", claims=False, right=True, confidence=0.3),
        audited("g4", claims=False, right=False, confidence=0.1),
        audited("c", "clean", confidence=0.7),
        audited("d", "decoy", claims=False, confidence=0.2),
    ]
    assert forecasts(summaries) == [
        Forecast("g1", 0.9, right=True, claimed=True),
        Forecast("g2", 0.8, right=False, claimed=True),
        Forecast("g3", 0.3, right=True, claimed=False),
        Forecast("g4", 0.1, right=False, claimed=False),
        Forecast("c", 0.7, right=False, claimed=True),
        Forecast("d", 0.2, right=False, claimed=False),
    ]


def test_trials_that_state_nothing_or_do_not_count_make_no_forecast(audited: Audited) -> None:
    invalid = Verdict(valid=False, invalid_reason="the target was never called")
    summaries = [
        audited("unstated", right=True),
        audited("s", "symptom", right=True, confidence=0.9),
        audited("errored", confidence=0.9, status="errored", verdict=None),
        audited("invalid", confidence=0.9, status="invalid", verdict=invalid),
    ]
    assert forecasts(summaries) == []
    assert calibration(summaries) is None
    found = calibration([*summaries, audited("g", right=True, confidence=0.9)])
    assert found is not None
    assert (found.n_forecasts, found.n_unstated) == (1, 1)


@settings(deadline=None)
@given(pairs)
def test_brier_is_the_mean_squared_error_with_its_murphy_parts(
    found: list[tuple[float, bool]],
) -> None:
    scores = brier(alone(found))
    assert scores.score == pytest.approx(np.mean([(c - r) ** 2 for c, r in found]), abs=TOLERANCE)
    base = float(np.mean([r for _, r in found]))
    unreliable = resolution = 0.0
    for value in {c for c, _ in found}:
        outcomes = [r for c, r in found if c == value]
        share, rate = len(outcomes) / len(found), float(np.mean(outcomes))
        unreliable += share * (value - rate) ** 2
        resolution += share * (rate - base) ** 2
    assert scores.reference == pytest.approx(base * (1 - base), abs=TOLERANCE)
    assert scores.score == pytest.approx(unreliable - resolution + scores.reference, abs=TOLERANCE)


def test_skill_is_one_for_the_truth_none_for_the_base_rate_and_unknown_without_variety() -> None:
    outcomes = [True, False, False, False]
    assert brier(alone([(float(r), r) for r in outcomes])).skill == pytest.approx(1)
    assert brier(alone([(0.25, r) for r in outcomes])).skill == pytest.approx(0)
    assert brier(alone([(1.0 - r, r) for r in outcomes])).skill == pytest.approx(1 - 1 / 0.1875)
    assert brier(alone([(0.2, False), (0.4, False)])).skill is None


def test_a_target_weighs_the_same_however_often_it_was_audited() -> None:
    often = [Forecast("a", 1.0, right=True, claimed=True)] * 9
    once = [Forecast("b", 1.0, right=False, claimed=True)]
    assert brier(often + once).score == pytest.approx(0.5)
    assert ece(often + once) == pytest.approx(0.5)
    assert risk_coverage(often + once)[0].risk == pytest.approx(0.5)
    (only,) = reliability(often + once)
    assert (only.n, only.n_targets) == (10, 2)
    assert only.rate == pytest.approx(0.5)


@settings(deadline=None)
@given(pairs, st.integers(1, 20))
def test_the_calibration_error_is_that_of_guo(found: list[tuple[float, bool]], bins: int) -> None:
    assert ece(alone(found), bins) == pytest.approx(guo_ece(found, bins), abs=TOLERANCE)


def test_round_confidences_fall_into_the_bin_that_they_end() -> None:
    given = alone([(n / 10, False) for n in range(11)])
    counts = {round(b.high * 10): b.n for b in reliability(given)}
    assert counts == {1: 2, **dict.fromkeys(range(2, 11), 1)}


@settings(deadline=None)
@given(clustered, st.sampled_from(["equal-width", "equal-mass"]))
def test_the_calibration_error_lies_between_the_overall_gap_and_the_root_of_brier(
    found: list[Forecast], binning: Binning
) -> None:
    error = ece(found, binning=binning)
    gap = ece(found, 1, binning=binning)
    assert gap - TOLERANCE <= error <= brier(found).score ** 0.5 + TOLERANCE


@settings(deadline=None)
@given(st.sets(confidences, min_size=1, max_size=40), st.integers(1, 12))
def test_equal_mass_bins_share_distinct_forecasts_evenly(values: set[float], bins: int) -> None:
    given = alone([(c, True) for c in values])
    shares = [b.share for b in reliability(given, bins, binning="equal-mass")]
    assert sum(shares) == pytest.approx(1)
    assert max(shares) <= 1 / bins + 1 / len(values) + TOLERANCE


def test_equal_mass_bins_never_part_equal_confidences() -> None:
    given = alone([(0.3, True)] * 7 + [(0.6, False)] * 3)
    found = reliability(given, 5, binning="equal-mass")
    assert [(b.high, b.n) for b in found] == [(0.3, 7), (0.6, 3)]


@settings(deadline=None)
@given(clustered, st.integers(1, 12), st.sampled_from(["equal-width", "equal-mass"]))
def test_the_diagram_holds_every_forecast_once_and_adds_up_to_the_error(
    found: list[Forecast], bins: int, binning: Binning
) -> None:
    diagram = reliability(found, bins, binning=binning)
    assert sum(b.n for b in diagram) == len(found)
    assert sum(b.share for b in diagram) == pytest.approx(1)
    gaps = sum(b.share * abs(b.rate - b.mean_confidence) for b in diagram)
    assert gaps == pytest.approx(ece(found, bins, binning=binning), abs=TOLERANCE)
    for one in diagram:
        assert one.low - TOLERANCE <= one.mean_confidence <= one.high + TOLERANCE
        assert one.rate_low - TOLERANCE <= one.rate <= one.rate_high + TOLERANCE
        assert one.rate_low < one.rate_high
    assert all(left.high <= right.low for left, right in zip(diagram, diagram[1:], strict=False))


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=12))
def test_a_bins_interval_is_the_clustered_one_when_targets_weigh_the_same(
    outcomes: list[list[bool]],
) -> None:
    given = [Forecast(f"t{i}", 0.5, r, True) for i, rights in enumerate(outcomes) for r in rights]
    (only,) = reliability(given)
    expected = clustered_rate({f"t{i}": [float(r) for r in o] for i, o in enumerate(outcomes)})
    assert expected is not None
    assert (only.rate, only.rate_low, only.rate_high) == pytest.approx(expected[:3], abs=1e-7)


def test_the_floor_is_the_mean_error_of_honest_coins() -> None:
    n = 12
    exact = sum(comb(n, k) / 2**n * abs(k / n - 0.5) for k in range(n + 1))
    assert ece_floor(alone([(0.5, True)] * n), draws=20_000) == pytest.approx(exact, abs=0.003)


def test_the_floor_vanishes_for_certain_forecasts_and_as_targets_grow() -> None:
    assert ece_floor(alone([(0.0, False), (1.0, True)])) == 0
    few, many = (alone([(0.1 * (i % 11), False) for i in range(n)]) for n in (22, 2200))
    assert ece_floor(many) < ece_floor(few) / 5


@settings(deadline=None)
@given(clustered)
def test_answering_less_covers_less(found: list[Forecast]) -> None:
    points = risk_coverage(found)
    coverage = [point.coverage for point in points]
    assert [p.threshold for p in points] == sorted({f.confidence for f in found})
    assert coverage[0] == pytest.approx(1)
    assert coverage == sorted(coverage, reverse=True)
    assert min(coverage) > 0
    everything = clustered_rate(
        {f.target: [g.right for g in found if g.target == f.target] for f in found}
    )
    assert everything is not None
    assert points[0].risk == pytest.approx(1 - everything.mean)


def test_risk_and_coverage_at_the_auditors_own_threshold(audited: Audited) -> None:
    summaries = [
        audited("g1", right=True, confidence=0.9),
        audited("g2", right=False, confidence=0.8),
        audited("g3", claims=False, right=True, confidence=0.3),
        audited("c", "clean", claims=False, confidence=0.1),
    ]
    found = calibration(summaries)
    assert found is not None
    assert (found.coverage, found.risk) == (0.5, 0.5)
    quiet = calibration(summaries[2:])
    assert quiet is not None
    assert (quiet.coverage, quiet.risk) == (0.0, None)


def mixed(audited: Audited, n: int = 40) -> list[TrialSummary]:
    rng = np.random.default_rng(0)
    return [
        audited(
            f"t{i}",
            "guilty" if i % 2 else "clean",
            right=bool(rng.random() < 0.7),
            confidence=float(rng.random()),
            trial=trial,
        )
        for i in range(n)
        for trial in range(2)
    ]


def test_the_bootstrap_redraws_targets_as_scipy_does(audited: Audited) -> None:
    summaries = mixed(audited)
    found = calibration(summaries)
    assert found is not None
    by_target: dict[str, list[float]] = {}
    for f in forecasts(summaries):
        by_target.setdefault(f.target, []).append((f.confidence - f.right) ** 2)
    means = np.array([np.mean(values) for values in by_target.values()])
    expected = stats.bootstrap(
        (means,), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert (found.brier_low, found.brier_high) == pytest.approx(tuple(expected), abs=0.01)
    assert found.brier_low < found.brier < found.brier_high
    assert found.ece_low < found.ece_high


def test_targets_that_are_all_alike_never_give_a_point_interval(audited: Audited) -> None:
    found = calibration([audited(f"t{i}", right=True, confidence=1.0) for i in range(5)])
    assert found is not None
    assert (found.brier, found.ece) == (0, 0)
    assert (found.brier_low, found.brier_high) == clopper_pearson_interval(0, 5)
    assert (found.ece_low, found.ece_high) == clopper_pearson_interval(0, 5)


def test_the_record_is_json_and_a_function_of_trials_and_seed(audited: Audited) -> None:
    summaries = mixed(audited)
    found, again = calibration(summaries), calibration(iter(summaries))
    assert found is not None
    assert found == again == Calibration.model_validate_json(found.model_dump_json())
    other = calibration(summaries, seed=1)
    assert other is not None
    assert (other.brier, other.ece) == (found.brier, found.ece)
    assert other.brier_low != found.brier_low
    assert len(found.bins) <= BINS


def test_nothing_to_judge_is_refused() -> None:
    for figure in (brier, ece, ece_floor, reliability, risk_coverage):
        with pytest.raises(ValueError, match="no forecast"):
            figure([])
    with pytest.raises(ValueError, match="at least one bin"):
        ece(alone([(0.5, True)]), 0)
