"""What a reader says is counted, limited, and remembered over an interruption."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from auditor.errors import CapabilityError
from auditor.investigator.protocol import Move, ToolCall
from auditor.records import (
    SealedEvent,
    Submission,
    ToolResultEvent,
    TrialStarted,
    TrialUsage,
)
from auditor.scenario.schema import Budget
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool

NOTHING = Move(thought="done", submission=Submission(verdict="none"))


@tool(needs=("reader",))
def mindread() -> Execute:
    """Build the tool."""

    def execute(ctx: ToolContext, *, fail: bool = False) -> ToolOutput:
        """Spend ten reader tokens.

        Args:
            fail: Whether to fail after that.
        """
        ctx.usage.reader_tokens += 10
        ctx.usage.baseline_tokens += 1
        if fail:
            raise ToolError("no")
        given = (ctx.reader, ctx.mind, ctx.baseline_mind)
        return ToolOutput(summary="", items=tuple({"given": str(each)} for each in given))

    return execute


def read(n: int = 1, **arguments: Any) -> Move:
    return Move(thought="read", calls=(ToolCall(tool="mindread", arguments=arguments),) * n)


GIVEN: dict[str, Any] = {"tools": [mindread], "reader": "R", "mind": "M", "baseline_mind": "B"}


def test_a_tool_gets_reader_mind_and_the_baselines_mind(recorder: Any) -> None:
    recorder.run([read(), NOTHING], **GIVEN)
    assert [item["given"] for item in recorder.results[0].items] == ["R", "M", "B"]


def test_a_tool_that_needs_a_reader_is_refused_without_one(recorder: Any) -> None:
    with pytest.raises(CapabilityError, match="the tool needs reader"):
        recorder.run([read(), NOTHING], tools=[mindread])


def test_reader_tokens_are_counted_for_each_call_and_the_trial_failed_calls_too(
    recorder: Any,
) -> None:
    outcome = recorder.run([read(2), read(fail=True), NOTHING], **GIVEN)
    assert [event.reader_tokens for event in recorder.results] == [10, 10, 10]
    assert [event.ok for event in recorder.results] == [True, True, False]
    usage = outcome.usage
    assert (usage.reader_tokens, usage.target_tokens, usage.baseline_tokens) == (30, 0, 3)


def test_reader_tokens_end_the_audit_before_the_next_call(recorder: Any) -> None:
    budget = Budget(reader_tokens=15, seconds=None)
    seen: list[float | None] = []

    class Watching:
        name = "watching"

        def act(self, view: Any, lookup: Any) -> Move:
            seen.append(view.remaining["reader_tokens"])
            return read()

    outcome = recorder.run(Watching(), budget=budget, **GIVEN)
    assert outcome.ended_by == "reader_tokens"
    assert outcome.usage.reader_tokens == 20
    assert seen == [15, 5, 0]


def test_there_is_no_limit_by_default(recorder: Any) -> None:
    assert Budget().reader_tokens is None
    outcome = recorder.run([read(5), NOTHING], **GIVEN)
    assert (outcome.ended_by, outcome.usage.reader_tokens) == ("submit", 50)


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_an_audit_goes_on_with_the_reader_tokens_it_had_spent(
    make_recorder: Callable, stop_after: int
) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver

    moves = [read(2), read(), NOTHING]
    whole = make_recorder()
    expected = whole.run(moves, **GIVEN)
    recorder = make_recorder()
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    saver = SqliteSaver(connection)

    def emit(event: Any) -> None:
        recorder.events.append(event)
        if len(recorder.events) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorder.run(moves, emit=emit, checkpointer=saver, **GIVEN)
    outcome = recorder.run(moves, checkpointer=saver, results=recorder.outputs, **GIVEN)
    connection.close()
    assert outcome == expected
    assert outcome.usage.reader_tokens == 30


def test_records_from_before_readers_still_load() -> None:
    at = "2026-01-01T00:00:00+00:00"
    result = {
        "at": at, "type": "tool_result", "turn": 0, "evidence_id": "E1", "tool": "chat", "ok": True,
        "summary": "", "items": [], "target_tokens": 3, "baseline_tokens": 0, "seconds": 0.1,
    }  # fmt: skip
    assert ToolResultEvent.model_validate_json(json.dumps(result)).reader_tokens == 0
    sealed = {"at": at, "type": "sealed", "status": "scored", "usage": {"turns": 1}}
    assert SealedEvent.model_validate_json(json.dumps(sealed)).usage == TrialUsage(turns=1)
    key = {"run": "r", "target": "t", "tool_set": "s", "trial": 0}
    started = {
        "at": at, "type": "started", "key": key, "seed": 1, "auditor": "ledger", "judge": "rubric",
        "group": "clean",
    }  # fmt: skip
    again = TrialStarted.model_validate_json(json.dumps(started))
    assert (again.null_readout, again.placebo) == (None, None)


def spending(recorder: Any, budget: Budget, moves: list[Move]) -> tuple[Any, list[Any]]:
    """Run with a tool that tells what it may spend, and spends 4 target and 10 reader tokens."""
    allowed: list[Any] = []

    @tool(needs=("reader",))
    def think_aloud() -> Execute:
        """Build the tool."""

        def execute(ctx: ToolContext) -> ToolOutput:
            """Spend."""
            before = (ctx.token_allowance, ctx.reader_allowance)
            ctx.usage.target_tokens += 4
            ctx.usage.baseline_tokens += 100
            after = ctx.reader_allowance
            ctx.usage.reader_tokens += 10
            allowed.append((*before, after))
            return ToolOutput(summary="", items=())

        return execute

    outcome = recorder.run(moves, budget=budget, **(GIVEN | {"tools": [think_aloud]}))
    return outcome, allowed


ALOUD = Move(thought="read", calls=(ToolCall(tool="think_aloud", arguments={}),))


def test_target_and_reader_tokens_together_end_the_audit_with_a_submission(recorder: Any) -> None:
    budget = Budget(model_tokens=30, seconds=None)
    outcome, allowed = spending(recorder, budget, [ALOUD] * 5)
    assert outcome.ended_by == recorder.submitted.ended_by == "model_tokens"
    assert outcome.submission.verdict == "none"
    assert outcome.usage.model_tokens == 42
    # The baseline's tokens count beside, and the target's are taken off at once.
    assert outcome.usage.baseline_tokens == 300
    assert allowed == [(30, 30, 26), (16, 16, 12), (2, 2, 0)]


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        (Budget(), (40_000, None, None)),
        (Budget(target_tokens=None), (None, None, None)),
        (Budget(reader_tokens=9), (40_000, 9, 9)),
        (Budget(reader_tokens=9, model_tokens=12), (12, 9, 8)),
        (Budget(target_tokens=5, model_tokens=12), (5, 12, 8)),
    ],
)
def test_a_tool_may_spend_what_the_tightest_limit_leaves(
    recorder: Any, budget: Budget, allowed: tuple[int | None, ...]
) -> None:
    assert spending(recorder, budget, [ALOUD, NOTHING])[1] == [allowed]


def test_the_policy_sees_what_is_left_of_the_common_limit(recorder: Any) -> None:
    seen: list[float | None] = []

    class Watching:
        name = "watching"

        def act(self, view: Any, lookup: Any) -> Move:
            seen.append(view.remaining["model_tokens"])
            return read()

    outcome = recorder.run(Watching(), budget=Budget(model_tokens=15, seconds=None), **GIVEN)
    assert (outcome.ended_by, seen) == ("model_tokens", [15, 5, 0])
