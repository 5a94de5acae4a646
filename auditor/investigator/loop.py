"""Run one audit: a LangGraph of think, act and submit, inside a budget."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.errors import AuditStoppedError
from auditor.investigator.audit import Audit, Subject
from auditor.investigator.budget import most_steps
from auditor.investigator.protocol import Policy
from auditor.investigator.results import ResultStore
from auditor.investigator.state import AuditState, initial_state, usage_of
from auditor.records import Submission, TrialEvent, TrialUsage
from auditor.scenario.schema import Budget
from tools.protocols import (
    Corpus,
    Mind,
    Oracle,
    Probe,
    Reader,
    SparseAutoencoder,
    Target,
    ToolOutput,
    Writer,
)
from tools.registry import Tool

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """How an audit ended."""

    submission: Submission
    ended_by: str
    """"submit", "idle", the name of the budget limit that was used up, or what the policy gave."""
    usage: TrialUsage


def run_audit(
    *,
    policy: Policy,
    tools: Sequence[Tool],
    target: Target,
    baseline: Target | None,
    corpus: Corpus | None,
    budget: Budget,
    seed: int,
    emit: Callable[[TrialEvent], None],
    reader: Reader | None = None,
    mind: Mind | None = None,
    baseline_mind: Mind | None = None,
    probe: Probe | None = None,
    sae: SparseAutoencoder | None = None,
    oracle: Oracle | None = None,
    writer: Writer | None = None,
    checkpointer: "BaseCheckpointSaver[Any] | None" = None,
    thread_id: str = "trial",
    results: Mapping[str, ToolOutput] | None = None,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> AuditOutcome:
    """Let a policy audit a target until it submits or a limit ends the audit.

    The same seed, policy and target give the same events, but for their times. With a
    checkpointer, an audit that was interrupted goes on from its last step: that step runs again
    with the same seeds, and its events come again with the same evidence ids. How many events the
    steps before it emitted is part of the saved state.

    Args:
        policy: The auditor.
        tools: What it may call; `read_result` is always added.
        target: The model under audit.
        baseline: The clean model that it was made from, if there is one.
        corpus: The public documents, if there are any.
        budget: Limits. Turns are checked before a turn, calls, target and reader tokens before a
            call, auditor tokens, seconds and dollars before both; a step that has begun is
            finished.
        seed: Seed of the trial.
        emit: Gets every event as it happens.
        reader: What puts activations into words, if there is something.
        mind: The target's activations, or those of a model that stands in for it.
        baseline_mind: The baseline's activations.
        probe: What puts activations into classes, if there is something.
        sae: What takes activations apart into features, if there is something.
        oracle: What answers questions about activations, if there is something.
        writer: What writes inputs for tools that send many; None: they use templates.
        checkpointer: Where to save the state after every step; None saves nothing.
        thread_id: Name of this audit in the checkpointer.
        results: Whole results of an interrupted audit by evidence id, from its record.
        clock: Seconds from any start.
        stop: Asked before every step; the audit stops there once it says yes.

    Raises:
        AuditStoppedError: When `stop` said yes.
        CapabilityError: When a tool needs what is not given.
        RunError: When an interrupted audit lacks the results of its earlier calls.
        Exception: Whatever a policy, tool or target raises beside `ToolError`.
    """
    stopwatch, store, tally = _Stopwatch(clock), ResultStore(), _Tally(emit)
    subject = Subject(
        target=target,
        baseline=baseline,
        corpus=corpus,
        reader=reader,
        mind=mind,
        baseline_mind=baseline_mind,
        probe=probe,
        sae=sae,
        oracle=oracle,
        writer=writer,
    )
    audit = Audit(
        policy=policy, tools=tools, subject=subject, budget=budget, seed=seed, emit=tally,
        elapsed=stopwatch, store=store,
    )  # fmt: skip
    graph = _compile(_Steps(audit, tally, stop), checkpointer)
    config = {"configurable": {"thread_id": thread_id}, "recursion_limit": most_steps(budget)}
    saved = _saved(graph, config) if checkpointer is not None else None
    if saved is not None:
        store.restore(results or {}, calls=saved["usage"]["tool_calls"])
        tally.count = saved["events"]
    return _carried_out(graph, saved, config, stopwatch)


def _carried_out(
    graph: Any, saved: AuditState | None, config: Any, stopwatch: "_Stopwatch"
) -> AuditOutcome:
    # Begun only here: loading LangGraph takes a second that is not the auditor's.
    stopwatch.begin_at(saved["usage"]["seconds"] if saved is not None else 0.0)
    return _outcome(_invoke(graph, saved, config))


class _Stopwatch:
    """Seconds spent on the audit, those before an interruption counted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin_at(0.0)

    def begin_at(self, seconds: float) -> None:
        self._start = self._clock() - seconds

    def __call__(self) -> float:
        return self._clock() - self._start


