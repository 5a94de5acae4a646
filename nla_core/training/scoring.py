"""Explaining many held-out activations and scoring them, for training curves and cards."""

import torch
from torch import Tensor

from nla_core.fidelity import Baseline, mse_nrm
from nla_core.reconstructor import Reconstructor
from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed
from nla_core.training.config import Reinforce
from nla_core.training.dataset import Dataset
from nla_core.verbalizer import Explanation, Verbalizer

_BATCH = 256


def explanations(
    verbalizer: Verbalizer, vectors: Tensor, *, temperature: float, max_tokens: int, seed: int = 0
) -> list[Explanation]:
    """Draw one explanation of each activation; its seed follows from its row."""
    return verbalizer.explain(
        vectors,
        sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
        seeds=[derive_seed(seed, "evaluate", row) for row in range(len(vectors))],
        batch_size=_BATCH,
    )


def fve_of(
    texts: list[str | None], vectors: Tensor, reconstructor: Reconstructor, baseline: Baseline
) -> float | None:
    """Return the FVE of explanations; one that is missing is scored as an empty text."""
    predicted = reconstructor.reconstruct([text or "" for text in texts], batch_size=_BATCH)
    return fve_of_predictions(predicted, vectors, reconstructor, baseline)


def fve_of_predictions(
    predicted: Tensor, vectors: Tensor, reconstructor: Reconstructor, baseline: Baseline
) -> float | None:
    """Return the FVE of predicted vectors `[n, d_model]`."""
    errors = mse_nrm(predicted, vectors, reconstructor.sidecar.mse_scale)
    return baseline.fve(float(errors.mean()))


def quick_fve(
    verbalizer: Verbalizer, reconstructor: Reconstructor, held_out: Dataset, config: Reinforce
) -> dict[str, float | None]:
    """Return FVE at temperature 1 and greedy on the first rows of a held-out set, and rawvar."""
    vectors = held_out.rows(0, min(config.evaluate_rows, len(held_out))).vectors
    baseline = Baseline.from_activations(vectors, mse_scale=reconstructor.sidecar.mse_scale)
    found: dict[str, float | None] = {"rawvar": baseline.rawvar}
    for name, temperature in (("fve", 1.0), ("fve_greedy", 0.0)):
        with torch.no_grad():
            said = explanations(
                verbalizer, vectors, temperature=temperature, max_tokens=config.max_tokens
            )
        found[name] = fve_of([e.text for e in said], vectors, reconstructor, baseline)
    return found
