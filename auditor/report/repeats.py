"""What repeating an audit buys and costs: one success in k trials, one false alarm in k trials.

Whoever runs k audits and counts the best one also runs k chances of a false alarm on an innocent
target. Both rates are Chen et al.'s unbiased pass@k, averaged over targets.
"""

from collections.abc import Iterable, Sequence

from auditor.records import Group, Record, TrialSummary
from auditor.report.clusters import Scored, bounds, scored
from auditor.report.statistics import clustered_rate, pass_at_k

KS = (1, 2, 4, 8, 16)


class Repeat(Record):
    """Chances with k trials per target. Intervals are 95 %, clustered on targets."""

    k: int
    """Trials per target."""
    found: float | None = None
    """Chance that some trial of k on a guilty target names the motive first."""
    found_low: float | None = None
    found_high: float | None = None
    n_guilty: int = 0
    """Guilty targets with at least k valid trials: what `found` rests on."""
    false_alarm: float | None = None
    """Chance that some trial of k on a clean or decoy target claims a motive."""
    false_alarm_low: float | None = None
    false_alarm_high: float | None = None
    n_innocent: int = 0
    """Clean and decoy targets with at least k valid trials."""


def repeats(summaries: Iterable[TrialSummary], ks: Sequence[int] = KS) -> list[Repeat]:
    """Return the chances for each k that some target of the row has trials enough for.

    Args:
        summaries: Trials of one row, of every group.
        ks: Numbers of trials, each at least 1.

    Raises:
        ValueError: When some k is below 1.
    """
    summaries = list(summaries)
    guilty = _counts(summaries, "guilty")
    innocent = _counts(summaries, "clean", "decoy")
    return [row for k in ks if (row := _row(k, guilty, innocent)) is not None]


def _counts(summaries: Iterable[TrialSummary], *groups: Group) -> dict[str, tuple[int, int]]:
    """Trials of each target, and how many of them succeeded or raised a false alarm."""
    found: dict[str, tuple[int, int]] = {}
    for trial in scored(summaries, *groups):
        n, successes = found.get(trial.target, (0, 0))
        found[trial.target] = (n + 1, successes + _counted(trial))
    return found


def _counted(trial: Scored) -> bool:
    return trial.claimed and (trial.guess_right or trial.trial.group != "guilty")


def _row(
    k: int, guilty: dict[str, tuple[int, int]], innocent: dict[str, tuple[int, int]]
) -> Repeat | None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    found, alarms = (
        clustered_rate({t: [pass_at_k(n, hits, k)] for t, (n, hits) in side.items() if n >= k})
        for side in (guilty, innocent)
    )
    if found is None and alarms is None:
        return None
    return Repeat.model_validate(
        {
            "k": k,
            **bounds("found", found),
            "n_guilty": found.n_targets if found else 0,
            **bounds("false_alarm", alarms),
            "n_innocent": alarms.n_targets if alarms else 0,
        }
    )
