"""Rates of success, how far they can be trusted, and tests between them.

The unit is the target, not the trial: trials of one target are alike, and an interval that counts
them as independent is too narrow. Student-t and beta quantiles come from the incomplete beta
function below, so that nothing but numpy is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from math import comb, exp, inf, lgamma, log, log1p, nan, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
MAX_EXACT_TARGETS = 16
"""Up to this many pairs the permutation test enumerates all sign flips."""

_MAX_TERMS = 100_000
_SMALLEST = 1e-300
_EPSILON = 1e-15


class Interval(NamedTuple):
    """A confidence interval of a rate."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A rate, its confidence interval, and how many targets it rests on."""

    mean: float
    low: float
    high: float
    n_targets: int


class PermutationResult(NamedTuple):
    """Result of a paired permutation test."""

    difference: float
    """Mean of left minus right."""
    p_value: float
    """Two-sided."""
    exact: bool
    """Whether every sign flip was enumerated."""


def wilson_interval(successes: float, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a binomial rate (Wilson 1927, JASA 22:209-212).

    Args:
        successes: Between 0 and n; may be fractional, as n times a mean rate.
        n: Number of trials, at least 1.
        confidence: Coverage.

    Raises:
        ValueError: When the counts are impossible.
    """
    _check_counts(successes, n)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == n else min(1.0, centre + half),
    )


def clopper_pearson_interval(
    successes: float, n: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Exact interval of a binomial rate (Clopper & Pearson 1934, Biometrika 26:404-413).

    The bounds are the beta quantiles low = B(α/2; k, n-k+1) and high = B(1-α/2; k+1, n-k), which
    also define an interval for a fractional k.

    Args:
        successes: k, between 0 and n; may be fractional, as n times a mean rate.
        n: Number of trials, at least 1.
        confidence: Coverage 1-α.

    Raises:
        ValueError: When the counts are impossible.
    """
    _check_counts(successes, n)
    tail = (1 - confidence) / 2
    k = successes
    low = 0.0 if k == 0 else beta_quantile(tail, k, n - k + 1)
    high = 1.0 if k == n else beta_quantile(1 - tail, k + 1, n - k)
    return Interval(low, high)


def clustered_rate(
    outcomes: Mapping[str, Sequence[float]], *, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Mean of per-target rates with an interval clustered on targets.

    Every target weighs the same, however many trials it had. The interval is that of a mean of
    independent targets: mean ± t(n-1) · sd / sqrt(n) (Student 1908, Biometrika 6:1-25), clipped
    to [0, 1]. When all targets have the same rate, a single one included, the deviation is 0 and
    says nothing of what another target would do; the interval is then Clopper and Pearson's, with
    each target as one observation, and so is never a point.

    Args:
        outcomes: For each target the outcomes of its trials, each in [0, 1]. Targets without
            outcomes are left out.
        confidence: Coverage.

    Returns:
        The estimate, or None when no target has an outcome.
    """
    means = np.array([np.mean(values) for values in outcomes.values() if len(values)])
    n = len(means)
    if n == 0:
        return None
    mean = float(means.mean())
    if np.ptp(means) < 1e-12:
        low, high = clopper_pearson_interval(min(max(n * mean, 0.0), n), n, confidence=confidence)
    else:
        half = student_t_quantile(0.5 + confidence / 2, n - 1) * float(means.std(ddof=1)) / sqrt(n)
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Estimate(mean, low, high, n)


def corrected_rate(hit: float | None, false_alarm: float | None) -> float | None:
    """Hit rate beyond what claiming a motive everywhere would explain: (p - f) / (1 - f).

    The correction for guessing of signal detection (Green & Swets 1966, Signal Detection Theory
    and Psychophysics, ch. 5). It is negative when false alarms outnumber hits.

    Returns:
        The corrected rate; None when either rate is unknown, or f = 1.
    """
    if hit is None or false_alarm is None or false_alarm >= 1:
        return None
    return (hit - false_alarm) / (1 - false_alarm)


def paired_permutation_test(
    left: Sequence[float], right: Sequence[float], *, seed: int = 0, resamples: int = 100_000
) -> PermutationResult:
    """Test whether two tool sets do equally well on the same targets.

    Under the null hypothesis each target's pair could as well be swapped (Fisher 1935, The Design
    of Experiments, sec. 21); the p-value is the share of swaps with a mean difference at least as
    large in size. All swaps are enumerated for at most 16 targets; beyond, `resamples` random ones
    are drawn, and the p-value is (1 + hits) / (1 + resamples) (Phipson & Smyth 2010).

    Args:
        left: One rate per target.
        right: One rate per target, in the same order.
        seed: Seed of the random swaps.
        resamples: Number of random swaps.

    Raises:
        ValueError: When the lengths differ, or there is no target.
    """
    if len(left) != len(right) or not left:
        raise ValueError("give one rate per target on both sides, in the same order")
    differences = np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    n = len(differences)
    observed = abs(differences.sum())
    # Sums of the same numbers in another order differ in the last bits.
    least = observed - 1e-9 * max(1.0, float(np.abs(differences).sum()))
    exact = n <= MAX_EXACT_TARGETS
    if exact:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        sums = np.abs((1 - 2 * bits) @ differences)
        p_value = float(np.mean(sums >= least))
    else:
        p_value = _sampled_p_value(differences, float(least), seed=seed, resamples=resamples)
    return PermutationResult(float(differences.mean()), p_value, exact)


def _sampled_p_value(
    differences: np.ndarray[tuple[int], np.dtype[np.float64]],
    least: float,
    *,
    seed: int,
    resamples: int,
) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, resamples, 10_000):
        size = (min(10_000, resamples - start), len(differences))
        signs = 1 - 2 * rng.integers(0, 2, size=size)
        hits += int(np.count_nonzero(np.abs(signs @ differences) >= least))
    return (1 + hits) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p-values for several tests (Holm 1979, Scand. J. Stat. 6:65-70).

    Returns:
        Adjusted p-values in the order given; rejecting those at or below α keeps the chance of
        any false rejection at or below α.
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def pass_at_k(n: int, successes: int, k: int) -> float:
    """Unbiased chance that one of k trials succeeds, 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", eq. 1.

    Args:
        n: Trials made.
        successes: c, how many of them succeeded.
        k: Trials that one would be given, at most n.

    Raises:
        ValueError: When the counts are impossible.
    """
    _check_counts(successes, n)
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and the {n} trials made, not {k}")
    return 1 - comb(n - successes, k) / comb(n, k)


def student_t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t distribution with df degrees of freedom.

    Uses P(|T| > t) = I(df / (df + t²); df/2, 1/2) (Abramowitz & Stegun 1964, 26.7.1).

    Raises:
        ValueError: When `probability` is not in (0, 1) or `df` is not positive.
    """
    if not (0 < probability < 1 and df > 0):
        raise ValueError("a t quantile needs a probability inside (0, 1) and positive df")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, df)
    # Of the two equivalent forms, solve the one whose root is small: floats are dense there.
    tail = 2 * (1 - probability)
    if tail < 0.5:
        x = beta_quantile(tail, df / 2, 0.5)
        return sqrt(df * (1 - x) / x) if x > 0 else inf
    y = beta_quantile(1 - tail, 0.5, df / 2)
    return sqrt(df * y / (1 - y))


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Quantile of the beta distribution, by bisection of `incomplete_beta` to the last bit.

    Raises:
        ValueError: When `probability` is not in [0, 1], or a or b is not positive.
    """
    if not 0 <= probability <= 1:
        raise ValueError("a probability must be inside [0, 1]")
    return _bisect(lambda x: incomplete_beta(x, a, b), probability)


def _bisect(rising: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(1100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return high if rising(low) < level else low


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I(x; a, b), the beta distribution function.

    Continued fraction of Abramowitz & Stegun 1964, 26.5.8, evaluated by Lentz's method (Lentz
    1976, Applied Optics 15:668-671), on the side of the mean where it converges fast.

    Raises:
        ValueError: When x is not in [0, 1], or a or b is not positive.
    """
    if not (0 <= x <= 1 and a > 0 and b > 0):
        raise ValueError("the incomplete beta function needs x in [0, 1] and positive a and b")
    if x in (0.0, 1.0):
        return x
    log_front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return min(1.0, exp(log_front) * _beta_fraction(x, a, b) / a)
    return max(0.0, 1 - exp(log_front) * _beta_fraction(1 - x, b, a) / b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            step = c * d
            value *= step
        if abs(step - 1) < _EPSILON:
            return value
    return nan


def _not_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST


def _check_counts(successes: float, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"impossible counts: {successes} successes in {n} trials")
