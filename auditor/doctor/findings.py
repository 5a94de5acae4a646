"""What an examination finds."""

from typing import Literal

from auditor.records import Record

State = Literal["ok", "missing", "warning", "unknown"]


class Finding(Record):
    """One thing that a run needs."""

    what: str
    """What is needed: weights, memory, accelerator, package, key, server or disk."""
    name: str
    """Which one."""
    state: State
    """ok, missing (a run would fail), warning (it may), or unknown (it was not looked at)."""
    detail: str = ""
    """What was found."""
    remedy: str = ""
    """What to do about it."""


class CostEstimate(Record):
    """What a run costs; None means unknown, zero means nothing."""

    trials: int
    auditor_tokens: int | None = None
    """Most tokens that the auditor's model generates, over all trials."""
    auditor_dollars: float | None = None
    """What they and the reading that goes with them cost about."""
    judge_calls: int = 0
    """Times that a language model is asked for a verdict."""
    judge_dollars: float | None = None
    """What that costs about."""
    limit_dollars: float | None = None
    """What the trials may spend at most by their budget; None when it sets no limit."""
    assumptions: tuple[str, ...] = ()
    """What the estimate rests on."""


class Examination(Record):
    """A scenario on this machine."""

    scenario: str
    findings: tuple[Finding, ...]
    cost: CostEstimate

    @property
    def ready(self) -> bool:
        """Whether nothing that a run needs is missing."""
        return not any(finding.state == "missing" for finding in self.findings)


def human(n_bytes: float) -> str:
    """Write a number of bytes for people: 141 GB."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB" if n_bytes < 10 else f"{n_bytes:,.0f} GB"
