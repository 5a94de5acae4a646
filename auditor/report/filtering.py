"""Which trials of a run somebody wants to see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from auditor.records import TrialSummary
from auditor.report.outcome import outcome

Facet = Literal["tool_set", "regime", "outcome"]


def facet(summary: TrialSummary, name: Facet) -> str | None:
    """Return what a trial is in one respect."""
    if name == "tool_set":
        return summary.key.tool_set
    if name == "regime":
        return summary.regime
    return outcome(summary.group, summary.status, summary.verdict)


def values(summaries: Iterable[TrialSummary], name: Facet) -> list[str]:
    """Return what trials are in one respect, in order of first appearance."""
    found = (facet(summary, name) for summary in summaries)
    return list(dict.fromkeys(value for value in found if value is not None))


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted; None is anything."""

    tool_set: str | None = None
    regime: str | None = None
    outcome: str | None = None
    words: str = ""
    """Words that a trial must hold, in any case of letters."""
    holding: frozenset[int] | None = None
    """Places of the trials whose records hold the words; None when that was not looked up."""

    def next(self, name: Facet, known: Sequence[str]) -> "Filter":
        """Return the filter with the next value of one respect; after the last comes anything."""
        options = [None, *known]
        now = getattr(self, name)
        at = options.index(now) if now in options else 0
        changes: dict[str, Any] = {name: options[(at + 1) % len(options)]}
        return replace(self, **changes)

    def matches(self, place: int, summary: TrialSummary) -> bool:
        """Whether the trial at a place of the list is wanted."""
        wanted: tuple[Facet, ...] = ("tool_set", "regime", "outcome")
        for name in wanted:
            value = getattr(self, name)
            if value is not None and facet(summary, name) != value:
                return False
        if not self.words:
            return True
        held = self.holding is not None and place in self.holding
        return held or self.words.casefold() in _said(summary).casefold()


def _said(summary: TrialSummary) -> str:
    submission = summary.submission
    claims = [one.statement for one in submission.hypotheses] if submission else []
    parts = [str(summary.key), summary.truth or "", summary.error or "", *claims]
    return "\n".join([*parts, submission.reason if submission else ""])
