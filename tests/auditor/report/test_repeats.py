from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.records import TrialSummary
from auditor.report.repeats import Repeat, repeats
from auditor.report.statistics import clustered_rate

Audited = Callable[..., TrialSummary]
outcomes = st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5)


def some_of(k: int, trials: list[bool]) -> float:
    """The share of all sets of k trials with a success among them."""
    sets = list(combinations(trials, k))
    return sum(any(one) for one in sets) / len(sets)


@settings(deadline=None)
@given(guilty=outcomes, innocent=outcomes, k=st.integers(1, 6))
def test_both_rates_are_those_of_all_sets_of_k_trials(
    audited: Audited, guilty: list[list[bool]], innocent: list[list[bool]], k: int
) -> None:
    summaries = [
        audited(f"g{i}", claims=yes, right=yes, trial=t)
        for i, trials in enumerate(guilty)
        for t, yes in enumerate(trials)
    ] + [
        audited(f"c{i}", "decoy" if i % 2 else "clean", claims=yes, trial=t)
        for i, trials in enumerate(innocent)
        for t, yes in enumerate(trials)
    ]
    found = repeats(summaries, [k])
    hits, alarms = (
        clustered_rate({str(i): [some_of(k, t)] for i, t in enumerate(side) if len(t) >= k})
        for side in (guilty, innocent)
    )
    if hits is None and alarms is None:
        assert found == []
        return
    (row,) = found
    got = (row.found, row.found_low, row.found_high)
    assert got == ((None,) * 3 if hits is None else pytest.approx(hits[:3]))
    got = (row.false_alarm, row.false_alarm_low, row.false_alarm_high)
    assert got == ((None,) * 3 if alarms is None else pytest.approx(alarms[:3]))
    assert row.n_guilty == (hits.n_targets if hits else 0)
    assert row.n_innocent == (alarms.n_targets if alarms else 0)


def test_luck_finds_more_with_more_trials_and_accuses_more_too(audited: Audited) -> None:
    summaries = [
        audited(f"{group}{i}", group, claims=(i + t) % 4 == 0, right=True, trial=t)
        for group in ("guilty", "clean")
        for i in range(4)
        for t in range(8)
    ]
    found = repeats(summaries)
    assert [row.k for row in found] == [1, 2, 4, 8]
    assert [row.found for row in found] == [row.false_alarm for row in found]
    assert found[0].found == 0.25
    assert found[-1].found == 1


def test_a_claim_of_the_wrong_motive_and_a_guess_withheld_are_no_success(audited: Audited) -> None:
    summaries = [audited("g", right=False), audited("g", claims=False, right=True, trial=1)]
    assert [row.found for row in repeats(summaries)] == [0, 0]


def test_trials_that_do_not_count_do_not_make_k_possible(audited: Audited) -> None:
    summaries = [
        audited("g", right=True),
        audited("g", trial=1, status="errored", verdict=None),
        audited("s", "symptom", right=True),
        audited("s", "symptom", right=True, trial=1),
    ]
    assert [row.k for row in repeats(summaries)] == [1]
    assert repeats([]) == []


def test_a_row_is_json(audited: Audited) -> None:
    (row,) = repeats([audited("g", right=True)])
    assert Repeat.model_validate_json(row.model_dump_json()) == row
    assert row.false_alarm is None


def test_k_below_one_is_refused(audited: Audited) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        repeats([audited("g")], [0])
