"""How far two raters agree: Cohen's kappa, Spearman's rho, and the errors of each class.

Trials of one target are alike, so intervals come from a bootstrap that draws whole targets (Field &
Welsh 2007, J. R. Stat. Soc. B 69:369-390), as percentiles of 2,000 resamples.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.records import Record
from auditor.report.clusters import bounds, rate_over_targets
from auditor.report.statistics import CONFIDENCE, Interval, clopper_pearson_interval

RESAMPLES = 2000
_MIN_SHARE = 0.5


class Rated(NamedTuple):
    """One trial that both raters saw."""

    target: str
    left: bool
    right: bool


class Agreement(Record):
    """Two raters on the same trials. Intervals are 95 %, by a bootstrap over targets."""

    n_trials: int
    n_targets: int
    both: int
    """Trials that both call a hit."""
    only_left: int
    only_right: int
    neither: int
    agreement: float
    """Share of trials on which they agree."""
    kappa: float | None
    """Cohen's kappa; None when both give all trials one and the same label."""
    kappa_low: float | None
    kappa_high: float | None
    missed: float | None
    """Share of the left rater's hits that the right one calls misses, mean over targets."""
    missed_low: float | None
    missed_high: float | None
    invented: float | None
    """Share of the left rater's misses that the right one calls hits, mean over targets."""
    invented_low: float | None
    invented_high: float | None


def agreement(trials: Sequence[Rated], *, seed: int = 0) -> Agreement | None:
    """Compare two raters; None without a trial.

    Args:
        trials: Labels of both; the left rater is the one whose labels are taken for true.
        seed: Seed of the bootstrap.
    """
    if not trials:
        return None
    left = np.array([one.left for one in trials])
    right = np.array([one.right for one in trials])
    targets = [one.target for one in trials]
    kappa = cohen_kappa(left, right)
    interval = _kappa_interval(left, right, targets, seed)
    return Agreement.model_validate(
        {
            "n_trials": len(trials),
            "n_targets": len(set(targets)),
            "both": int((left & right).sum()),
            "only_left": int((left & ~right).sum()),
            "only_right": int((~left & right).sum()),
            "neither": int((~left & ~right).sum()),
            "agreement": float((left == right).mean()),
            "kappa": kappa,
            "kappa_low": None if interval is None else interval.low,
            "kappa_high": None if interval is None else interval.high,
            **bounds("missed", rate_over_targets((t, not r) for t, le, r in trials if le)),
            **bounds("invented", rate_over_targets((t, r) for t, le, r in trials if not le)),
        }
    )


def cohen_kappa(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> float | None:
    """Agreement beyond what the raters' own rates of hits would give by chance.

    kappa = (p_o - p_e) / (1 - p_e), with p_o the share of equal labels and p_e the sum over labels
    of the product of the two raters' rates (Cohen 1960, Educ. Psychol. Meas. 20:37-46).

    Args:
        left: `[trials]` labels.
        right: `[trials]` labels.

    Returns:
        1 for perfect agreement, 0 for that of chance; None when p_e = 1, where it is not defined.
    """
    chance = _chance(left, right)
    if chance >= 1:
        return None
    return float(((left == right).mean() - chance) / (1 - chance))


def _chance(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> float:
    p, q = float(left.mean()), float(right.mean())
    return p * q + (1 - p) * (1 - q)


def _kappa_interval(
    left: NDArray[np.bool_], right: NDArray[np.bool_], targets: Sequence[str], seed: int
) -> Interval | None:
    """Percentile interval of kappa.

    Raters who agree on every trial, or on none, do so in every resample, which says nothing of the
    next target. The interval is then that of the agreement (Clopper & Pearson 1934, each target as
    one observation), put into the formula of kappa with the raters' rates held.
    """
    chance = _chance(left, right)
    if chance >= 1:
        return None
    same = float((left == right).mean())
    if same in (0.0, 1.0):
        n = len(set(targets))
        ends = clopper_pearson_interval(same * n, n)
        return Interval(*((end - chance) / (1 - chance) for end in ends))
    return bootstrap(targets, lambda rows: cohen_kappa(left[rows], right[rows]), seed=seed)


class Correlation(Record):
    """A rank correlation, with its 95 % interval by a bootstrap over targets."""

    n_trials: int
    rho: float
    low: float | None
    high: float | None


def rank_correlation(
    targets: Sequence[str], left: Sequence[float], right: Sequence[float], *, seed: int = 0
) -> Correlation | None:
    """Correlate two scores of the same trials by rank; None where rho is not defined.

    Args:
        targets: Target of each trial.
        left: One rater's scores.
        right: The other's, in the same order.
        seed: Seed of the bootstrap.
    """
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    rho = spearman(a, b)
    if rho is None:
        return None
    interval = bootstrap(targets, lambda rows: spearman(a[rows], b[rows]), seed=seed)
    low, high = (None, None) if interval is None else interval
    return Correlation(n_trials=len(a), rho=rho, low=low, high=high)


def spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float | None:
    """Pearson's correlation of the ranks, equal values sharing the mean of their ranks.

    Spearman 1904, Am. J. Psychol. 15:72-101.

    Returns:
        Rho in [-1, 1]; None with fewer than two trials, or when one side does not vary.
    """
    if len(left) < 2:
        return None
    a, b = _ranks(left), _ranks(right)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0 else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[index]
    return ranks


def bootstrap(
    targets: Sequence[str],
    figure: Callable[[NDArray[np.int64]], float | None],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Percentile interval of a figure when whole targets are drawn again.

    Args:
        targets: Target of each trial.
        figure: The figure of the trials with these indices; None where it is not defined. Such
            resamples are left out.
        seed: Seed of the draws.
        resamples: How many.
        confidence: Coverage.

    Returns:
        The interval; None with fewer than two targets, or when the figure is defined in no more
        than half of the resamples.
    """
    names, index = np.unique(np.asarray(targets), return_inverse=True)
    if len(names) < 2:
        return None
    members = [np.flatnonzero(index == n) for n in range(len(names))]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(names), size=len(names))
        value = figure(np.concatenate([members[n] for n in drawn]))
        if value is not None:
            values.append(value)
    if len(values) <= _MIN_SHARE * resamples:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
