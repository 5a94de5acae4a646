"""What is more frequent on one side than on the other, with texts as the unit that may be swapped.

Readings of one text are not independent of each other, so tests permute whole texts.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

PRIOR_STRENGTH = 10.0
"""Pseudo-readings of the prior: enough to tame counts of one or two, too few to hide ten."""
PRIOR_FLOOR = 0.5
"""Pseudo-readings on each outcome beside it."""
PERMUTATIONS = 1999
_TIE = 1e-9
_AT_ONCE = 250

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LogOdds:
    """Log-odds ratios and their z-scores; positive means more typical of the target."""

    delta: Floats
    """`[units]`, natural logarithm."""
    z: Floats
    """`[units]`, delta over its approximate standard deviation."""


def log_odds(
    in_target: Ints,
    in_baseline: Ints,
    n_target: int,
    n_baseline: int,
    strength: float = PRIOR_STRENGTH,
    floor: float = PRIOR_FLOOR,
) -> LogOdds:
    """Log-odds ratio with an informative Dirichlet prior.

    Monroe, Colaresi & Quinn (2008), "Fightin' Words", equations 16, 20 and 22, with two outcomes:
    a reading holds the unit, or it does not. The prior of either is `strength` times its pooled
    rate, (y + 1/2) / (n + 1), plus `floor`. Without the floor the prior of a rare unit would be
    next to nothing, and two readings against none a huge ratio.

    Args:
        in_target: `[units]`, readings of the target that hold each unit.
        in_baseline: `[units]`, the same of the baseline.
        n_target: Readings of the target.
        n_baseline: Readings of the baseline.
        strength: Mass of the informative part of the prior, in readings.
        floor: Mass beside it on each outcome; 1/2 is Jeffreys's.

    Raises:
        ValueError: When a mass is negative, or both are 0.
    """
    if strength < 0 or floor < 0 or strength + floor == 0:
        raise ValueError(f"the prior needs a positive mass, got {strength} and {floor}")
    pooled = (in_target + in_baseline + 0.5) / (n_target + n_baseline + 1.0)
    prior, mass = strength * pooled + floor, strength + 2 * floor
    target, baseline = in_target + prior, in_baseline + prior
    delta = np.log(target / (n_target + mass - target))
    delta -= np.log(baseline / (n_baseline + mass - baseline))
    return LogOdds(delta, delta / np.sqrt(1.0 / target + 1.0 / baseline))


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """Outcome of one test over a family of units."""

    z: Floats
    """`[units]`, standardised excess in the target; 0 where nothing can be told."""
    p: Floats
    """`[units]`, family-wise p-values that the target has more."""
    smallest_p: float
    """No p-value can be smaller than this, however large the excess."""


def permutation_test(
    values: Floats | Bools,
    is_target: Bools,
    strata: Ints,
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> PermutationTest:
    """Test each unit for excess in the target, permuting labels within strata.

    The statistic is the stratified sum of the target's values, less its mean and over its standard
    deviation under relabelling: the Cochran-Mantel-Haenszel score when values are 0 or 1. P-values
    are those of the largest statistic of the family (Westfall & Young 1993, single step), so the
    chance of any false finding is at most the level, whatever the dependence of units. The
    observed labelling counts as one of the permutations (Phipson & Smyth 2010), which keeps them
    valid at any number of permutations.

    Two rows a stratum make it the paired sign-flip test.

    Args:
        values: `[texts, units]`, such as the share of a text's readings that hold a unit.
        is_target: `[texts]`, the label that is permuted.
        strata: `[texts]`; texts of one stratum are exchangeable when the models do not differ.
        seed: Of the permutations.
        permutations: Random relabellings.
    """
    table = values.astype(np.float64)
    if table.size == 0:
        return PermutationTest(np.zeros(table.shape[1]), np.ones(table.shape[1]), 1.0)
    mean, deviation = _moments(table, is_target, strata)
    usable = deviation > _TIE
    scale = np.where(usable, deviation, 1.0)
    z = np.where(usable, (is_target.astype(np.float64) @ table - mean) / scale, 0.0)
    rng, largest = np.random.default_rng(seed), np.empty(0)
    while len(largest) < permutations:
        # A few at a time, since all of them times all units may be large.
        labels = _relabelled(is_target, strata, rng, min(_AT_ONCE, permutations - len(largest)))
        drawn = np.where(usable, (labels @ table - mean) / scale, -np.inf)
        largest = np.append(largest, drawn.max(axis=1))
    # Equal tables may round to unequal sums.
    ranked = np.sort(largest)
    exceeding = permutations - np.searchsorted(ranked, z - _TIE, side="left")
    smallest = smallest_p(is_target, strata, permutations)
    p = np.where(usable, np.maximum((1.0 + exceeding) / (1.0 + permutations), smallest), 1.0)
    return PermutationTest(z, p, smallest)


def smallest_p(is_target: Bools, strata: Ints, permutations: int) -> float:
    """Return the larger of 1 / (number of relabellings) and 1 / (1 + permutations)."""
    ways = 1
    for stratum in np.unique(strata):
        labels = is_target[strata == stratum]
        ways = min(ways * comb(len(labels), int(labels.sum())), 1 + permutations)
    return 1.0 / ways


def _moments(table: Floats, is_target: Bools, strata: Ints) -> tuple[Floats, Floats]:
    """Mean and standard deviation `[units]` of the target's sums under relabelling in strata."""
    mean, variance = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    for stratum in np.unique(strata):
        inside = strata == stratum
        rows, n, k = table[inside], int(inside.sum()), int(is_target[inside].sum())
        mean += k * rows.mean(axis=0)
        if n > 1:
            # A sum of k draws without replacement from n.
            variance += k * (n - k) / n * rows.var(axis=0, ddof=1)
    return mean, np.sqrt(variance)


def _relabelled(is_target: Bools, strata: Ints, rng: np.random.Generator, count: int) -> Floats:
    """Draw `[count, texts]` labellings, each a permutation of the labels within every stratum."""
    labels = np.empty((count, len(strata)))
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        order = np.argsort(rng.random((count, len(inside))), axis=1)
        labels[:, inside] = is_target[inside].astype(np.float64)[order]
    return labels
