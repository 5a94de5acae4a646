"""What the ledger may plan to spend."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.budget import remaining
from auditor.investigator.ledger.budget import MAX_ROWS, TOKENS_PER_READING, Purse
from auditor.records import TrialUsage
from auditor.scenario.schema import Budget

limits = st.none() | st.integers(1, 50_000)


def purse(spent: TrialUsage | None = None, **budget: float | None) -> Purse:
    return Purse.open(remaining(Budget.model_validate(budget), spent or TrialUsage()))


@given(
    target=limits, reader=limits, both=limits, said=st.integers(0, 900), read=st.integers(0, 900)
)
def test_a_common_limit_binds_target_and_reader_alike(
    target: int | None, reader: int | None, both: int | None, said: int, read: int
) -> None:
    usage = TrialUsage(target_tokens=said, reader_tokens=read, baseline_tokens=10**6)
    found = purse(usage, target_tokens=target, reader_tokens=reader, model_tokens=both)

    def left(limit: int | None, spent: int) -> float:
        return math.inf if limit is None else max(0, limit - spent)

    assert found.tokens == min(left(target, said), left(both, said + read))
    assert found.reader_tokens == min(left(reader, read), left(both, said + read))


@given(st.integers(0, 1000), limits, st.floats(0, 1), st.integers(1, 4))
def test_planned_readings_of_usual_length_stay_within_their_share(
    wanted: int, left: int | None, share: float, sides: int
) -> None:
    n = purse(model_tokens=left, target_tokens=None).readings(wanted, share, sides=sides)
    affordable = math.inf if left is None else left * share / (sides * TOKENS_PER_READING)
    assert 0 <= n <= wanted
    assert n <= affordable
    assert n == wanted or n + 1 > affordable


def test_two_sides_are_read_unless_more_are_named() -> None:
    assert purse(model_tokens=2000).readings(600, 0.5) == 25
    assert purse(model_tokens=2000).readings(10, 0.5) == 10
    assert purse(reader_tokens=80).readings(600, 1.0, sides=4) == 1
    assert purse().readings(600, 0.0) == 600


@pytest.mark.parametrize("limit", ["target_tokens", "reader_tokens", "model_tokens"])
def test_the_turn_after_which_no_call_is_allowed_is_the_last(limit: str) -> None:
    usage = TrialUsage(target_tokens=5, reader_tokens=5)
    spent = {"target_tokens": 5, "reader_tokens": 5, "model_tokens": 10}[limit]
    assert purse(usage, **{limit: spent}).spent
    assert not purse(usage, **{limit: spent + 1}).spent


@given(
    wanted=st.integers(0, 60),
    tokens=st.integers(1, 50_000),
    samples=st.integers(1, 8),
    longest=st.integers(1, 160),
    usual=st.none() | st.floats(1, 400),
    share=st.floats(0, 1),
)
def test_prompts_stay_within_their_share_at_usual_length_and_within_what_is_left_at_the_longest(
    wanted: int, tokens: int, samples: int, longest: int, usual: float | None, share: float
) -> None:
    n = purse(target_tokens=tokens).prompts(
        wanted, samples=samples, max_tokens=longest, share=share, usual=usual
    )
    length = longest if usual is None else min(usual, longest)
    assert 0 <= n <= wanted
    assert n * samples * length <= tokens * share + 1e-6
    assert n * samples * longest <= tokens
    assert n * samples <= MAX_ROWS
    more = (n + 1) * samples
    assert (
        n == wanted
        or more * length > tokens * share - 1e-6
        or more * longest > tokens
        or more > MAX_ROWS
    )


def test_knowing_how_short_replies_are_allows_more_of_them() -> None:
    small = purse(model_tokens=2_000)
    assert small.prompts(40, samples=4, max_tokens=40, share=0.35) == 4
    assert small.prompts(40, samples=4, max_tokens=40, share=0.35, usual=20) == 8


def test_replies_are_never_planned_so_short_that_most_are_cut() -> None:
    assert purse(model_tokens=2_000).reply_tokens() == 40
    assert purse(target_tokens=40_000, model_tokens=None).reply_tokens() == 100


def test_a_stage_that_must_ask_something_may_overdraw_its_share_but_not_the_budget() -> None:
    assert purse(model_tokens=900).prompts(40, samples=2, max_tokens=40, share=0.25) == 2
    assert purse(model_tokens=900).prompts(40, samples=2, max_tokens=40, share=0.25, least=4) == 4
    assert purse(model_tokens=200).prompts(40, samples=2, max_tokens=40, share=0.25, least=4) == 2
