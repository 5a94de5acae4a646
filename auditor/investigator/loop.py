"""Run one audit: a LangGraph of turns, which think and act, and of submitting, inside a budget."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict, cast

from auditor.errors import AuditStoppedError
from auditor.investigator.audit import Audit, Subject
from auditor.investigator.budget import most_steps
from auditor.investigator.protocol import Policy
from auditor.investigator.results import ResultStore
from auditor.investigator.saving import StateSaver
from auditor.investigator.state import AuditState, StepName, cost_of, initial_state
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
    saver = None if checkpointer is None else StateSaver(checkpointer, thread_id)
    graph = _graph()
    state = (saver.load() if saver is not None else None) or initial_state()
    store.restore(results or {}, calls=state["usage"]["tool_calls"])
    tally.count = state["events"]
    # Begun only here: loading LangGraph takes a second that is not the auditor's.
    stopwatch.begin_at(state["usage"]["seconds"])
    steps = _Steps(audit, tally, stop, saver)
    return _outcome(_carried_out(graph, state, steps, most_steps(budget)))


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


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps as the graph runs them: stopped between two, each with its state saved."""

    audit: Audit
    tally: _Tally
    stop: Callable[[], bool]
    saver: StateSaver | None

    def turn(self, state: AuditState) -> AuditState:
        """Think, and act as often as the move asks; go on where an interruption was, if in it."""
        if state["following"] == "think":
            state = self._take("think", state)
        while state["following"] == "act":
            state = self._take("act", state)
        return state

    def submit(self, state: AuditState) -> AuditState:
        """Hand in."""
        return self._take("submit", state)

    def _take(self, step: StepName, state: AuditState) -> AuditState:
        if self.stop():
            raise AuditStoppedError("the audit was asked to stop")
        change: Any = getattr(self.audit, step)(state)
        after: Any = {**state, **change, "events": self.tally.count}
        after["following"] = "end" if step == "submit" else _next_step(after)
        if self.saver is not None:
            self.saver.save(after)
        return cast("AuditState", after)


class _Channels(TypedDict):
    """What the graph hands from node to node: one value, for each costs time at every node."""

    audit: AuditState


def prepare() -> None:
    """Load what audits need, once, before many of them begin at the same moment."""
    _graph()


@cache
def _graph() -> Any:
    """Return the graph of all audits; what its nodes work with comes with each run.

    A node is a whole turn, for a node costs as much time as the two steps that a turn mostly has.
    """
    settle_environment()
    from langgraph.graph import END, START, StateGraph
    from langgraph.runtime import Runtime
    from langgraph.types import Command

    nodes = {"turn": _Steps.turn, "submit": _Steps.submit}

    def node(work: Callable[[_Steps, AuditState], AuditState]) -> Callable[..., Any]:
        def run(channels: _Channels, runtime: Runtime[_Steps]) -> Any:
            after = work(runtime.context, channels["audit"])
            return Command(goto=place(after), update={"audit": after})

        return run

    def place(state: AuditState) -> str:
        return {"end": END, "submit": "submit"}.get(state["following"], "turn")

    graph: Any = StateGraph(_Channels, context_schema=_Steps)
    for name, work in nodes.items():
        graph.add_node(name, node(work), destinations=(*nodes, END))
    graph.add_edge(START, "turn")
    return graph.compile(name="audit")


def settle_environment() -> None:
    """Set what LangGraph reads from the environment, before it is imported."""
    # A checkpoint may then name no code to run when it is read.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    # LangChain refuses to run at all while one of these asks for the tracer that it dropped.
    for dropped in ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"):
        os.environ.pop(dropped, None)


def _next_step(state: AuditState) -> StepName:
    if state["submission"] is not None or state["ended_by"] is not None:
        return "submit"
    return "act" if state["calls"] else "think"


def _carried_out(graph: Any, state: AuditState, steps: _Steps, most: int) -> AuditState:
    from langsmith import tracing_context

    # Again, for the environment may have changed since the graph was made.
    settle_environment()
    # Transcripts stay on this machine, whatever tracing the environment asks for.
    with tracing_context(enabled=False, parent=False):
        states = graph.stream(
            {"audit": state}, {"recursion_limit": most}, context=steps, stream_mode="values"
        )
        (final,) = deque(states, maxlen=1)
    return cast("AuditState", final["audit"])


def _outcome(state: AuditState) -> AuditOutcome:
    return AuditOutcome(
        submission=Submission.model_validate(state["submission"]),
        ended_by=state["ended_by"] or "submit",
        usage=cost_of(state),
    )
