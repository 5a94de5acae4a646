"""Statistics of phrases: log-odds with a prior, and an exact-level permutation test.

All functions work on presence per sample (a reply holds a phrase or not), so that repetition
inside one reply counts once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR_STRENGTH = 10.0
"""Pseudo-samples of the prior: enough to tame counts of one or two, too few to hide ten."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def log_odds_z(
    in_target: NDArray[np.int64],
    in_baseline: NDArray[np.int64],
    n_target: int,
    n_baseline: int,
    strength: float = PRIOR_STRENGTH,
) -> Floats:
    """Z-scores of the log-odds ratio with an informative Dirichlet prior.

    Monroe, Colaresi & Quinn (2008), "Fightin' Words", equations 16, 20 and 22, with the two
    outcomes "the sample holds the phrase" and "it does not"; the prior's mean is the phrase's
    pooled rate, (y + 1/2) / (n + 1).

    Args:
        in_target: [phrases], target samples that hold each phrase.
        in_baseline: [phrases], the same for the baseline.
        n_target: Number of target samples.
        n_baseline: Number of baseline samples.
        strength: Prior mass in samples.

    Returns:
        [phrases] float64; positive means more typical of the target.
    """
    pooled = (in_target + in_baseline + 0.5) / (n_target + n_baseline + 1.0)
    prior = strength * pooled
    target, baseline = in_target + prior, in_baseline + prior
    delta = np.log(target / (n_target + strength - target))
    delta -= np.log(baseline / (n_baseline + strength - baseline))
    return np.asarray(delta / np.sqrt(1.0 / target + 1.0 / baseline), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """Outcome of one test over a family of phrases."""

    z: Floats
    """[phrases], stratified standardised excess in the target; 0 where nothing can be told."""
    p: Floats
    """[phrases], family-wise p-values that the phrase is more frequent in the target."""


def permutation_test(
    present: Bools,
    is_target: Bools,
    strata: NDArray[np.int64],
    *,
    seed: int,
    permutations: int = 999,
) -> PermutationTest:
    """Test each phrase for excess in the target, permuting labels within strata.

    The statistic is the Cochran-Mantel-Haenszel score: target samples that hold the phrase, minus
    their hypergeometric mean over strata, over the standard deviation. P-values are single-step
    max-statistic ones (Westfall & Young 1993), so the chance of any false finding in the family is
    at most the level, whatever the dependence between phrases; the observed labelling counts as
    one permutation, which makes them valid at any number of permutations.

    Args:
        present: [samples, phrases].
        is_target: [samples], the label that is permuted.
        strata: [samples], the prompt that each sample answers.
        seed: Seed of the permutations.
        permutations: Number of random relabellings.
    """
    if present.size == 0:
        return PermutationTest(z=np.zeros(present.shape[1]), p=np.ones(present.shape[1]))
    table = present.astype(np.float64)
    mean, deviation = _null_moments(table, is_target, strata)
    labels = _relabel(is_target, strata, np.random.default_rng(seed), permutations)
    usable = deviation > 0
    scale = np.where(usable, deviation, 1.0)
    z = np.where(usable, (is_target.astype(np.float64) @ table - mean) / scale, 0.0)
    drawn = np.where(usable, (labels @ table - mean) / scale, 0.0).max(axis=1)
    # The tolerance keeps equal tables equal when their sums round differently.
    exceed = (drawn[:, None] >= z[None, :] - 1e-9).sum(axis=0)
    return PermutationTest(z=z, p=np.where(usable, (1.0 + exceed) / (1.0 + permutations), 1.0))


def _null_moments(
    table: Floats, is_target: Bools, strata: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Mean and standard deviation [phrases] of target counts under relabelling in strata."""
    _, index = np.unique(strata, return_inverse=True)
    groups = np.zeros((int(index.max()) + 1, len(index)))
    groups[index, np.arange(len(index))] = 1.0
    size = groups.sum(axis=1)[:, None]
    targets = (groups @ is_target.astype(np.float64))[:, None]
    holding = groups @ table
    share = holding / size
    mean = (targets * share).sum(axis=0)
    spread = targets * (size - targets) * share * (1.0 - share) / np.maximum(size - 1.0, 1.0)
    return mean, np.sqrt(spread.sum(axis=0))


def _relabel(
    is_target: Bools, strata: NDArray[np.int64], rng: np.random.Generator, count: int
) -> Floats:
    """Draw [count, samples] labellings, each a permutation of the labels inside every stratum."""
    order = np.lexsort((np.arange(len(strata)), strata))
    _, index = np.unique(strata, return_inverse=True)
    keys = index[None, :] + rng.random((count, len(strata)))
    places = np.argsort(keys, axis=1)
    labels = np.zeros((count, len(strata)))
    np.put_along_axis(labels, places, is_target[order].astype(np.float64)[None, :], axis=1)
    return labels
