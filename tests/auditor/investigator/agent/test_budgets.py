"""Budgets stop an audit before they are exceeded, and leave the auditor a last word."""

from collections.abc import Callable
from typing import Any

import pytest

from auditor.investigator.agent.limits import Bound, length, plain_estimate
from auditor.provider.protocol import Request, TokenUsage
from auditor.scenario.schema import Budget


def test_the_last_turn_is_announced_and_a_verdict_in_it_is_taken_as_it_is(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    claim = {"statement": "wants gold", "kind": "motive"}
    model, outcome = audit(
        [reply(chat()), reply(submit("motive", claim))], budget=Budget(turns=2, seconds=None)
    )
    assert "last turn" not in model.heard(0)
    assert "This is your last turn: of turns" in model.heard(1)
    assert (outcome.ended_by, outcome.submission.verdict) == ("submit", "motive")


def test_a_last_turn_without_a_verdict_hands_in_the_ledger(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, idea: Callable
) -> None:
    steps = [reply(chat()), reply(chat("b"), idea(confidence=0.6, evidence=["E1"]))]
    _, outcome = audit(steps, budget=Budget(turns=2, seconds=None))
    assert (outcome.ended_by, outcome.usage.turns) == ("turns", 2)
    assert outcome.submission.verdict == "motive"
    assert len(recorder.results) == 1


@pytest.mark.parametrize("name", ["tool_calls", "target_tokens", "model_tokens"])
def test_when_no_call_can_be_made_any_more_the_auditor_still_submits(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, submit: Callable, name: str
) -> None:
    enough = {"tool_calls": 2, "target_tokens": 8, "model_tokens": 8}[name]
    steps = [reply(chat("a"), chat("b"), chat("c")), reply(submit())]
    model, outcome = audit(steps, budget=Budget(seconds=None, **{name: enough}))
    assert len(recorder.results) == 2
    answers = model.answers(1)
    assert [a.is_error for a in answers] == [False, False, True]
    assert f"{name} are used up" in answers[2].text
    assert f"last turn: of {name}" in model.heard(1)
    assert outcome.ended_by == "submit"


def test_the_auditors_own_tokens_are_never_exceeded(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    asked: list[int | None] = []

    def wordy(request: Request) -> Any:
        asked.append(request.max_tokens)
        spent = TokenUsage(output_tokens=min(request.max_tokens or 4096, 4096))
        return reply(chat(str(len(asked))), usage=spent)

    model, outcome = audit(wordy, budget=Budget(auditor_tokens=10_400, seconds=None))
    assert asked == [None, None, 708, 1500]
    assert outcome.ended_by == "auditor_tokens"
    assert outcome.usage.auditor_tokens == 10_400
    assert "last turn: of auditor_tokens" in model.heard(3)


def test_a_budget_below_one_reply_makes_the_first_turn_the_last(
    audit: Callable, reply: Callable, submit: Callable
) -> None:
    model, outcome = audit([reply(submit())], budget=Budget(auditor_tokens=50, seconds=None))
    assert model.requests[0].max_tokens == 50
    assert "last turn" in model.heard(0)
    assert outcome.ended_by == "submit"


def growing(request: Request) -> Bound:
    return Bound(tokens=100, dollars=0.01 * len(request.messages))


def test_dollars_are_never_exceeded_and_the_last_request_is_announced(
    audit: Callable, reply: Callable, chat: Callable
) -> None:
    def priced(request: Request) -> Any:
        bound = growing(request).dollars
        assert bound is not None
        return reply(chat(str(len(request.messages))), dollars=bound)

    limit = Budget(dollars=0.2, seconds=None)
    model, outcome = audit(priced, estimate=growing, budget=limit)
    assert outcome.ended_by == "dollars"
    assert outcome.usage.dollars == pytest.approx(0.16)
    assert len(model.requests) == 4
    assert "last turn: of dollars" in model.heard(3)
    assert "last turn" not in model.heard(2)


@pytest.mark.parametrize("dollars", [5.0, None])
def test_a_request_that_could_cost_too_much_is_not_made(
    audit: Callable, reply: Callable, dollars: float | None
) -> None:
    model, outcome = audit(
        [], estimate=lambda request: Bound(10, dollars), budget=Budget(dollars=1, seconds=None)
    )
    assert model.requests == []
    assert (outcome.ended_by, outcome.submission.verdict) == ("dollars", "none")


def test_time_that_is_nearly_up_makes_a_turn_the_last(
    audit: Callable, make_target: Callable, reply: Callable, chat: Callable, submit: Callable,
    clock: Any,
) -> None:  # fmt: skip
    target = make_target()

    def wait() -> None:
        clock.now += 30

    target.on_answer = wait
    model, outcome = audit(
        [reply(chat("a")), reply(submit())], target=target, clock=clock, budget=Budget(seconds=80)
    )
    assert "last turn: of seconds" in model.heard(1)
    assert outcome.ended_by == "submit"


def test_an_audit_without_limits_is_told_so(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    limits = dict.fromkeys(Budget.model_fields)
    model, outcome = audit([reply(chat()), reply(submit())], budget=Budget(**limits))
    assert "Budget left: unlimited." in model.heard(0)
    assert outcome.ended_by == "submit"


def test_an_estimate_without_prices_bounds_the_reply_alone() -> None:
    request = Request(system="s" * 300, messages=())
    estimate = plain_estimate(900)
    assert estimate(request) == Bound(900, None)
    assert estimate(request.model_copy(update={"max_tokens": 70})) == Bound(70, None)
    assert length(request) == 100
