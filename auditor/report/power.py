"""How many targets and trials it takes to separate two rates, and to claim few false alarms.

Targets differ: each has its own chance of success, drawn for each row from a beta distribution with
the row's rate as mean and the intraclass correlation as its spread (Williams 1975, Biometrics
31:949-952), so that trials of one target are alike and more of them help less than more targets.
Power is the share of simulated runs whose difference is significant by the test of the reports:
the paired sign-flip test when both rows audit the same targets, Welch's interval on target means
when they audit different ones. A closed form starts the search.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, comb, log, log1p, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from auditor.errors import UsageError
from auditor.report.clusters import Floats, Ints
from auditor.report.statistics import (
    CONFIDENCE,
    beta_quantile,
    incomplete_beta,
    wilson_interval,
)

SIMULATIONS = 2000
"""Simulated runs: a power of 80 % is then known to 0.9 points (one standard error)."""
MAX_TARGETS = 5000
"""The search gives up beyond."""
MAX_TRIALS = 100
MIN_TARGETS = 2
_MANY = 200
"""Targets whose rows differ, from which the sum of sign flips is taken to be normal."""
_AT_ONCE = 1_000_000
_FLOOR = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Two rows that are to be told apart.

    Raises:
        UsageError: When a number is out of its range.
    """

    rates: tuple[float, float]
    """Success rates of the two rows."""
    trials: int = 1
    """Trials per target and row."""
    icc: float = 0.5
    """Intraclass correlation: of two trials of one target. 0 when targets do not differ, 1 when
    all trials of a target end alike."""
    paired: bool = True
    """Whether both rows audit the same targets."""
    correlation: float = 0.0
    """How far targets that are easy in one row are easy in the other: correlation of the normal
    scores of their chances. 0 gives nothing for pairing, which is the cautious choice."""
    alpha: float = 0.05
    """Two-sided significance level."""

    def __post_init__(self) -> None:
        left, right = self.rates
        if not (0 <= left <= 1 and 0 <= right <= 1):
            raise UsageError(f"rates are between 0 and 1, not {left:g} and {right:g}")
        if left == right:
            raise UsageError(f"both rates are {left:g}: give two different ones to separate")
        if not 1 <= self.trials <= MAX_TRIALS:
            raise UsageError(f"trials per target are 1 to {MAX_TRIALS}, not {self.trials}")
        if not 0 <= self.icc <= 1:
            raise UsageError(f"the intraclass correlation is between 0 and 1, not {self.icc:g}")
        if not -1 <= self.correlation <= 1:
            raise UsageError(f"a correlation is between -1 and 1, not {self.correlation:g}")
        if self.correlation and not self.paired:
            raise UsageError("a correlation between rows needs the same targets in both: --paired")
        if not 0 < self.alpha < 1:
            raise UsageError(f"the significance level is inside (0, 1), not {self.alpha:g}")


class Power(NamedTuple):
    """Simulated power, with the interval that the number of simulations leaves."""

    power: float
    low: float
    high: float


class Needed(NamedTuple):
    """The smallest number of targets that reaches a power."""

    targets: int | None
    """Targets (in each row, when rows audit different ones); None when more than MAX_TARGETS."""
    power: Power | None
    """Power that they reach."""
    closed_form: float
    """What the normal approximation gives."""


def closed_form_targets(design: Design, power: float = 0.8) -> float:
    """Return the targets needed by the normal approximation: (z(1-α/2) + z(power))² var / δ².

    The variance of a target's rate from m trials is p(1-p)(1 + (m-1)·icc) / m, the design effect
    of Kish 1965 (Survey Sampling, sec. 5.4; Donner & Klar 2000, ch. 5). var is the sum of both
    rows', less for paired rows twice the covariance that `correlation` gives to target rates,
    taken as a Pearson correlation. Adds z(1-α/2)²/2 for paired and /4 for unpaired rows, because
    the deviation is estimated (Guenther 1981, Am. Stat. 35:243-244).

    Raises:
        UsageError: When the power is not between α and 1.
    """
    _check_power(power, design.alpha)
    left, right = (p * (1 - p) for p in design.rates)
    spread = (1 + (design.trials - 1) * design.icc) / design.trials
    variance = (left + right) * spread - 2 * design.correlation * design.icc * sqrt(left * right)
    at_alpha = NormalDist().inv_cdf(1 - design.alpha / 2)
    z = at_alpha + NormalDist().inv_cdf(power)
    correction = at_alpha**2 / (2 if design.paired else 4)
    difference = design.rates[0] - design.rates[1]
    return z**2 * max(0.0, variance) / difference**2 + correction


