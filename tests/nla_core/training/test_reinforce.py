"""The game between verbalizer and reconstructor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.sampling import Generation
from nla_core.training.config import Reinforce, Schedule
from nla_core.training.dataset import Dataset, Rows
from nla_core.training.network import InjectedModel
from nla_core.training.progress import read_metrics
from nla_core.training.reinforce import Reinforcement, Rollout, _explanation, reinforce

CONFIG = Reinforce(
    schedule=Schedule(steps=4, batch_size=2, lr=0.002, warmup=0, save_every=2, log_every=1),
    ar_lr=0.003,
    group_size=4,
    max_tokens=8,
    evaluate_every=3,
    evaluate_rows=3,
)
Make = Callable[..., Reinforcement]


@pytest.fixture
def game(small: Any) -> Make:
    def make(**changes: Any) -> Reinforcement:
        config = CONFIG.model_copy(update=changes)
        return Reinforcement(
            small.new_verbalizer(), small.new_reconstructor(), config, small.baseline, seed=3
        )

    return make


@pytest.fixture
def data(small: Any) -> Dataset:
    return Dataset.of(small.activations, "rl")


@pytest.fixture
def rows(data: Dataset) -> Rows:
    return data.rows(0, 2)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def logprobs(game: Reinforcement, rollout: Rollout) -> torch.Tensor:
    with torch.no_grad():
        return game.policy(rollout.vectors, rollout.texts).sum(1)


def spoken(rollout: Rollout, texts: list[str | None]) -> Rollout:
    """Put explanations into the mouth of a model that has learned none."""
    return replace(rollout, explanations=texts)


def test_a_rollout_has_a_group_of_texts_for_each_activation(game: Make, rows: Rows) -> None:
    rollout = game().rollout(rows, step=0)
    assert torch.equal(rollout.vectors, rows.vectors.repeat_interleave(4, 0))
    assert rollout.contexts == [t for t in rows.columns["detokenized_text_truncated"] for _ in range(4)]  # fmt: skip
    texts = [tuple(ids[mask].tolist()) for ids, mask in zip(rollout.texts.ids, rollout.texts.mask, strict=True)]  # fmt: skip
    assert len(texts) == 8
    assert len(set(texts)) > 6


def test_texts_follow_from_seed_and_step(game: Make, rows: Rows) -> None:
    first, again, later = (game().rollout(rows, step=step).texts.ids for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.tolist() != later.tolist()


def test_a_text_at_the_cap_has_failed_even_when_its_tag_is_closed() -> None:
    said = "<explanation> topic bread. </explanation>"
    assert _explanation(Generation(text=said, token_ids=(1,), finish="stop")) == "topic bread."
    assert _explanation(Generation(text=said, token_ids=(1,), finish="length")) is None
    assert _explanation(Generation(text="topic bread.", token_ids=(1,), finish="stop")) is None


def test_a_stop_token_that_ends_a_text_is_scored_with_it(game: Make, rows: Rows) -> None:
    played = game()
    (stop,) = played.verbalizer.stop_ids
    rollouts = [played.rollout(played_rows, step) for step in range(6) for played_rows in (rows,)]
    ends = []
    for rollout in rollouts:
        for ids, mask in zip(rollout.texts.ids, rollout.texts.mask, strict=True):
            tokens = ids[mask].tolist()
            assert stop not in tokens[:-1]
            assert len(tokens) <= 9
            if len(tokens) < 8:
                assert tokens[-1] == stop
            ends.append(tokens[-1] == stop)
    assert not all(ends)


def test_a_step_makes_rewarded_texts_likelier_and_the_others_rarer(game: Make, rows: Rows) -> None:
    played = game(kl_coef=0.0)
    rollout = played.rollout(rows, step=0)
    rewards = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, -3.0])
    before = logprobs(played, rollout)
    for _ in range(3):
        played._teach_verbalizer(rollout, rewards, step=0)
    change = logprobs(played, rollout) - before
    assert change[0] == change[:4].max() > 0
    assert change[7] == change[4:].min() < 0


def test_equal_rewards_teach_nothing_at_the_warm_start(game: Make, rows: Rows) -> None:
    played = game(kl_coef=1.0)
    rollout = played.rollout(rows, step=0)
    figures = played._teach_verbalizer(rollout, torch.full((8,), -1.0), step=0)
    # The estimate of the divergence is at its least where both models are equal.
    assert figures["kl"] == pytest.approx(0, abs=1e-6)
    assert figures["av_grad_norm"] == pytest.approx(0, abs=1e-4)


def test_the_divergence_pulls_the_verbalizer_back(game: Make, rows: Rows) -> None:
    played = game(kl_coef=1.0)
    rollout = played.rollout(rows, step=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in played.policy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    equal = torch.zeros(8)
    found = [played._teach_verbalizer(rollout, equal, step=0)["kl"] for _ in range(8)]
    assert found[0] > 1e-4
    assert found[-1] < found[0]


def test_the_anchor_does_not_move(game: Make, rows: Rows) -> None:
    played = game()
    anchor, policy = weights(played.anchor), weights(played.policy)
    rollout = played.rollout(rows, step=0)
    played._teach_verbalizer(rollout, torch.arange(8.0), step=0)
    assert torch.equal(weights(played.anchor), anchor)
    assert not torch.equal(weights(played.policy), policy)


def test_the_reconstructor_learns_from_texts_that_have_an_explanation_only(
    game: Make, rows: Rows
) -> None:
    played = game()
    before = weights(played.reconstructor.network)
    silent = spoken(played.rollout(rows, step=0), [None] * 8)
    errors, norm, _ = played._teach_reconstructor(silent, step=0)
    assert norm == 0
    assert not errors.any()
    assert torch.equal(weights(played.reconstructor.network), before)

    said: list[str | None] = ["topic bread.", None, "topic soup.", None] * 2
    talking = spoken(silent, said)
    first, norm, wrong = played._teach_reconstructor(talking, step=0)
    assert wrong is None
    assert norm > 0
    assert (first > 0).tolist() == [True, False] * 4
    for _ in range(20):
        last, _, _ = played._teach_reconstructor(talking, step=0)
    assert last.sum() < 0.8 * first.sum()


def test_the_reward_is_computed_before_the_reconstructor_learns(game: Make, rows: Rows) -> None:
    played = game()
    talking = spoken(played.rollout(rows, step=0), ["topic bread."] * 8)
    with torch.no_grad():
        predicted = played.reconstructor.reconstruct(["topic bread."] * 8)
    cosines = torch.nn.functional.cosine_similarity(predicted, talking.vectors)
    errors, _, _ = played._teach_reconstructor(talking, step=0)
    assert torch.allclose(errors, 2 - 2 * cosines, atol=1e-5)


def test_the_contrastive_error_is_against_another_activation(game: Make, rows: Rows) -> None:
    played = game(contrastive=1.0)
    talking = spoken(played.rollout(rows, step=0), ["topic bread."] * 8)
    own, _, wrong = played._teach_reconstructor(talking, step=0)
    assert wrong is not None
    # One text for all: the other row's error is that of the other activation.
    assert torch.allclose(wrong, own.roll(4), atol=1e-5)


def test_a_step_logs_what_it_did(game: Make, rows: Rows) -> None:
    figures = game().step(rows, step=0)
    assert figures["failed"] == 1
    assert figures["reward"] == -2
    assert figures["fve"] != figures["fve"], "nothing was explained"
    assert 0 < figures["tokens"] <= 9
    assert figures["surprise"] > 0


class Killed(Exception):
    pass


def test_reinforcement_that_was_stopped_ends_as_one_that_was_not(
    small: Any, game: Make, data: Dataset, tmp_path: Path
) -> None:
    held_out = Dataset.of(small.activations, "heldout")

    def stop_at(step: int) -> Any:
        def on_step(done: int, value: float) -> None:
            if done == step:
                raise Killed

        return on_step

    one = game()
    reinforce(one, data, held_out, tmp_path / "a")
    for kill in (1, 3):
        with pytest.raises(Killed):
            reinforce(game(), data, held_out, tmp_path / "b", on_step=stop_at(kill))
    resumed = game()
    reinforce(resumed, data, held_out, tmp_path / "b")
    assert torch.allclose(weights(resumed.policy), weights(one.policy), atol=1e-6)
    assert torch.equal(weights(InjectedModel(resumed.verbalizer)), weights(resumed.policy))
    for name, steps in (("metrics", [1, 2, 3, 4]), ("evaluations", [0, 3, 4])):
        first, second = (read_metrics(tmp_path / run / f"{name}.jsonl") for run in "ab")
        assert [row["step"] for row in second] == steps
        for before, after in zip(first, second, strict=True):
            for key in before.keys() - {"seconds"}:
                assert after[key] == pytest.approx(before[key], abs=1e-5, nan_ok=True)
