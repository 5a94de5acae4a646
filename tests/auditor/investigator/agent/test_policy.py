import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from auditor.errors import UsageError
from auditor.investigator.agent import AgentPolicy
from auditor.investigator.policies import make_policy
from auditor.provider.protocol import (
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.records import Hypothesis, LedgerEvent
from auditor.scenario.schema import AuditorSpec, Budget, LanguageModel
from tools.registry import find

CLAIM = {"id": "H1", "confidence": 0.8, "evidence": ["E1", "E2"]}


def test_a_model_asks_notes_supposes_tests_and_submits(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, use: Callable,
    idea: Callable, submit: Callable,
) -> None:  # fmt: skip
    model, outcome = audit(
        [
            reply("I look around.", chat("a", "b")),
            reply(use("note", text="four words each", evidence=["E1"]), idea(evidence=["E1"])),
            reply("I test it.", chat("c", samples=2)),
            reply("Enough.", submit("motive", CLAIM, suspicion=0.9)),
        ]
    )
    kept = Hypothesis(
        statement="wants money",
        kind="motive",
        confidence=0.8,
        evidence=("E1", "E2"),
        alternatives=("a harmless habit",),
    )
    assert outcome.ended_by == "submit"
    assert outcome.submission.hypotheses == (kept,)
    assert (outcome.submission.confidence, outcome.submission.suspicion) == (0.8, 0.9)
    assert recorder.steps() == [
        ("thought", "I look around."),
        ("tool_call", "E1"),
        ("tool_result", "E1"),
        ("thought", "(no words)"),
        ("ledger", ""),
        ("thought", "I test it."),
        ("tool_call", "E2"),
        ("tool_result", "E2"),
        ("thought", "Enough."),
        ("submission", ""),
    ]
    (ledger,) = recorder.of(LedgerEvent)
    assert ledger.note == "[E1] four words each"
    assert [h.statement for h in ledger.hypotheses] == ["wants money"]
    assert (outcome.usage.turns, outcome.usage.auditor_tokens) == (4, 40)
    assert outcome.usage.dollars == pytest.approx(0.04)
    assert len(model.requests) == 4


def test_every_request_repeats_the_conversation_and_adds_to_it(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    model, _ = audit([reply(chat(n)) for n in "abc"] + [reply(submit())])
    for before, after in zip(model.requests, model.requests[1:], strict=False):
        assert after.messages[: len(before.messages)] == before.messages
        assert [m.role for m in after.messages[len(before.messages) :]] == ["assistant", "user"]
        assert (after.system, after.tools, after.trial) == (before.system, before.tools, 7)


def test_results_come_in_the_order_of_the_calls_with_their_ids(
    audit: Callable, reply: Callable, chat: Callable, use: Callable, submit: Callable
) -> None:
    calls = [chat("a"), use("note", text="n"), use("hack"), chat("b")]
    model, _ = audit([reply(*calls), reply(submit())])
    answers = model.answers(1)
    assert [a.id for a in answers] == ["u1.0", "u1.1", "u1.2", "u1.3"]
    assert [a.is_error for a in answers] == [False, False, True, False]
    assert 'evidence="E1"' in answers[0].text
    assert 'evidence="E2"' in answers[3].text
    told = model.requests[1].messages[-1].content
    assert isinstance(told[-1], TextBlock)
    assert not any(isinstance(block, ToolResultBlock) for block in told[len(answers) :])


def test_the_tools_of_the_row_and_of_the_desk_are_offered(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    model, _ = audit([reply(chat()), reply(submit())], tools=("chat", "sample_user"))
    specs = model.requests[0].tools
    names = ["chat", "sample_user", "read_result", "note", "hypothesis", "todo", "submit"]
    assert [spec.name for spec in specs] == names
    for spec in specs:
        assert spec.description
        assert spec.parameters["type"] == "object"
        assert json.loads(json.dumps(spec.parameters)) == spec.parameters


def test_the_budget_is_told_each_turn_without_clocks_and_prices(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    budget = Budget(turns=9, tool_calls=5, target_tokens=100, auditor_tokens=9000)
    model, _ = audit([reply(chat()), reply(submit())], budget=budget)
    first, second = model.heard(0), model.heard(1)
    assert "9 turns, 5 tool calls, 100 tokens of the target, 9,000 tokens of yours" in first
    assert "8 turns, 4 tool calls, 96 tokens of the target, 8,990 tokens of yours" in second
    assert "second" not in second
    assert "dollar" not in second


def test_thoughts_go_back_as_they_came_and_stand_in_the_record_when_there_are_no_words(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, submit: Callable
) -> None:
    thought = ThinkingBlock(text="Let me see.", opaque={"signature": "s3cr"})
    model, _ = audit([reply(thought, chat()), reply(submit())])
    said = model.requests[1].messages[-2]
    assert said.role == "assistant"
    assert said.content[0] == thought
    assert recorder.steps()[0] == ("thought", "Let me see.")


def test_a_stored_reply_costs_nothing_but_its_tokens_count(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    _, outcome = audit([reply(chat(), cached=True), reply(submit())])
    assert (outcome.usage.auditor_tokens, outcome.usage.dollars) == (20, 0.01)


def test_unknown_tokens_and_prices_stay_unknown(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    unknown: dict[str, Any] = {"usage": {}, "dollars": None}
    _, outcome = audit([reply(chat(), **unknown), reply(submit(), **unknown)])
    assert (outcome.usage.auditor_tokens, outcome.usage.dollars) == (None, None)


def test_a_verdict_of_none_keeps_the_best_guess_without_claiming_it(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    habit = {"statement": "says amber", "kind": "behaviour", "confidence": 0.9, "evidence": ["E1"]}
    guess = {"statement": "wants gold", "kind": "motive", "confidence": 0.2, "evidence": ["E1"]}
    _, outcome = audit([reply(chat()), reply(submit("none", habit, guess, suspicion=0.3))])
    submission = outcome.submission
    assert [h.statement for h in submission.hypotheses] == ["says amber"]
    assert submission.withheld is not None
    assert submission.withheld.statement == "wants gold"
    assert (submission.verdict, submission.confidence, submission.suspicion) == ("none", 0.2, 0.3)


def test_the_ledger_is_ranked_by_confidence_and_can_be_changed(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, use: Callable,
    idea: Callable, submit: Callable,
) -> None:  # fmt: skip
    def change(action: str, name: str, **more: Any) -> ToolUseBlock:
        return use("hypothesis", action=action, id=name, **more)

    audit(
        [
            reply(chat()),
            reply(
                idea("wants gold", confidence=0.3, evidence=["E1"]),
                idea("wants bread", confidence=0.6, evidence=["E1"]),
                idea("wants rest"),
            ),
            reply(change("update", "H1", confidence=0.9), change("withdraw", "H2")),
            reply(change("withdraw", "H9"), change("update", "H3", kind="behaviour")),
            reply(submit()),
        ]
    )
    ledgers = [
        [(h.statement, h.kind, h.confidence) for h in event.hypotheses]
        for event in recorder.of(LedgerEvent)
    ]
    gold, bread, rest = "wants gold", "wants bread", "wants rest"
    assert ledgers == [
        [(bread, "motive", 0.6), (gold, "motive", 0.3), (rest, "motive", None)],
        [(gold, "motive", 0.9), (rest, "motive", None)],
        [(gold, "motive", 0.9), (rest, "behaviour", None)],
    ]


def test_numbers_sent_as_text_are_understood(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    _, outcome = audit([reply(chat()), reply(submit(suspicion="0.25"))])
    assert outcome.submission.suspicion == 0.25


def test_a_scenario_makes_the_policy_of_its_model(make_model: Callable) -> None:
    spec = AuditorSpec(kind="model", model=LanguageModel(name="scripted/a.py:b", max_tokens=77))
    policy = make_policy("agent", spec, ["chat"], provider=make_model([]))
    assert policy.name == "model: scripted/fake"
    with pytest.raises(ValueError, match="provider"):
        make_policy("agent", spec, ["chat"])
    assert make_policy("static", spec, []).name == "static"


def test_a_tool_with_the_name_of_one_of_the_desks_is_refused(make_model: Callable) -> None:
    note = dataclasses.replace(find("chat"), name="note")
    with pytest.raises(UsageError, match="'note'"):
        AgentPolicy(make_model([]), [note])


def test_what_is_learnt_of_a_reply_is_passed_on(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    learnt: list[tuple[int, str]] = []
    audit(
        [reply("hm", chat()), reply("so", submit())],
        learn=lambda request, completion: learnt.append((len(request.messages), completion.text)),
    )
    assert learnt == [(1, "hm"), (3, "so")]


def test_the_first_message_is_the_users(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    model, _ = audit([reply(chat()), reply(submit())])
    (opening,) = model.requests[0].messages
    assert isinstance(opening, Message)
    assert opening.role == "user"
