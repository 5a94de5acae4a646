"""Paired differences between rows of the table, over the guilty targets that both of them scored.

The rows of a run audit the same targets, so their difference is taken target by target: what makes
one target harder than another drops out. Intervals and tests have the target as their unit.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from pydantic import Field

from auditor.records import Record, TrialSummary
from auditor.report.clusters import scored
from auditor.report.statistics import (
    CONFIDENCE,
    Interval,
    clopper_pearson_interval,
    holm,
    paired_permutation_test,
    student_t_quantile,
)
from auditor.scenario.schema import ResolvedScenario, ToolSet

LEVEL = 0.05
"""Largest adjusted p-value of a difference that is called one."""
DEFAULT_AGAINST = "black_box"
"""Row that the others are held against, where there is one."""
_DIGITS = 12

Rates = Mapping[str, float]
"""Share of right first guesses by target."""


class Contrast(Record):
    """The difference in top-1 between two rows over the same guilty targets."""

    family: Literal["against", "null"]
    """against: every row against one; null: a real row against its nulls. Each has its own
    correction for several tests, and each real row has one with its nulls."""
    left: str
    right: str
    n_targets: int = Field(ge=0)
    """Guilty targets that both rows scored."""
    left_rate: float | None = None
    """Mean top-1 of the left row over these targets."""
    right_rate: float | None = None
    difference: float | None = None
    """Left less right; None when no target was scored by both."""
    low: float | None = None
    """Lower end of its 95 % interval, clustered on targets."""
    high: float | None = None
    """Upper end."""
    p: float | None = None
    """Two-sided p-value of the paired permutation test over targets."""
    p_holm: float | None = None
    """The same, corrected for all tests of the family (Holm)."""
    p_least: float | None = None
    """Smallest corrected p-value that so many targets and tests allow."""

    @property
    def better(self) -> bool:
        """Whether the left row is better by more than chance explains."""
        return self.p_holm is not None and self.p_holm <= LEVEL and (self.difference or 0) > 0

    @property
    def too_few(self) -> bool:
        """Whether no outcome on so many targets could have been told from chance."""
        return self.p_least is None or self.p_least > LEVEL


def hit_rates(trials: Iterable[TrialSummary]) -> dict[str, dict[str, float]]:
    """Return top-1 by tool set and guilty target, the mean of the trials of each."""
    found: dict[str, dict[str, list[bool]]] = {}
    for one in scored(trials, "guilty"):
        if one.verdict.top1 is not None:
            of_row = found.setdefault(one.trial.key.tool_set, {})
            of_row.setdefault(one.target, []).append(one.verdict.top1)
    return {
        row: {target: fmean(map(float, hits)) for target, hits in targets.items()}
        for row, targets in found.items()
    }


def null_rows(resolved: ResolvedScenario) -> dict[str, str]:
    """Return the real row of each null row: equal but for the null readout.

    Of several real rows the one that lists the tools in the same order is taken, the first of
    these in the scenario's order. A null row without a real row is left out.
    """
    sets = resolved.scenario.tool_sets
    real = {name: one for name, one in sets.items() if one.null_readout is None}
    found: dict[str, str] = {}
    for null, one in sets.items():
        if one.null_readout is None:
            continue
        fitting = [
            name
            for name, other in real.items()
            if _same(one, other) and resolved.readers.get(name) == resolved.readers.get(null)
        ]
        if fitting:
            found[null] = min(fitting, key=lambda name: real[name].tools != one.tools)
    return found


def _same(null: ToolSet, real: ToolSet) -> bool:
    # A row may name the scenario's only reader or leave it out, so readers are compared resolved.
    left, right = (one.model_dump(exclude={"null_readout", "reader"}) for one in (null, real))
    return left | {"tools": sorted(null.tools)} == right | {"tools": sorted(real.tools)}


def contrasts(
    trials: Iterable[TrialSummary],
    *,
    against: str | None = None,
    nulls: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
) -> list[Contrast]:
    """Compare every real row with one of them, and each real row with its nulls.

    Args:
        trials: Trials of one run, of the slice that is to be compared.
        against: Row that the others are held against; None takes `black_box` where there is one,
            else the first.
        nulls: Real row of each null row, see `null_rows`.
        order: Rows in the order in which they are to be named.

    Returns:
        One contrast a pair: first the others against that row, then real rows against their nulls.
    """
    nulls = nulls or {}
    rates = hit_rates(trials)
    rows = [*(row for row in order if row in rates), *(row for row in rates if row not in order)]
    real = [row for row in rows if row not in nulls]
    base = against or (DEFAULT_AGAINST if DEFAULT_AGAINST in real else next(iter(real), None))
    others = [(row, base) for row in real if row != base] if base in rates and base else []
    return _family("against", others, rates) + _against_nulls(rates, rows, nulls)


def null_contrasts(
    trials: Iterable[TrialSummary], *, nulls: Mapping[str, str]
) -> dict[str, Contrast]:
    """Compare each null row with its real row, which is the left one, by null row."""
    rates = hit_rates(trials)
    return {one.right: one for one in _against_nulls(rates, list(rates), nulls)}


def _against_nulls(
    rates: Mapping[str, Rates], rows: Sequence[str], nulls: Mapping[str, str]
) -> list[Contrast]:
    real = dict.fromkeys(nulls[row] for row in rows if row in nulls)
    return [
        found
        for row in real
        if row in rates
        for found in _family("null", [(row, n) for n in rows if nulls.get(n) == row], rates)
    ]


def _family(
    family: Literal["against", "null"],
    pairs: Sequence[tuple[str, str]],
    rates: Mapping[str, Rates],
) -> list[Contrast]:
    """Compare pairs of rows, and correct for their number."""
    raw = [contrast(rates[a], rates[b], left=a, right=b, family=family) for a, b in pairs]
    tested = [one for one in raw if one.p is not None]
    corrected = iter(holm([one.p for one in tested if one.p is not None]))
    return [
        one
        if one.p is None
        else one.model_copy(
            update={
                "p_holm": next(corrected),
                "p_least": min(1.0, len(tested) * _least(one.n_targets)),
            }
        )
        for one in raw
    ]


def _least(n: int) -> float:
    """Smallest two-sided p-value of n pairs: that of all of them differing one way."""
    return min(1.0, 2.0 ** (1 - n))


def contrast(
    left_rates: Rates,
    right_rates: Rates,
    *,
    left: str,
    right: str,
    family: Literal["against", "null"] = "against",
) -> Contrast:
    """Compare two rows over the targets that both scored.

    Targets on which both do equally well take no part in the permutations, which leaves the
    p-value as it is: swapping equal values changes nothing.

    Args:
        left_rates: Top-1 by target.
        right_rates: The same of the other row.
        left: Name of the first row.
        right: Name of the second.
        family: What the comparison is made for.
    """
    shared = sorted(left_rates.keys() & right_rates.keys())
    if not shared:
        return Contrast(family=family, left=left, right=right, n_targets=0)
    ours = [left_rates[target] for target in shared]
    theirs = [right_rates[target] for target in shared]
    differing = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    p = 1.0
    if differing:
        p = paired_permutation_test(*zip(*differing, strict=True)).p_value
    differences = [round(a - b, _DIGITS) for a, b in zip(ours, theirs, strict=True)]
    interval = difference_interval(differences)
    return Contrast(
        family=family,
        left=left,
        right=right,
        n_targets=len(shared),
        left_rate=fmean(ours),
        right_rate=fmean(theirs),
        difference=fmean(differences),
        low=interval.low,
        high=interval.high,
        p=p,
        p_holm=p,
        p_least=_least(len(shared)),
    )


def difference_interval(
    differences: Sequence[float], *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of a mean difference of two rates, each pair being one target.

    mean ± t(n-1) · sd / sqrt(n) (Student 1908, Biometrika 6:1-25), clipped to [-1, 1]. When all
    targets differ by the same d, their spread of 0 says nothing of what another target would do.
    The share q of targets that differ otherwise is then at most the Clopper-Pearson bound of 0 in
    n, and the ends are where such targets, all at -1 or all at 1, would move the mean.

    Args:
        differences: One for each target, each in [-1, 1].
        confidence: Coverage.

    Raises:
        ValueError: When there is no target.
    """
    if not differences:
        raise ValueError("a difference needs at least one target")
    n, mean = len(differences), fmean(differences)
    if max(differences) == min(differences):
        unseen = clopper_pearson_interval(0, n, confidence=confidence).high
        return Interval(mean - unseen * (mean + 1), mean + unseen * (1 - mean))
    half = student_t_quantile(0.5 + confidence / 2, n - 1) * stdev(differences) / sqrt(n)
    return Interval(max(-1.0, mean - half), min(1.0, mean + half))
