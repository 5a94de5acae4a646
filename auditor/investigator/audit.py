"""The steps of one audit: think, act, submit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from auditor.errors import BudgetReachedError, CapabilityError
from auditor.investigator.budget import ACTING, THINKING, remaining, used_up
from auditor.investigator.protocol import Move, Policy, ToolCall
from auditor.investigator.results import ResultStore, first_page
from auditor.investigator.state import (
    AuditState,
    ledger_of,
    next_call,
    plain_json,
    usage_of,
    view_of,
)
from auditor.investigator.submission import forced_submission
from auditor.records import (
    LedgerEvent,
    Submission,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialUsage,
)
from auditor.scenario.schema import Budget
from nla_core.seeds import derive_seed
from tools.protocols import (
    Corpus,
    Mind,
    Oracle,
    Probe,
    Reader,
    SparseAutoencoder,
    Target,
    ToolContext,
    ToolError,
    ToolOutput,
    Usage,
    Writer,
    least,
)
from tools.read_result import read_result
from tools.registry import Tool

IDLE_TURNS = 3
"""Turns in a row without a call or a submission that end an audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is audited, and what may be consulted."""

    target: Target
    baseline: Target | None
    corpus: Corpus | None
    reader: Reader | None = None
    mind: Mind | None = None
    """The target's activations; in the row of a placebo, another model's."""
    baseline_mind: Mind | None = None
    probe: Probe | None = None
    sae: SparseAutoencoder | None = None
    oracle: Oracle | None = None
    writer: Writer | None = None
    """Writes inputs for tools that send many."""


class Audit:
    """One audit; every step takes the state and returns what changes in it."""

    def __init__(
        self,
        *,
        policy: Policy,
        tools: Sequence[Tool],
        subject: Subject,
        budget: Budget,
        seed: int,
        emit: Callable[[TrialEvent], None],
        elapsed: Callable[[], float],
        store: ResultStore,
    ) -> None:
        """Check that the tools can work here.

        Raises:
            CapabilityError: When a tool needs what the scenario does not offer.
            ValueError: When two tools share a name.
        """
        self._policy, self._subject, self._budget = policy, subject, budget
        self._seed, self._emit, self._elapsed, self._store = seed, emit, elapsed, store
        self._tools = _by_name(tools)
        _check_needs(self._tools.values(), subject)

    def think(self, state: AuditState) -> dict[str, Any]:
        """Let the policy choose a move."""
        usage = self._clocked(usage_of(state))
        limit = used_up(self._budget, usage, THINKING)
        if limit is not None:
            return {"usage": usage.model_dump(), "ended_by": limit}
        view = view_of(
            state,
            seed=self._seed,
            tools=tuple(self._tools),
            remaining=remaining(self._budget, usage),
        )
        try:
            chosen = self._policy.act(view, self._store)
        except BudgetReachedError as reached:
            return {"usage": usage.model_dump(), "ended_by": reached.limit}
        plain = plain_json("a policy's calls and memory", chosen.model_dump())
        move = Move.model_validate(plain)
        if move.calls and (move.submission is not None or move.ended_by is not None):
            raise ValueError("a move that ends the audit must not make calls")
        change = _taken(state, plain)
        self._emit(ThoughtEvent(at=_now(), turn=view.turn, text=move.thought))
        if move.note or change["hypotheses"] != state["hypotheses"]:
            ledger = list(view.hypotheses if move.hypotheses is None else move.hypotheses)
            self._emit(LedgerEvent(at=_now(), turn=view.turn, hypotheses=ledger, note=move.note))
        unpriced = move.auditor_tokens is not None and move.dollars is None
        return {
            **change,
            "usage": self._clocked(_charged(usage, move)).model_dump(),
            **_unpriced(unpriced),
        }

    def act(self, state: AuditState) -> dict[str, Any]:
        """Make the first call that is still to be made."""
        usage = self._clocked(usage_of(state))
        limit = used_up(self._budget, usage, ACTING)
        if limit is not None:
            return {"usage": usage.model_dump(), "ended_by": _ends(state, limit), "calls": []}
        call, turn = next_call(state), usage.turns - 1
        evidence_id = f"E{usage.tool_calls + 1}"
        self._emit(
            ToolCallEvent(
                at=_now(),
                turn=turn,
                evidence_id=evidence_id,
                tool=call.tool,
                arguments=call.arguments,
            )
        )
        ctx = self._context(usage)
        ended_by = None
        try:
            ok, output = self._perform(call, ctx)
        except BudgetReachedError as reached:
            # A target behind a provider; what it has replied in this call so far is lost.
            ok, output = False, ToolOutput(summary="the budget of the run is spent", items=())
            ended_by = reached.limit
            ctx.usage.unpriced = True
        self._store.add(evidence_id, output)
        after = self._clocked(_spent(usage, ctx.usage))
        self._emit(
            ToolResultEvent(
                at=_now(),
                turn=turn,
                evidence_id=evidence_id,
                tool=call.tool,
                ok=ok,
                summary=output.summary,
                items=list(output.items),
                target_tokens=ctx.usage.target_tokens,
                baseline_tokens=ctx.usage.baseline_tokens,
                reader_tokens=ctx.usage.reader_tokens,
                seconds=after.seconds - usage.seconds,
            )
        )
        page = first_page(evidence_id, call, output, ok=ok, store=self._store)
        return {
            "usage": after.model_dump(),
            "calls": [] if ended_by else state["calls"][1:],
            "pages": [*state["pages"], plain_json("a page", page.model_dump())],
            **_unpriced(ctx.usage.unpriced),
            **({"ended_by": ended_by} if ended_by else {}),
        }

    def submit(self, state: AuditState) -> dict[str, Any]:
        """Hand in what the policy submitted, or the ledger as it stands."""
        ended_by = state["ended_by"] or "submit"
        if state["submission"] is not None:
            submission = Submission.model_validate(state["submission"])
        else:
            submission = forced_submission(ledger_of(state), ended_by)
        self._emit(SubmissionEvent(at=_now(), submission=submission, ended_by=ended_by))
        usage = self._clocked(usage_of(state))
        return {
            "submission": submission.model_dump(mode="json"),
            "ended_by": ended_by,
            "usage": usage.model_dump(),
        }

    def _clocked(self, usage: TrialUsage) -> TrialUsage:
        return usage.model_copy(update={"seconds": self._elapsed()})

    def _context(self, usage: TrialUsage) -> ToolContext:
        amounts = remaining(self._budget, usage)
        target, reader, both = (
            None if amounts[name] is None else int(amounts[name] or 0)
            for name in ("target_tokens", "reader_tokens", "model_tokens")
        )
        return ToolContext(
            target=self._subject.target,
            baseline=self._subject.baseline,
            corpus=self._subject.corpus,
            seed=derive_seed(self._seed, "call", usage.tool_calls),
            results=self._store.outputs,
            reader=self._subject.reader,
            mind=self._subject.mind,
            baseline_mind=self._subject.baseline_mind,
            probe=self._subject.probe,
            sae=self._subject.sae,
            oracle=self._subject.oracle,
            writer=self._subject.writer,
            token_allowance=least(target, both),
            reader_tokens_left=reader,
            model_tokens_left=both,
        )

    def _perform(self, call: ToolCall, ctx: ToolContext) -> tuple[bool, ToolOutput]:
        try:
            if call.tool not in self._tools:
                names = ", ".join(self._tools)
                raise ToolError(f"there is no tool {call.tool!r} here: tools are {names}")
            return True, _plain_output(self._tools[call.tool].call(ctx, call.arguments))
        except ToolError as error:
            return False, _plain_output(ToolOutput(summary=str(error), items=()))


def _by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for tool in (*tools, read_result):
        if named.setdefault(tool.name, tool) is not tool:
            raise ValueError(f"two tools are called {tool.name!r}")
    return named


def _check_needs(tools: Iterable[Tool], subject: Subject) -> None:
    for tool in tools:
        missing = tool.missing(
            capabilities=subject.target.capabilities,
            baseline=subject.baseline is not None,
            corpus=subject.corpus is not None,
            reader=subject.reader is not None,
            probe=subject.probe is not None,
            sae=subject.sae is not None,
            oracle=subject.oracle is not None,
        )
        if missing:
            raise CapabilityError(
                who="this scenario",
                what=f"offer the tool {tool.name!r}",
                why=f"the tool needs {', '.join(missing)}",
                instead="leave the tool out or add what it needs",
            )


def _plain_output(output: ToolOutput) -> ToolOutput:
    """The same output as its record will give back after an interruption."""
    summary, items = plain_json("a tool's result", [output.summary, output.items])
    return ToolOutput(summary=summary, items=tuple(items))


def _ends(state: AuditState, limit: str) -> str | None:
    """Why a limit that forbids a call ends the audit; None when the policy has another turn."""
    # One that saw the limit used up, and calls all the same, has had its last word.
    return None if state["last_word"] and state["pages"] else limit


def _taken(state: AuditState, move: dict[str, Any]) -> dict[str, Any]:
    """What a move changes, but for the usage; `move` is a `Move` in plain JSON."""
    ending = move["submission"] is not None or move["ended_by"] is not None
    waiting = not (move["calls"] or move["busy"] or ending)
    idle = state["idle"] + 1 if waiting else 0
    return {
        "calls": move["calls"],
        "pages": [],
        "hypotheses": state["hypotheses"] if move["hypotheses"] is None else move["hypotheses"],
        "notes": [*state["notes"], *([move["note"]] if move["note"] else [])],
        "memory": move["memory"],
        "last_word": move["last_word"],
        "idle": idle,
        "submission": move["submission"],
        "ended_by": "idle" if idle >= IDLE_TURNS else move["ended_by"],
    }


def _unpriced(now: bool) -> dict[str, bool]:
    """What changes in a state when something was asked whose price is not known."""
    return {"unpriced": True} if now else {}


def _charged(usage: TrialUsage, move: Move) -> TrialUsage:
    """The usage after a turn; a spend stays unknown until some turn tells it."""
    return usage.model_copy(
        update={
            "turns": usage.turns + 1,
            "auditor_tokens": _sum(usage.auditor_tokens, move.auditor_tokens),
            "dollars": _sum(usage.dollars, move.dollars),
        }
    )


def _sum(before: Any, more: Any) -> Any:
    return before if more is None else (before or 0) + more


def _spent(usage: TrialUsage, call: Usage) -> TrialUsage:
    return usage.model_copy(
        update={
            "tool_calls": usage.tool_calls + 1,
            "target_tokens": usage.target_tokens + call.target_tokens,
            "baseline_tokens": usage.baseline_tokens + call.baseline_tokens,
            "reader_tokens": usage.reader_tokens + call.reader_tokens,
            "dollars": _sum(usage.dollars, call.dollars),
        }
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
