"""Supervised fine-tuning of both parts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.training.config import Schedule
from nla_core.training.dataset import Dataset
from nla_core.training.network import InjectedModel
from nla_core.training.progress import read_metrics
from nla_core.training.warmstart import (
    responses,
    start_at_mean,
    warm_start_reconstructor,
    warm_start_verbalizer,
)

SCHEDULE = Schedule(steps=12, batch_size=4, lr=0.003, warmup=1, save_every=5, log_every=1)


@pytest.fixture
def av_rows(small: Any) -> Dataset:
    return Dataset.of(small.activations, "av_sft")


@pytest.fixture
def ar_rows(small: Any) -> Dataset:
    return Dataset.of(small.activations, "ar_sft")


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl")]


class Killed(Exception):
    pass


def kill_at(step: int) -> Any:
    def on_step(done: int, loss: float) -> None:
        if done == step:
            raise Killed

    return on_step


def test_the_first_loss_is_the_mean_over_tokens_of_the_responses(
    small: Any, av_rows: Dataset, tmp_path: Path
) -> None:
    verbalizer, rows = small.new_verbalizer(), av_rows.rows(0, 4)
    texts = responses(verbalizer, rows)
    assert len(set(texts.mask.sum(1).tolist())) > 1, "a mean of means would be another number"
    with torch.no_grad():
        logprobs = InjectedModel(verbalizer)(rows.vectors, texts)
    expected = -float(logprobs.sum() / texts.mask.sum())
    warm_start_verbalizer(verbalizer, av_rows, SCHEDULE.model_copy(update={"steps": 1}), tmp_path)
    assert losses(tmp_path) == pytest.approx([expected], abs=1e-5)


def test_responses_are_whole_and_end_with_the_stop_token(small: Any, av_rows: Dataset) -> None:
    verbalizer, rows = small.new_verbalizer(), av_rows.rows(0, 6)
    texts = responses(verbalizer, rows)
    for ids, mask, response in zip(texts.ids, texts.mask, rows.columns["response"], strict=True):
        tokens = ids[mask].tolist()
        assert {tokens[-1]} == verbalizer.stop_ids
        said = verbalizer.tokenizer.decode(tokens[:-1])
        assert "".join(said.split()) == "".join(response.split())


@pytest.mark.parametrize("kill", [4, 7, 11])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    kill: int, small: Any, av_rows: Dataset, tmp_path: Path
) -> None:
    one, other = small.new_verbalizer(), small.new_verbalizer()
    expected = warm_start_verbalizer(one, av_rows, SCHEDULE, tmp_path / "a")
    with pytest.raises(Killed):
        warm_start_verbalizer(other, av_rows, SCHEDULE, tmp_path / "b", on_step=kill_at(kill))
    resumed = small.new_verbalizer()
    found = warm_start_verbalizer(resumed, av_rows, SCHEDULE, tmp_path / "b")
    assert torch.allclose(weights(resumed.model), weights(one.model), atol=1e-6)
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=1e-6)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_training_killed_after_its_last_save_knows_its_loss(
    small: Any, ar_rows: Dataset, tmp_path: Path
) -> None:
    schedule = SCHEDULE.model_copy(update={"save_every": 12})
    reconstructor = small.new_reconstructor()
    expected = warm_start_reconstructor(reconstructor, ar_rows, schedule, tmp_path)
    again = small.new_reconstructor()
    assert warm_start_reconstructor(again, ar_rows, schedule, tmp_path) == pytest.approx(expected)
    assert torch.equal(weights(again.network), weights(reconstructor.network))


def test_both_parts_learn(small: Any, av_rows: Dataset, ar_rows: Dataset, tmp_path: Path) -> None:
    schedule = SCHEDULE.model_copy(update={"steps": 30})
    warm_start_verbalizer(small.new_verbalizer(), av_rows, schedule, tmp_path / "av")
    warm_start_reconstructor(small.new_reconstructor(), ar_rows, schedule, tmp_path / "ar")
    for part in ("av", "ar"):
        found = losses(tmp_path / part)
        assert sum(found[-5:]) < 0.9 * sum(found[:5])


def test_the_control_learns_from_other_rows_vectors(
    small: Any, av_rows: Dataset, tmp_path: Path
) -> None:
    schedule = SCHEDULE.model_copy(update={"steps": 1})
    found = []
    for seed in (None, 1, 1, 2):
        folder = tmp_path / str(len(found))
        verbalizer = small.new_verbalizer()
        warm_start_verbalizer(verbalizer, av_rows, schedule, folder, shuffled=seed is not None, seed=seed or 0)  # fmt: skip
        found.append(losses(folder)[0])
    assert found[1] == found[2]
    assert len(set(found)) >= 2


def test_a_reconstructor_that_starts_at_the_mean_predicts_it_for_every_text(
    small: Any, ar_rows: Dataset
) -> None:
    reconstructor = small.new_reconstructor()
    start_at_mean(reconstructor, ar_rows, small.baseline)
    mean = small.baseline.mu.float()
    predicted = reconstructor.reconstruct(["topic bread.", "ends with the. next soon."])
    cosines = torch.nn.functional.cosine_similarity(predicted, mean.expand_as(predicted))
    assert cosines.tolist() == pytest.approx([1, 1], abs=1e-5)


def test_a_training_that_diverges_says_so(small: Any, av_rows: Dataset, tmp_path: Path) -> None:
    verbalizer = small.new_verbalizer()
    with torch.no_grad():
        verbalizer.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="diverged at step 0: loss nan"):
        warm_start_verbalizer(verbalizer, av_rows, SCHEDULE, tmp_path)
