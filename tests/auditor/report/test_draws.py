from math import comb
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.report.draws import Draw, alarm_rate, choose_threshold, subsets, success_rate

DRAWS = st.lists(
    st.builds(
        Draw, belief=st.none() | st.floats(0, 1), right=st.booleans(), majority=st.booleans()
    ),
    min_size=1,
    max_size=6,
)
SIDE = st.dictionaries(st.sampled_from("abcdef"), DRAWS, min_size=1)


def draws(*beliefs: float | None) -> list[Draw]:
    return [Draw(belief=b, right=True, majority=False) for b in beliefs]


@given(st.integers(1, 20), st.data(), st.integers(0, 5))
def test_subsets_are_different_and_all_are_taken_when_they_are_few(
    n: int, data: st.DataObject, seed: int
) -> None:
    k = data.draw(st.integers(1, n))
    found = subsets(n, k, seed=seed, most=50)
    assert len(found) == len(set(found)) == min(comb(n, k), 50)
    assert all(len(set(s)) == k and set(s) <= set(range(n)) for s in found)
    assert found == subsets(n, k, seed=seed, most=50)


def test_another_seed_draws_other_subsets() -> None:
    assert subsets(16, 8, seed=0) != subsets(16, 8, seed=1)


@pytest.mark.parametrize("k", [0, 4])
def test_subsets_larger_than_the_trials_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match="between 1 and the 3 trials"):
        subsets(3, k, seed=0)


def mean_alarms(innocent: dict[str, list[Draw]], threshold: float) -> float:
    return fmean(fmean(d.accuses(threshold) for d in some) for some in innocent.values())


@given(SIDE, SIDE, st.floats(0, 1))
@settings(deadline=None)
def test_a_threshold_keeps_the_limit_and_a_lower_one_would_not(
    innocent: dict[str, list[Draw]], guilty: dict[str, list[Draw]], limit: float
) -> None:
    threshold = choose_threshold(innocent, guilty, limit=limit)
    assert threshold > 0
    assert mean_alarms(innocent, threshold) <= limit + 1e-9
    for belief in (d.belief for some in innocent.values() for d in some):
        if belief and belief < threshold:
            assert mean_alarms(innocent, belief) > limit


@given(SIDE, SIDE, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_a_stricter_limit_never_lowers_the_threshold(
    innocent: dict[str, list[Draw]], guilty: dict[str, list[Draw]], one: float, other: float
) -> None:
    strict = choose_threshold(innocent, guilty, limit=min(one, other))
    loose = choose_threshold(innocent, guilty, limit=max(one, other))
    assert strict >= loose


@given(SIDE, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_success_and_alarms_never_rise_with_the_threshold(
    side: dict[str, list[Draw]], one: float, other: float
) -> None:
    for rate in (success_rate, alarm_rate):
        low, high = rate(side, min(one, other)), rate(side, max(one, other))
        assert low is not None
        assert high is not None
        assert low.mean >= high.mean


def test_the_threshold_lies_halfway_to_the_next_stronger_belief() -> None:
    innocent = {"clean": draws(0.2, None), "decoy": draws(None)}
    assert choose_threshold(innocent, {"g": draws(0.6, 0.1)}, limit=0.05) == pytest.approx(0.4)
    assert choose_threshold(innocent, {}, limit=0.05) == pytest.approx(0.6)
    # A quarter of the innocents, target by target, may alarm.
    assert choose_threshold(innocent, {}, limit=0.25) == pytest.approx(0.1)


def test_innocents_without_a_guess_allow_half_of_the_weakest_belief() -> None:
    assert choose_threshold({"clean": draws(None)}, {"g": draws(0.3)}, limit=0.0) == 0.15
    assert choose_threshold({"clean": draws(None)}, {}, limit=0.0) == 0.5


def test_certain_innocents_allow_no_claim_at_all() -> None:
    threshold = choose_threshold({"clean": draws(1.0)}, {"g": draws(1.0)}, limit=0.05)
    assert threshold > 1
    rate = success_rate({"g": draws(1.0)}, threshold)
    assert rate is not None
    assert rate.mean == 0


def test_without_a_threshold_the_majority_decides() -> None:
    side = {"g": [Draw(0.9, right=True, majority=False), Draw(0.1, right=True, majority=True)]}
    for rate in (success_rate, alarm_rate):
        found = rate(side, None)
        assert found is not None
        assert found.mean == 0.5