def simulated_power(
    design: Design, targets: int, *, seed: int = 0, simulations: int = SIMULATIONS
) -> Power:
    """Return how often a run with so many targets (in each row) finds the difference.

    A run finds it when the test is significant in the right direction.

    Args:
        design: The rows.
        targets: Targets per row.
        seed: Seed of the simulation; the same seed gives the same answer.
        simulations: Runs to simulate.

    Raises:
        UsageError: When there are fewer than two targets, or more than MAX_TARGETS.
    """
    if not MIN_TARGETS <= targets <= MAX_TARGETS:
        raise UsageError(f"targets are {MIN_TARGETS} to {MAX_TARGETS}, not {targets}")
    found = 0
    sign = 1 if design.rates[0] > design.rates[1] else -1
    for left, right in _runs(design, targets, np.random.default_rng(seed), simulations):
        p_values = (sign_flip_p_values if design.paired else welch_p_values)(
            left, right, design.trials
        )
        ahead = sign * (left.sum(axis=1) - right.sum(axis=1)) > 0
        found += int(np.count_nonzero((p_values <= design.alpha) & ahead))
    return Power(found / simulations, *wilson_interval(found, simulations))


def targets_needed(
    design: Design, power: float = 0.8, *, seed: int = 0, simulations: int = SIMULATIONS
) -> Needed:
    """Return the smallest number of targets whose simulated power reaches `power`.

    Starts from the closed form, brackets by steps that double, and halves the bracket. Power is
    taken to rise with targets, which coarse counts make true only nearly.

    Raises:
        UsageError: When the power is not between α and 1.
    """
    start = closed_form_targets(design, power)
    if start > 2 * MAX_TARGETS:
        return Needed(None, None, start)

    def reached(targets: int) -> Power:
        return simulated_power(design, targets, seed=seed, simulations=simulations)

    enough = min(MAX_TARGETS, max(MIN_TARGETS, ceil(start)))
    best, short, step = reached(enough), MIN_TARGETS - 1, max(1, enough // 8)
    while best.power < power:
        if enough == MAX_TARGETS:
            return Needed(None, None, start)
        short, enough, step = enough, min(MAX_TARGETS, enough + step), 2 * step
        best = reached(enough)
    step = max(1, enough // 8)
    while enough - short > 1:
        # Towards the bracket's lower end by growing steps while it is open, then by halves.
        middle = max(enough - step, (short + enough) // 2)
        found = reached(middle)
        if found.power >= power:
            enough, best, step = middle, found, 2 * step
        else:
            short = middle
    return Needed(enough, best, start)


def sign_flip_p_values(left: Ints, right: Ints, trials: int) -> Floats:
    """Return the exact p-values `[runs]` of `paired_permutation_test` for whole successes.

    The sum of ± differences over all sign flips has the characteristic function Π cos(d_i θ),
    whose discrete Fourier transform is its distribution (Pagano & Tritchler 1983, JASA 78:435-440).
    Runs in which at least 200 targets differ use the normal limit, corrected for continuity.

    Args:
        left: `[runs, targets]`, successes in the trials of each target.
        right: The same of the other row.
        trials: Trials per target and row, the largest difference possible.
    """
    differences = left - right
    sizes = np.stack(
        [np.count_nonzero(np.abs(differences) == d, axis=1) for d in range(1, trials + 1)], axis=1
    )
    observed = np.abs(differences.sum(axis=1))
    p_values = np.ones(len(differences))
    many = sizes.sum(axis=1) >= _MANY
    for run in np.flatnonzero(many):
        deviation = sqrt(float(sizes[run] @ np.arange(1, trials + 1) ** 2))
        # Sums are all even or all odd, so half a step is 1.
        least = max(0.0, float(observed[run]) - 1)
        p_values[run] = 2 * NormalDist().cdf(-least / deviation)
    if not many.all():
        p_values[~many] = _exact_p_values(sizes[~many], observed[~many])
    return p_values


def _exact_p_values(sizes: Ints, observed: Ints) -> Floats:
    """P(|sum| >= observed) `[runs]`, from how many targets differ by 1, 2, … `[runs, trials]`."""
    steps = np.arange(1, sizes.shape[1] + 1)
    span = int((sizes @ steps).max())
    grid = 2 * span + 2
    angles = 2 * np.pi * np.arange(span + 2) / grid
    cosines = np.cos(np.outer(steps, angles))
    magnitude = np.exp(sizes @ np.log(np.maximum(np.abs(cosines), _FLOOR)))
    odd = (sizes @ (cosines < 0)) % 2 == 1
    chances = np.fft.irfft(np.where(odd, -magnitude, magnitude), n=grid, axis=1)
    # Sums of -span..span; a negative one is at grid + sum, and as likely as the positive one.
    beyond = np.cumsum(chances[:, span::-1], axis=1)[:, ::-1]
    tail = beyond[np.arange(len(observed)), observed]
    found: Floats = np.where(observed == 0, 1.0, np.clip(2 * tail, 0.0, 1.0))
    return found


def welch_p_values(left: Ints, right: Ints, trials: int) -> Floats:
    """Return the two-sided p-values `[runs]` of Welch's t test on target means.

    Welch 1947 (Biometrika 34:28-35). Where no target differs from another one in its row, the
    p-value of parted rows is that of their permutation, 2 / C(2n, n).

    Args:
        left: `[runs, targets]`, successes in the trials of each target.
        right: The same of the other row.
        trials: Trials per target.
    """
    n = left.shape[1]
    gaps = (left.mean(axis=1) - right.mean(axis=1)) / trials
    errors = [side.var(axis=1, ddof=1) / trials**2 / n for side in (left, right)]
    found = np.ones(len(left))
    for run, (gap, one, other) in enumerate(zip(gaps, *errors, strict=True)):
        if gap == 0:
            continue
        if one + other == 0:
            found[run] = 2 / comb(2 * n, n)
        else:
            df = (n - 1) * (one + other) ** 2 / (one**2 + other**2)
            found[run] = incomplete_beta(df / (df + gap**2 / (one + other)), df / 2, 0.5)
    return found


def false_alarm_bound(clean: int, *, alarms: int = 0, confidence: float = CONFIDENCE) -> float:
    """Return the false-alarm rate that so many innocent targets still allow.

    The one-sided bound of Clopper & Pearson 1934: at higher rates, alarms as few as this would
    have a chance below 1 - confidence. Without alarms it is 1 - (1 - confidence)^(1 / clean).

    Raises:
        UsageError: When there is no target, or more alarms than targets.
    """
    if clean < 1 or not 0 <= alarms <= clean:
        raise UsageError(f"{alarms} false alarms on {clean} clean targets cannot be")
    return 1.0 if alarms == clean else beta_quantile(confidence, alarms + 1, clean - alarms)


def clean_needed(rate: float, *, confidence: float = CONFIDENCE) -> int:
    """Return how many innocent targets, none of which alarms, bound the rate at `rate`.

    Raises:
        UsageError: When the rate is not inside (0, 1).
    """
    if not 0 < rate < 1:
        raise UsageError(f"a false-alarm rate to stay below is inside (0, 1), not {rate:g}")
    # The last bits of the logarithms must not ask for a target more.
    return max(1, ceil(log(1 - confidence) / log1p(-rate) - 1e-9))


def _runs(
    design: Design, targets: int, rng: np.random.Generator, simulations: int
) -> Iterator[tuple[Ints, Ints]]:
    """Draw successes `[runs, targets]` of both rows, a bounded number of runs at a time."""
    size = max(1, _AT_ONCE // (targets * design.trials))
    for start in range(0, simulations, size):
        shape = (min(size, simulations - start), targets)
        left, right = (_chances(rate, design.icc, shape, rng) for rate in design.rates)
        if design.correlation:
            left, right = _aligned(left, right, design.correlation, rng)
        yield rng.binomial(design.trials, left), rng.binomial(design.trials, right)


def _chances(rate: float, icc: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw each target's chance of success, with mean `rate` and variance icc·rate·(1 - rate)."""
    if icc == 0 or rate in (0, 1):
        return np.full(shape, float(rate))
    if icc == 1:
        return (rng.random(shape) < rate).astype(np.float64)
    mass = (1 - icc) / icc
    return rng.beta(rate * mass, (1 - rate) * mass, shape)


def _aligned(
    left: Floats, right: Floats, correlation: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Reorder the targets of all runs so that their ranks are those of correlated normal scores.

    Iman & Conover 1982 (Commun. Stat. B 11:311-334), which leaves each row's chances as drawn.
    Ranks within one run would give less correlation the fewer targets it has.
    """
    one, other = rng.standard_normal((2, left.size))
    other = correlation * one + sqrt(1 - correlation**2) * other
    sides = ((np.sort(left, axis=None), one), (np.sort(right, axis=None), other))
    first, second = (
        chances[np.argsort(np.argsort(scores))].reshape(left.shape) for chances, scores in sides
    )
    return first, second


def _check_power(power: float, alpha: float) -> None:
    if not alpha < power < 1:
        raise UsageError(
            f"the power is between the significance level {alpha:g} and 1, not {power:g}"
        )
