"""What the audit loop and an auditor policy say to each other."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import Field

from auditor.records import Hypothesis, Record, Submission


class ToolCall(Record):
    """A call that the auditor wants made."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolResult(Record):
    """What the auditor gets back: one page, and where the rest is."""

    evidence_id: str
    """Stable id, `E1`, `E2`, … in call order within the trial."""
    tool: str
    ok: bool
    """False when the call failed; `summary` then says why."""
    summary: str
    items: tuple[dict[str, Any], ...]
    """The page."""
    total: int
    """How many items the whole result has."""
    offset: int
    limit: int


class Move(Record):
    """One turn of the auditor."""

    thought: str
    """Why, in one or two sentences; shown in the transcript."""
    calls: tuple[ToolCall, ...] = ()
    """Tool calls to make, in order."""
    hypotheses: tuple[Hypothesis, ...] | None = None
    """The new ledger, when it changed."""
    note: str = ""
    """A note to keep."""
    submission: Submission | None = None
    """Ends the audit; `calls` must then be empty."""
    memory: dict[str, Any] = Field(default_factory=dict)
    """The policy's own small JSON state, handed back on its next turn."""
    auditor_tokens: int | None = None
    """Tokens that the auditor's model generated for this move; None for auditors without one."""
    dollars: float | None = None
    """What this move cost at the provider; None when not known."""
    busy: bool = False
    """Whether the turn was put to use although it makes no call and submits nothing; such turns
    are not counted as idle."""
    last_word: bool = False
    """Whether a limit that the calls of this move use up leaves the policy another turn, without
    the calls that remain, instead of ending the audit."""
    ended_by: str | None = None
    """Ends the audit without a submission, and says why; the ledger is handed in as it stands.
    `calls` must then be empty."""


class View(Record):
    """All that a policy sees. Nothing here names the target or tells the truth."""

    turn: int
    """0-based."""
    seed: int
    """Seed of the trial, for the policy's own random choices."""
    tools: tuple[str, ...]
    """Names of the tools of this row."""
    results: tuple[ToolResult, ...]
    """Results of the previous move's calls."""
    hypotheses: tuple[Hypothesis, ...]
    """The ledger."""
    notes: tuple[str, ...]
    memory: dict[str, Any]
    """What the policy returned last time."""
    remaining: Mapping[str, float | None]
    """What is left of each budget limit; None where there is no limit."""


class Policy(Protocol):
    """An auditor. It must be a pure function of the view and of the results it can look up."""

    @property
    def name(self) -> str:
        """Short name for records."""
        ...

    def act(self, view: View, lookup: "ResultLookup") -> Move:
        """Choose the next move."""
        ...


class ResultLookup(Protocol):
    """Whole results of earlier calls, kept outside the loop's state."""

    def items(self, evidence_id: str) -> tuple[dict[str, Any], ...]:
        """All items of one earlier result."""
        ...
