"""Drawing one token per row from logits, each row with its own random numbers."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nla_core.sampling import Sampling


def uniforms(seeds: Sequence[int], n_steps: int) -> Tensor:
    """Return `[row, step]` float64 numbers in [0, 1); row r depends on `seeds[r]` alone.

    The first numbers of a row do not depend on `n_steps`.
    """
    table = np.empty((len(seeds), n_steps))
    for row, seed in enumerate(seeds):
        table[row] = np.random.Generator(np.random.Philox(key=seed)).random(n_steps)
    return torch.from_numpy(table)


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Draw a token per row by inverting the cumulative distribution.

    Args:
        logits: `[row, vocab]`, any float dtype.
        sampling: Temperature and nucleus mass; temperature 0 takes the largest logit.
        uniform: `[row]` numbers in [0, 1).

    Returns:
        `[row]` token ids. An id equal to the vocabulary's size marks logits that are not numbers.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scores = logits.float()
    scores = (scores - scores.amax(-1, keepdim=True)) / sampling.temperature
    probs = scores.softmax(-1)
    if sampling.top_p == 1:
        return _invert(probs, uniform)
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    mass_before = ranked.cumsum(-1) - ranked
    ranked = ranked.masked_fill(mass_before >= sampling.top_p, 0)
    rank = _invert(ranked, uniform)
    n_vocab = logits.shape[-1]
    token = order.gather(-1, rank.clamp(max=n_vocab - 1)[:, None])[:, 0]
    return torch.where(rank < n_vocab, token, n_vocab)


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the first index whose running total of weights exceeds `uniform` of the whole."""
    # In float32 the total of a large vocabulary drifts, and a GPU's running sum is not repeatable.
    wide = torch.float32 if weights.device.type == "mps" else torch.float64
    running = weights.to(wide).cumsum(-1)
    total = running[:, -1:]
    goal = uniform.to(weights.device, wide)[:, None] * total
    goal = torch.minimum(goal, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(running, goal, right=True)[:, 0]