class _Tally:
    """Passes events on and counts them."""

    def __init__(self, emit: Callable[[TrialEvent], None]) -> None:
        self._emit = emit
        self.count = 0

    def __call__(self, event: TrialEvent) -> None:
        self._emit(event)
        self.count += 1


def _begin_at(saved: AuditState | None, tally: _Tally, stopwatch: _Stopwatch) -> None:
    """Start the counters; not before, for loading LangGraph takes a second."""
    tally.count = 0 if saved is None else saved["events"]
    stopwatch.begin_at(0.0 if saved is None else saved["usage"]["seconds"])


class _Steps:
    """The steps as the graph runs them: stopped between two, each with its events counted."""

    def __init__(self, audit: Audit, tally: _Tally, stop: Callable[[], bool]) -> None:
        self._audit, self._tally, self._stop = audit, tally, stop

    def think(self, state: AuditState) -> dict[str, Any]:
        return self._step(self._audit.think, state)

    def act(self, state: AuditState) -> dict[str, Any]:
        return self._step(self._audit.act, state)

    def submit(self, state: AuditState) -> dict[str, Any]:
        return self._step(self._audit.submit, state)

    def _step(
        self, step: Callable[[AuditState], dict[str, Any]], state: AuditState
    ) -> dict[str, Any]:
        if self._stop():
            raise AuditStoppedError("the audit was asked to stop")
        return {**step(state), "events": self._tally.count}


def _compile(steps: _Steps, checkpointer: "BaseCheckpointSaver[Any] | None") -> Any:
    settle_environment()
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(AuditState)
    graph.add_node("think", steps.think)
    graph.add_node("act", steps.act)
    graph.add_node("submit", steps.submit)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", _next_step, ["think", "act", "submit"])
    graph.add_conditional_edges("act", _next_step, ["think", "act", "submit"])
    graph.add_edge("submit", END)
    return graph.compile(checkpointer=checkpointer, name="audit")


def settle_environment() -> None:
    """Set what LangGraph reads from the environment, before it is imported."""
    # A checkpoint may then name no code to run when it is read.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    # LangChain refuses to run at all while one of these asks for the tracer that it dropped.
    for dropped in ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"):
        os.environ.pop(dropped, None)


def _next_step(state: AuditState) -> str:
    if state["submission"] is not None or state["ended_by"] is not None:
        return "submit"
    return "act" if state["calls"] else "think"


def _saved(graph: Any, config: Any) -> AuditState | None:
    values: AuditState | None = graph.get_state(config).values or None
    return values


def _invoke(graph: Any, saved: AuditState | None, config: Any) -> AuditState:
    from langsmith import tracing_context

    # Transcripts stay on this machine, whatever tracing the environment asks for.
    with tracing_context(enabled=False, parent=False):
        if saved is not None and not graph.get_state(config).next:
            return saved
        durability = {"durability": "sync"} if graph.checkpointer is not None else {}
        final: AuditState = graph.invoke(
            None if saved is not None else initial_state(), config, **durability
        )
        return final


def _outcome(state: AuditState) -> AuditOutcome:
    return AuditOutcome(
        submission=Submission.model_validate(state["submission"]),
        ended_by=state["ended_by"] or "submit",
        usage=usage_of(state),
    )
