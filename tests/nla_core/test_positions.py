"""Position policies."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nla_core import positions
from nla_core.positions import Turn

TURNS = [
    Turn(role="system", start=1, content_start=3, end=6),
    Turn(role="user", start=6, content_start=8, end=12),
    Turn(role="assistant", start=12, content_start=14, end=20),
    Turn(role="user", start=20, content_start=22, end=25),
    Turn(role="assistant", start=25, content_start=27, end=27),
]


def test_the_assistant_header_ends_just_before_each_reply() -> None:
    assert positions.assistant_header(TURNS) == [13, 26]
    assert positions.assistant_header(TURNS, role="model") == []


def test_turn_ends_pass_over_turns_without_content() -> None:
    assert positions.turn_ends(TURNS) == [5, 11, 19, 24]
    assert positions.turn_ends(TURNS, role="assistant") == [19]


def test_the_last_token_is_the_last_eligible_one() -> None:
    assert positions.last_token(4) == [3]
    assert positions.last_token(4, eligible=[True, True, False, False]) == [1]
    assert positions.last_token(0) == []


def test_every_token_honours_the_mask_and_the_first_position() -> None:
    assert positions.every_token(4, eligible=[True, False, True, True], first=1) == [2, 3]
    with pytest.raises(ValueError, match="as many flags"):
        positions.every_token(3, eligible=[True])


@given(st.integers(0, 60), st.integers(0, 70), st.integers(0, 99), st.integers(0, 20), st.data())
def test_random_positions_are_distinct_eligible_and_repeatable(
    n: int, k: int, seed: int, first: int, data: st.DataObject
) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    found = positions.random_k(n, k, seed=seed, eligible=mask, first=first)
    allowed = positions.every_token(n, eligible=mask, first=first)
    assert found == positions.random_k(n, k, seed=seed, eligible=mask, first=first)
    assert found == sorted(set(found))
    assert set(found) <= set(allowed)
    assert len(found) == min(k, len(allowed))


def test_random_positions_depend_on_the_seed() -> None:
    assert len({tuple(positions.random_k(100, 5, seed=s)) for s in range(20)}) > 15


def test_the_highest_divergences_are_chosen_with_ties_to_the_earlier() -> None:
    values = [0.1, 0.9, 0.5, 0.9, 0.0]
    assert positions.highest_divergence(values, 2) == [1, 3]
    assert positions.highest_divergence(torch.tensor(values), 1) == [1]
    mask = [True, False, True, True, True]
    assert positions.highest_divergence(values, 2, eligible=mask) == [2, 3]
    with pytest.raises(ValueError, match="position 1 is not a number"):
        positions.highest_divergence([0.1, float("nan")], 1)


def test_unknown_scores_are_neither_worst_nor_best() -> None:
    scores = [0.5, None, -2.0, 0.9, float("nan")]
    assert positions.worst_reconstructed(scores, 1) == [2]
    assert positions.best_reconstructed(scores, 2) == [0, 3]
    assert positions.worst_reconstructed(scores, 9) == [0, 2, 3]
    with pytest.raises(ValueError, match="0 or more"):
        positions.best_reconstructed(scores, -1)


def test_the_divergence_is_in_nats_and_knows_impossible_tokens() -> None:
    target = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]).log()
    baseline = torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]).log()
    found = positions.kl_divergence(target, baseline).tolist()
    assert found == pytest.approx([math.log(2), 0])
    assert positions.kl_divergence(baseline, target)[0] == math.inf
    with pytest.raises(ValueError, match="shapes differ"):
        positions.kl_divergence(target, baseline[:1])


def test_a_turn_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="start < content_start"):
        Turn(role="user", start=3, content_start=3, end=5)
