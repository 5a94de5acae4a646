"""Which of several statements activations lean to.

With u(z) the unit vector of the reconstruction of z, S the statements and A the alternatives:

- the direction of a statement s is d(s) = u(s) - mean of u(a) over A; that of an alternative a is
  u(a) - mean of u over S and the other alternatives. What all wordings share cancels.
- m is the mean of the activations of both models at all places that are read;
- a model leans to k in a text by the mean over places of cos(x - m, d(k));
- the score of k is the mean over texts of how much more the target leans to it than the baseline
  does on the same text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nla_core.fidelity import random_direction
from nla_core.seeds import derive_seed
from tools.reading.statistics import permutation_test

NULL_DIRECTIONS = 400
_SMALLEST = 1e-6

Pair = tuple[list[Tensor], list[Tensor]]
"""Activations of target and baseline, by text."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """How far both models lean to each candidate in each text."""

    target: NDArray[np.float64]
    """`[texts, candidates]`."""
    baseline: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """`[candidates]`, the target's lean beyond the baseline's."""
        found: NDArray[np.float64] = (self.target - self.baseline).mean(axis=0)
        return found


def directions(statements: Tensor, alternatives: Tensor) -> Tensor:
    """Return unit directions `[statements + alternatives, d_model]`, float64.

    Args:
        statements: Reconstructions `[n, d_model]`.
        alternatives: Reconstructions `[n, d_model]`, at least one.

    Raises:
        ValueError: When a candidate reconstructs to what it is held against.
    """
    ours, theirs = _unit(statements.double()), _unit(alternatives.double())
    found = [one - theirs.mean(0) for one in ours]
    for index in range(len(theirs)):
        others = torch.cat([ours, theirs[:index], theirs[index + 1 :]])
        found.append(theirs[index] - others.mean(0))
    stacked = torch.stack(found)
    norms = stacked.norm(dim=-1)
    if bool((norms < _SMALLEST).any()):
        index = int((norms < _SMALLEST).nonzero()[0])
        raise ValueError(f"candidate {index} reconstructs to what it is held against")
    unit: Tensor = stacked / norms[:, None]
    return unit


def lean(target: Sequence[Tensor], baseline: Sequence[Tensor], towards: Tensor) -> Leaning:
    """Measure the lean of activations.

    Args:
        target: `[n_positions, d_model]` of each text, at least one position in all.
        baseline: The same places in the baseline.
        towards: Unit directions `[candidates, d_model]`.
    """
    middle = torch.cat([*target, *baseline]).double().mean(0)

    def by_text(texts: Sequence[Tensor]) -> NDArray[np.float64]:
        rows = [(_unit(text.double() - middle) @ towards.T).mean(0) for text in texts if len(text)]
        found: NDArray[np.float64] = torch.stack(rows).numpy()
        return found

    return Leaning(by_text(target), by_text(baseline))


def null_spread(target: Sequence[Tensor], baseline: Sequence[Tensor], *, seed: int) -> float:
    """Return the standard deviation about 0 of the scores of directions that mean nothing.

    Of two kinds of direction, the larger: uniform on the sphere, and from one of the baseline's
    activations to another, both at places taken at random. The second kind lies where activations
    vary, as reconstructions do; a model that moved at all moved there.
    """
    width = target[0].shape[-1]
    seeds = [derive_seed(seed, "null", index) for index in range(NULL_DIRECTIONS)]
    sphere = torch.stack([random_direction(width, one) for one in seeds]).double()
    pool = torch.cat(list(baseline)).double()
    rng = Random(derive_seed(seed, "places"))
    places = [(rng.randrange(len(pool)), rng.randrange(len(pool))) for _ in range(NULL_DIRECTIONS)]
    between = torch.stack([pool[one] - pool[other] for one, other in places])
    between = _unit(between[between.norm(dim=-1) > _SMALLEST])
    scores = [lean(target, baseline, kind).score for kind in (sphere, between) if len(kind)]
    return max(float(np.sqrt((one**2).mean())) for one in scores)


def verify(
    at: Mapping[int, Pair],
    elsewhere: Mapping[int, Pair],
    towards: Mapping[int, Tensor],
    *,
    seed: int,
) -> dict[int, list[dict[str, float | None]]]:
    """Score every candidate at every layer beside its nulls.

    P-values are one-sided, from a test that swaps target and baseline within each text, and
    family-wise over all candidates and layers, see `statistics.permutation_test`.

    Args:
        at: Activations at the places of interest, by layer.
        elsewhere: The same at other places, which may be none.
        towards: Directions `[candidates, d_model]`, by layer.
        seed: Of the permutations and the random directions.

    Returns:
        The figures of each candidate by layer: score, lean_target, lean_baseline, p, null_spread,
        z_null (score / null_spread), p_null (upper tail of the normal distribution beyond it, times
        the number of candidates and layers, at most 1), score_elsewhere, rank, margin.
    """
    leanings = {layer: lean(*at[layer], towards[layer]) for layer in at}
    ours = np.concatenate([one.target for one in leanings.values()], axis=1)
    theirs = np.concatenate([one.baseline for one in leanings.values()], axis=1)
    n = len(ours)
    test = permutation_test(
        np.concatenate([ours, theirs]),
        np.arange(2 * n) < n,
        np.arange(2 * n) % n,
        seed=derive_seed(seed, "permutations"),
    )
    found: dict[int, list[dict[str, float | None]]] = {}
    start = 0
    for layer, leaning in leanings.items():
        size = leaning.target.shape[1]
        found[layer] = _figures(
            leaning,
            test.p[start : start + size],
            null_spread(*at[layer], seed=derive_seed(seed, layer)),
            ours.shape[1],
            _score_or_none(elsewhere[layer], towards[layer]),
        )
        start += size
    return found


def _figures(
    leaning: Leaning,
    p: NDArray[np.float64],
    spread: float,
    family: int,
    elsewhere: NDArray[np.float64] | None,
) -> list[dict[str, float | None]]:
    score = leaning.score
    found: list[dict[str, float | None]] = []
    for k, value in enumerate(score):
        others = np.delete(score, k)
        z = float(value) / spread if spread > _SMALLEST else 0.0
        found.append(
            {
                "score": float(value),
                "lean_target": float(leaning.target[:, k].mean()),
                "lean_baseline": float(leaning.baseline[:, k].mean()),
                "p": float(p[k]),
                "null_spread": spread,
                "z_null": z,
                "p_null": min(1.0, family * 0.5 * erfc(z / sqrt(2))),
                "score_elsewhere": None if elsewhere is None else float(elsewhere[k]),
                "rank": int(1 + (others > value).sum()),
                "margin": float(value - others.max()),
            }
        )
    return found


def _score_or_none(pair: Pair, towards: Tensor) -> NDArray[np.float64] | None:
    return lean(*pair, towards).score if any(len(text) for text in pair[0]) else None


def _unit(vectors: Tensor) -> Tensor:
    # Of a vector without direction, zero: it leans nowhere.
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit
