"""Rewards of explanations."""

import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nla_core.training.config import Reinforce, Schedule
from nla_core.training.reinforce import _k3
from nla_core.training.rewards import (
    copied_share,
    failed_reward,
    fidelity_reward,
    group_advantages,
    shaped,
    truncated,
)

REWARDS = st.integers(-4096, 0).map(lambda steps: steps / 1024)
"""Multiples of 2^-10: means of four of them are exact in float32, so that no rounding error is
blown up by dividing by a tiny deviation."""


def reinforcement(**options: object) -> Reinforce:
    return Reinforce.model_validate({"schedule": Schedule(steps=1)} | options)


def shape(rewards: list[float], config: Reinforce, **given: object) -> list[float]:
    n = len(rewards)
    options: dict = {
        "n_tokens": [1] * n,
        "texts": ["said"] * n,
        "contexts": ["read"] * n,
        "wrong_mse": None,
    } | given
    return shaped(torch.tensor(rewards), config, **options).tolist()


@given(st.lists(st.lists(REWARDS, min_size=4, max_size=4), min_size=1, max_size=6), st.booleans())
def test_advantages_are_relative_to_the_mean_of_their_own_group(
    groups: list[list[float]], by_std: bool
) -> None:
    rewards = torch.tensor(groups)
    found = group_advantages(rewards.flatten(), 4, by_std=by_std).view(-1, 4)
    assert torch.allclose(found.sum(1), torch.zeros(len(groups)), atol=1e-4)
    assert torch.equal(found.argmax(1), (rewards - rewards.mean(1, keepdim=True)).argmax(1))


@given(st.lists(REWARDS, min_size=4, max_size=4))
def test_advantages_without_the_standard_deviation_keep_the_size_of_differences(
    rewards: list[float],
) -> None:
    found = group_advantages(torch.tensor(rewards), 4, by_std=False)
    assert float(found[0] - found[3]) == pytest.approx(rewards[0] - rewards[3], abs=1e-5)


def test_advantages_have_unit_deviation_where_a_group_differs_and_are_zero_where_it_does_not() -> (
    None
):
    found = group_advantages(torch.tensor([-1.0, -0.5, 0.0, -2.0, -2.0, -2.0]), 3, by_std=True)
    assert float(found[:3].std()) == pytest.approx(1, abs=1e-4)
    assert found[3:].tolist() == [0, 0, 0]


def test_the_reward_is_the_negative_error_or_the_negative_logarithm_of_it() -> None:
    errors = torch.tensor([0.5, 2.0, 0.0])
    assert fidelity_reward(errors, "neg_mse").tolist() == [-0.5, -2.0, 0.0]
    logs = fidelity_reward(errors, "neg_log_mse").tolist()
    assert logs == pytest.approx([math.log(2), -math.log(2), -math.log(1e-8)], rel=1e-5)


def test_a_failed_text_earns_what_an_orthogonal_guess_does() -> None:
    assert failed_reward(reinforcement()) == -2
    assert failed_reward(reinforcement(reward="neg_log_mse")) == pytest.approx(-math.log(2))
    assert shape([-0.1, 0.0], reinforcement(), texts=["said", None]) == pytest.approx([-0.1, -2.0])


def test_penalties_do_not_touch_what_a_failed_text_earns() -> None:
    config = reinforcement(length_penalty=0.5, copy_penalty=1.0)
    found = shape([-0.1, -0.1], config, texts=["a b", None], contexts=["a b", "a b"], n_tokens=[3, 9])  # fmt: skip
    assert found == pytest.approx([-0.1 - 1.5 - 1.0, -2.0])


def test_the_contrastive_reward_prefers_texts_that_tell_activations_apart() -> None:
    wrong = torch.tensor([0.3, 1.5])
    # Both texts find their own activation equally well; the first fits another one too.
    vague, telling = shape([-0.3, -0.3], reinforcement(contrastive=0.5), wrong_mse=wrong)
    assert (vague, telling) == (pytest.approx(-0.15), pytest.approx(0.45))
    assert shape([-0.3, -0.3], reinforcement(), wrong_mse=wrong) == pytest.approx([-0.3, -0.3])


def test_the_copied_share_counts_pairs_of_words() -> None:
    assert copied_share("The cat sat here", "and the cat sat down") == pytest.approx(2 / 3)
    assert copied_share("cat the", "the cat") == 0
    assert copied_share("word", "word") == 0
    assert copied_share("", "") == 0


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=8), st.integers(0, 50))
def test_a_truncated_explanation_is_a_prefix_of_at_least_one_word(
    words: list[str], seed: int
) -> None:
    found = truncated(" ".join(words), Random(seed)).split()
    assert found == words[: len(found)]
    assert bool(found) == bool(words)


def test_truncation_reaches_every_length() -> None:
    lengths = {len(truncated("a b c d", Random(seed)).split()) for seed in range(60)}
    assert lengths == {1, 2, 3, 4}


@given(st.floats(-9, 0), st.floats(-9, 0))
def test_the_estimate_of_the_divergence_is_never_negative_and_zero_at_equality(
    own: float, anchor: float
) -> None:
    first, second = torch.tensor([own, anchor], dtype=torch.float64)
    assert float(_k3(first, second)) >= -1e-12
    assert float(_k3(first, first)) == 0
    if abs(own - anchor) > 0.01:
        assert float(_k3(first, second)) > 1e-6


def test_the_mean_of_the_estimate_under_the_policy_is_the_divergence() -> None:
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    anchor = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    expected = float((policy * (policy / anchor).log()).sum())
    assert float((policy * _k3(policy.log(), anchor.log())).sum()) == pytest.approx(expected)
