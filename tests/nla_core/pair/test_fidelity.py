"""Fidelity against figures computed with numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.fidelity import Baseline, cosine, fidelity, mse_nrm, random_like, score
from nla_core.reconstructor import Reconstructor

TEXTS = ["the cat sat", "a dog", "it was about number 7", "the mat", "then it sat on the mat"]
S = 32**0.5


def numpy_figures(predicted: np.ndarray, gold: np.ndarray, data: np.ndarray) -> dict[str, Any]:
    def n(v: np.ndarray) -> np.ndarray:
        return v * S / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)

    mu = n(data).mean(0)
    mse = ((n(predicted) - n(gold)) ** 2).mean(-1)
    norms = np.linalg.norm(predicted, axis=-1) * np.linalg.norm(gold, axis=-1)
    return {
        "mse": mse,
        "cos": (predicted * gold).sum(-1) / norms,
        "rawvar": ((n(data) - mu) ** 2).mean(),
        "meannorm": ((n(data) - n(mu)) ** 2).mean(),
    }


@pytest.fixture
def dataset() -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    mean = torch.randn(32, generator=generator)
    return 30 * (mean + torch.randn(500, 32, generator=generator))


def test_every_figure_equals_the_reference(pair: Any, dataset: torch.Tensor) -> None:
    reconstructor = Reconstructor.load(pair.ar)
    gold = dataset[:5]
    baseline = Baseline.from_activations(dataset, mse_scale=S)
    predicted = reconstructor.reconstruct(TEXTS)
    wanted = numpy_figures(
        predicted.double().numpy(), gold.double().numpy(), dataset.double().numpy()
    )
    assert baseline.rawvar == pytest.approx(wanted["rawvar"], rel=1e-6)
    assert baseline.meannorm == pytest.approx(wanted["meannorm"], rel=1e-6)
    found = fidelity(gold, TEXTS, reconstructor, baseline)
    for row, (mse, cos) in zip(found, zip(wanted["mse"], wanted["cos"], strict=True), strict=True):
        assert row.problem is None
        assert row.score is not None
        assert row.score.mse_nrm == pytest.approx(mse, abs=1e-5)
        assert row.score.cosine == pytest.approx(cos, abs=1e-5)
        assert row.score.fve == pytest.approx(1 - mse / wanted["rawvar"], abs=1e-5)
        assert row.score.fve_meannorm == pytest.approx(1 - mse / wanted["meannorm"], abs=1e-5)
        assert row.score.mse_nrm == pytest.approx(2 * (1 - row.score.cosine), abs=1e-9)
    mean_fve = np.mean([row.score.fve for row in found if row.score])
    assert mean_fve == pytest.approx(1 - wanted["mse"].mean() / wanted["rawvar"], abs=1e-5)


def test_a_perfect_copy_scores_one_and_the_mean_direction_scores_zero_against_meannorm(
    dataset: torch.Tensor,
) -> None:
    baseline = Baseline.from_activations(dataset, mse_scale=S)
    perfect = score(dataset[0] * 7, dataset[0], baseline, mse_scale=S)
    assert (perfect.fve, perfect.cosine) == pytest.approx((1, 1))
    constant = [score(baseline.mu, row, baseline, mse_scale=S) for row in dataset]
    assert np.mean([c.fve_meannorm for c in constant]) == pytest.approx(0, abs=1e-9)
    assert np.mean([c.fve for c in constant]) < -0.01


def test_the_shuffled_null_is_the_reconstruction_of_another_row(
    llama: Any, dataset: torch.Tensor
) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    predicted = reconstructor.reconstruct(TEXTS)
    for row, found in enumerate(fidelity(dataset[:5], TEXTS, reconstructor)):
        others = [float(mse_nrm(p, dataset[row], S)) for p in predicted]
        assert found.shuffled is not None
        assert found.shuffled.mse_nrm in [
            pytest.approx(o) for i, o in enumerate(others) if i != row
        ]
        assert found.random_vector is not None
        assert found.copied_context is None


def test_samples_of_one_vector_are_never_each_others_null(
    llama: Any, dataset: torch.Tensor
) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    twice = dataset[[0, 0, 0]]
    assert all(f.shuffled is None for f in fidelity(twice, TEXTS[:3], reconstructor))
    same_words = fidelity(dataset[:2], ["a dog", "a dog"], reconstructor)
    assert all(f.shuffled is None for f in same_words)


def test_the_copying_null_reconstructs_the_context(llama: Any, dataset: torch.Tensor) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    contexts = ["the cat sat on the mat", None]
    found = fidelity(dataset[:2], ["a", "dog"], reconstructor, contexts=contexts)
    [vector] = reconstructor.reconstruct(["the cat sat on the mat"])
    assert found[0].copied_context == score(vector, dataset[0], None, mse_scale=S)
    assert found[1].copied_context is None


def test_what_cannot_be_scored_is_marked_and_unknown_stays_none(
    llama: Any, dataset: torch.Tensor
) -> None:
    gold = dataset[:5].clone()
    gold[1] = 0
    gold[2, 3] = float("nan")
    texts = ["a cat", "a dog", "a mat", None, " "]
    found = fidelity(gold, texts, Reconstructor.load(llama.ar))
    assert [f.problem for f in found] == [
        None,
        "zero_activation",
        "not_finite",
        "no_explanation",
        "empty_explanation",
    ]
    assert [f.score is None for f in found] == [False, True, True, True, False]
    assert found[3].shuffled is not None
    assert found[0].score is not None
    assert found[0].score.fve is None


def test_mismatches_are_refused(llama: Any, dataset: torch.Tensor) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    with pytest.raises(ValueError, match="as many texts"):
        fidelity(dataset[:2], ["a"], reconstructor)
    with pytest.raises(ValueError, match="as many contexts"):
        fidelity(dataset[:1], ["a"], reconstructor, contexts=[])
    with pytest.raises(ValueError, match=r"must be \[n, 32\]"):
        fidelity(dataset[:1, :8], ["a"], reconstructor)
    raw = Baseline.from_activations(dataset, mse_scale=None)
    with pytest.raises(ValueError, match="computed at mse_scale None"):
        fidelity(dataset[:1], ["a"], reconstructor, raw)


def test_a_baseline_needs_finite_rows_and_knows_when_it_has_no_variance(
    dataset: torch.Tensor,
) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Baseline.from_activations(dataset[:0], mse_scale=S)
    with pytest.raises(ValueError, match="not finite"):
        Baseline.from_activations(dataset * float("nan"), mse_scale=S)
    alone = Baseline.from_activations(dataset[[0, 0, 0]], mse_scale=S)
    assert alone.fve(0.5) is None
    assert alone.fve_meannorm(0.5) is None


def test_a_baseline_takes_the_first_rows_only(dataset: torch.Tensor) -> None:
    parts = Baseline.from_batches(dataset.split(7), mse_scale=S, max_rows=100)
    whole = Baseline.from_activations(dataset[:100], mse_scale=S)
    assert parts.n == whole.n == 100
    assert parts.rawvar == pytest.approx(whole.rawvar, rel=1e-9)


def test_random_vectors_keep_the_norms_and_not_the_directions(dataset: torch.Tensor) -> None:
    found = random_like(dataset, seed=1)
    torch.testing.assert_close(found.norm(dim=-1), dataset.norm(dim=-1))
    assert float(cosine(found, dataset).abs().mean()) < 0.3
    assert torch.equal(found[:3], random_like(dataset[:3], seed=1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=8, max_size=8), st.floats(0.01, 1e3))
def test_the_error_does_not_depend_on_length_and_is_two_minus_two_cosines(
    numbers: list[float], factor: float
) -> None:
    v = torch.tensor(numbers)
    if float(v.norm()) < 1e-2:
        return
    other = torch.arange(1.0, 9.0)
    mse = float(mse_nrm(v, other, 8**0.5))
    assert mse == pytest.approx(float(mse_nrm(v * factor, other, 8**0.5)), abs=1e-5)
    assert mse == pytest.approx(2 * (1 - float(cosine(v, other))), abs=1e-9)
    assert 0 <= mse <= 4 + 1e-9
