"""The state of one audit between steps: plain JSON values, small enough to write at every step."""

import json
from typing import Any, Literal, TypedDict

from auditor.investigator.protocol import ToolCall, ToolResult, View
from auditor.records import Hypothesis, TrialUsage

StepName = Literal["think", "act", "submit"]


class AuditState(TypedDict):
    """What a checkpoint holds. Whole tool results are elsewhere; here are their pages."""

    usage: dict[str, Any]
    """A `TrialUsage`; its dollars are those that are known."""
    unpriced: bool
    """Whether something was asked whose price is not known."""
    calls: list[dict[str, Any]]
    """`ToolCall`s of the last move that are still to be made."""
    pages: list[dict[str, Any]]
    """`ToolResult`s of the last move."""
    hypotheses: list[dict[str, Any]]
    """The ledger, a list of `Hypothesis`."""
    notes: list[str]
    memory: dict[str, Any]
    """The policy's own state."""
    last_word: bool
    """`Move.last_word` of the last move."""
    idle: int
    """Turns in a row without a call or a submission."""
    submission: dict[str, Any] | None
    """A `Submission`, once there is one."""
    ended_by: str | None
    """Why the audit ends, once it does."""
    events: int
    """Events that the steps so far have emitted; those of a step that is repeated come again."""
    following: StepName | Literal["end"]
    """The step that comes next."""


def initial_state() -> AuditState:
    """Return the state before the first turn."""
    return AuditState(
        usage=TrialUsage().model_dump(),
        unpriced=False,
        calls=[],
        pages=[],
        hypotheses=[],
        notes=[],
        memory={},
        last_word=False,
        idle=0,
        submission=None,
        ended_by=None,
        events=0,
        following="think",
    )


def usage_of(state: AuditState) -> TrialUsage:
    """Return what the trial has spent."""
    return TrialUsage.model_validate(state["usage"])


def cost_of(state: AuditState) -> TrialUsage:
    """Return what the trial has spent, for its record: dollars that are known in part are blank."""
    usage = usage_of(state)
    return usage.model_copy(update={"dollars": None}) if state["unpriced"] else usage


def ledger_of(state: AuditState) -> tuple[Hypothesis, ...]:
    """Return the hypotheses, best first."""
    return tuple(Hypothesis.model_validate(each) for each in state["hypotheses"])


def next_call(state: AuditState) -> ToolCall:
    """Return the first call that is still to be made."""
    return ToolCall.model_validate(state["calls"][0])


def view_of(
    state: AuditState, *, seed: int, tools: tuple[str, ...], remaining: dict[str, float | None]
) -> View:
    """Return what the policy sees of a state."""
    return View(
        turn=state["usage"]["turns"],
        seed=seed,
        tools=tools,
        results=tuple(ToolResult.model_validate(page) for page in state["pages"]),
        hypotheses=ledger_of(state),
        notes=tuple(state["notes"]),
        memory=state["memory"],
        remaining=remaining,
    )


def plain_json(what: str, value: Any) -> Any:
    """Return a deep copy made of JSON types alone, the same as a checkpoint would give back.

    Halves of surrogate pairs become U+FFFD: they have no UTF-8 form, so no record could hold them.

    Raises:
        TypeError: When JSON cannot hold the value.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be plain JSON: {error}") from None
    return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
