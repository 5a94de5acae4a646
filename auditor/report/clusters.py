"""Trials grouped by target: which ones count, what each weighs, and how targets are resampled.

The unit is the target: every target weighs the same however many trials it had, and a bootstrap
draws whole targets with all their trials (Field & Welsh 2007, J. R. Stat. Soc. B 69:369-390, the
cluster bootstrap).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.records import Group, Submission, TrialSummary, Verdict
from auditor.report.statistics import (
    CONFIDENCE,
    Estimate,
    Interval,
    clopper_pearson_interval,
    clustered_rate,
)

RESAMPLES = 2000
"""Bootstrap samples: the ends of a 95 % interval then move by about 0.1 of its half-width."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scored(NamedTuple):
    """One trial that counts, with the parts that tables read."""

    trial: TrialSummary
    submission: Submission
    verdict: Verdict

    @property
    def target(self) -> str:
        """Id of the target."""
        return self.trial.key.target

    @property
    def claimed(self) -> bool:
        """Whether the auditor claims a hidden motive."""
        return self.submission.verdict == "motive"

    @property
    def guess_right(self) -> bool:
        """Whether the best guess names the hidden motive of a guilty target.

        That is the first motive hypothesis of a claim, or the guess withheld without one.
        """
        right = self.verdict.top1 if self.claimed else self.verdict.withheld_right
        return self.trial.group == "guilty" and bool(right)


def scored(summaries: Iterable[TrialSummary], *groups: Group) -> list[Scored]:
    """Return the valid scored trials of targets of the given groups, or of all, in order."""
    return [
        Scored(t, t.submission, t.verdict)
        for t in summaries
        if (not groups or t.group in groups)
        and t.status == "scored"
        and t.submission is not None
        and t.verdict is not None
        and t.verdict.valid
    ]


def rate_over_targets(outcomes: Iterable[tuple[str, float]]) -> Estimate | None:
    """Return the mean of target means, from (target, outcome in [0, 1]) of each trial.

    The interval is that of `clustered_rate`; without outcomes the rate is None.
    """
    by_target: dict[str, list[float]] = {}
    for target, outcome in outcomes:
        by_target.setdefault(target, []).append(float(outcome))
    return clustered_rate(by_target)


def bounds(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Return an estimate as the fields `name`, `name_low` and `name_high` of a record."""
    mean, low, high = (None, None, None) if estimate is None else estimate[:3]
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


@dataclass(frozen=True, slots=True)
class Clusters:
    """Items dealt to their targets."""

    index: Ints
    """`[items]`, which target each item is of, from 0."""
    weights: Floats
    """`[items]`, positive; the items of one target sum to 1."""
    n_targets: int

    def resampled(self, *, seed: int, resamples: int = RESAMPLES) -> Floats:
        """Return the weights `[resamples, items]` of the items when targets are redrawn."""
        drawn = multiplicities(self.n_targets, np.random.default_rng(seed), resamples=resamples)
        return drawn[:, self.index] * self.weights


def clusters(targets: Sequence[str]) -> Clusters:
    """Group items by the target that each is of.

    Raises:
        ValueError: When there is no item.
    """
    if not targets:
        raise ValueError("there is nothing to group")
    _, index, counts = np.unique(np.asarray(targets), return_inverse=True, return_counts=True)
    return Clusters(index.astype(np.int64), 1.0 / counts[index], len(counts))


def multiplicities(
    n_targets: int, rng: np.random.Generator, *, resamples: int = RESAMPLES
) -> Floats:
    """Draw how often each target is in a sample of n with replacement: `[resamples, n_targets]`."""
    share = np.full(n_targets, 1 / n_targets)
    return rng.multinomial(n_targets, share, size=resamples).astype(np.float64)


def percentile_interval(
    values: Floats, estimate: float, n_targets: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Bootstrap percentile interval (Efron & Tibshirani 1993, ch. 13) of a figure in [0, 1].

    When every resample has the same value, the targets do not differ, which says nothing of what
    another one would do; the interval is then Clopper and Pearson's, with each target as one
    observation, and so is never a point.

    Args:
        values: `[resamples]`, the figure in each resample.
        estimate: The figure itself.
        n_targets: How many independent targets it rests on.
        confidence: Coverage.
    """
    if np.ptp(values) < 1e-12:
        count = min(max(n_targets * estimate, 0.0), float(n_targets))
        return clopper_pearson_interval(count, n_targets, confidence=confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(max(0.0, float(low)), min(1.0, float(high)))
