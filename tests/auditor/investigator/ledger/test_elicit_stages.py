"""What the ledger plans when it draws more text."""

from collections.abc import Iterable
from typing import Any

from auditor.investigator.ledger.case import Case
from auditor.investigator.ledger.elicit_stages import (
    CONVERSATIONS,
    OPENINGS,
    PRESSED,
    elicit,
    explore,
)
from auditor.investigator.ledger.stages import STAGES
from auditor.investigator.protocol import View

BEGUN = {"kind": "conversation", "conversation": "C7", "new": [], "model": "target", "reply": "a"}
TURNS = tuple({"model": "target", "prompt": "", "reply": f"any advice on t{i}?"} for i in range(9))
NEW = frozenset(
    {"prefill", "batch_prefill", "batch_complete", "self_report", "steer", "batch_chat"}
    | {"batch_user", "converse", "logit_lens", "activation_diff", "sae_top", "sae_feature"}
    | {"candidate_logprob", "grep_corpus"}
)


class Stored:
    def items(self, evidence_id: str) -> tuple[dict[str, Any], ...]:
        return TURNS if evidence_id == "E1" else (BEGUN, {"kind": "reply", "model": "baseline"})


def case(tools: Iterable[str], *, begun: int = 0, **left: float | None) -> Case:
    evidence = [["survey", "sample_user", "E1"]]
    evidence += [["explore", "converse", f"E{2 + i}"] for i in range(begun)]
    view = View(
        turn=1, seed=3, tools=tuple(tools), results=(), hypotheses=(), notes=(),
        memory={"evidence": evidence},
        remaining={"turns": 10.0, "tool_calls": 28.0, "target_tokens": 30_000.0, **left},
    )  # fmt: skip
    return Case(view, Stored(), 0.05)


def planned(stage: Any, *args: Any, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    step = stage(case(*args, **more))
    return [] if step is None else [(call.tool, call.arguments) for call in step.calls]


def test_every_opening_is_put_before_the_same_questions_in_both_models() -> None:
    calls = planned(elicit, ["prefill"])
    assert [arguments["prefill"] for _, arguments in calls] == list(OPENINGS)
    assert len({tuple(arguments["prompts"]) for _, arguments in calls}) == 1
    assert {arguments["model"] for _, arguments in calls} == {"both"}


def test_the_battery_about_itself_is_asked_twice_lest_its_answers_judge_themselves() -> None:
    assert (
        planned(elicit, ["self_report"])
        == [("self_report", {"first": 50, "model": "both", "max_tokens": 24})] * 2
    )


def test_batches_are_asked_in_both_steps_as_their_tools_are_there() -> None:
    assert [tool for tool, _ in planned(explore, ["batch_chat", "batch_user"])] == [
        "batch_user", "batch_chat",
    ]  # fmt: skip
    assert [tool for tool, _ in planned(elicit, ["batch_prefill", "batch_complete"])] == [
        "batch_prefill", "batch_complete",
    ]  # fmt: skip


def test_conversations_begin_with_what_users_ask_and_are_pressed_later() -> None:
    calls = planned(explore, ["converse"])
    assert len(calls) == CONVERSATIONS
    assert {arguments["message"] for _, arguments in calls} <= {str(t["reply"]) for t in TURNS}
    pressed = planned(elicit, ["converse"], begun=3)
    assert [(a["conversation"], a["message"]) for _, a in pressed] == [
        ("C7", PRESSED[0]), ("C7", PRESSED[1]), ("C7", PRESSED[0]),
    ]  # fmt: skip
    assert all(arguments["with_baseline"] for _, arguments in (*calls, *pressed))


def test_no_conversation_is_begun_that_there_are_too_few_calls_to_go_on_with() -> None:
    assert planned(explore, ["converse"], tool_calls=16.0) == []


def test_a_push_to_be_honest_stays_within_the_tokens_left() -> None:
    ((_, arguments),) = planned(elicit, ["steer"], target_tokens=4_000.0)
    replies = len(arguments["prompts"]) * arguments["samples"] * 3
    assert replies * arguments["max_tokens"] <= 4_000
    assert planned(elicit, ["steer"], target_tokens=300.0) == []


def test_every_tool_comes_once_before_any_comes_again_and_calls_are_kept_for_instruments() -> None:
    tools = ["prefill", "batch_prefill", "self_report", "steer", "logit_lens", "sae_top"]
    assert [tool for tool, _ in planned(elicit, tools, tool_calls=7.0)] == [
        "prefill", "batch_prefill", "self_report", "steer",
    ]  # fmt: skip


def test_no_call_asks_for_more_tokens_than_are_left() -> None:
    for left in (100.0, 1_000.0, 5_000.0):
        for stage in (explore, elicit):
            for _, arguments in planned(stage, NEW, target_tokens=left):
                n = arguments.get("k") or len(arguments.get("prompts", "1"))
                n = 2 * arguments["first"] if "first" in arguments else n
                assert n * arguments.get("samples", 1) * arguments["max_tokens"] <= left


def test_rows_without_the_new_tools_plan_nothing_of_these_steps() -> None:
    old = ["chat", "compare_with_baseline", "sample_user", "complete_text", "search_corpus",
           "probe", "nla_compare", "nla_verify", "nla_steer"]  # fmt: skip
    known = dict(STAGES)
    for name in ("explore", "elicit", "inspect", "score"):
        assert known[name](case(old)) is None
