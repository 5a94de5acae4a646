"""What a trial may spend, what is left, and which limit ends it."""

from collections.abc import Collection

from auditor.records import TrialUsage
from auditor.scenario.schema import Budget

THINKING = ("turns", "auditor_tokens", "seconds", "dollars")
"""Limits that forbid another turn once they are used up."""
ACTING = (
    "tool_calls",
    "target_tokens",
    "reader_tokens",
    "model_tokens",
    "auditor_tokens",
    "seconds",
    "dollars",
)
"""Limits that forbid another tool call once they are used up."""


def remaining(budget: Budget, usage: TrialUsage) -> dict[str, float | None]:
    """Return what is left of every limit.

    Args:
        budget: The limits.
        usage: What is spent; a spend that is unknown counts as none.

    Returns:
        Amounts by name of the limit, 0 at least; None where there is no limit.
    """
    return {
        name: None if limit is None else max(0, limit - (getattr(usage, name) or 0))
        for name, limit in budget.model_dump().items()
    }


def used_up(budget: Budget, usage: TrialUsage, limits: Collection[str]) -> str | None:
    """Return the first of these limits that has nothing left, or None."""
    left = remaining(budget, usage)
    return next((name for name in limits if left[name] == 0), None)


def most_steps(budget: Budget) -> int:
    """Return a bound on the loop's steps, which no audit inside the budget can pass."""
    turns = _UNLIMITED if budget.turns is None else budget.turns
    calls = _UNLIMITED if budget.tool_calls is None else budget.tool_calls
    # One step a turn and a call, one each to notice that either is used up, one to submit.
    return turns + calls + 3


_UNLIMITED = 1_000_000_000
