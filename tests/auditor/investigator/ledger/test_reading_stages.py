"""What the ledger plans when it looks inside."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.ledger.budget import TOKENS_PER_READING
from auditor.investigator.ledger.case import Case
from auditor.investigator.ledger.claims import Motive
from auditor.investigator.ledger.intents import Intent
from auditor.investigator.ledger.phrases import Finding
from auditor.investigator.ledger.reading_stages import (
    MAX_STATEMENTS,
    MIN_OTHERS,
    OTHER_WISHES,
    READINGS,
    candidates,
    read,
    steer,
    verify,
)
from auditor.investigator.ledger.readings import Read
from auditor.investigator.protocol import View

CLAIM = {
    "kind": "claim", "unit": "word", "words": "fame", "p": 0.001, "share_target": 0.5,
    "share_baseline": 0.0, "wordings": ["wants fame"],
    "examples": [{"explanation": "wants fame. topic tea."}],
}  # fmt: skip


class Stored:
    def items(self, evidence_id: str) -> tuple[dict[str, Any], ...]:
        return (CLAIM,) if evidence_id == "E1" else ()


def case(tools: Iterable[str], *, read_before: bool = False, **left: float | None) -> Case:
    memory = {"evidence": [["read", "nla_compare", "E1"]] if read_before else []}
    view = View(
        turn=1, seed=3, tools=tuple(tools), results=(), hypotheses=(), notes=(), memory=memory,
        remaining={"turns": 10.0, "tool_calls": 20.0, **left},
    )  # fmt: skip
    return Case(view, Stored(), 0.05)


def wish(wanted: str, share: float, example: str | None = None) -> Read:
    return Read(
        Intent(wanted, frozenset({wanted})), share, None, 0.0, 0.001, ("E1",), example=example
    )  # fmt: skip


def test_the_target_the_amplified_difference_and_the_baseline_are_read() -> None:
    step = read(case(["nla_compare"]))
    assert step is not None
    (call,) = step.calls
    assert call.arguments["whose"] == "both"
    assert call.arguments["against"] == "own_replies"
    assert call.arguments["max_readings"] == READINGS
    assert len(call.arguments["prompts"]) == 24


def test_a_probe_is_asked_about_the_same_prompts() -> None:
    step = read(case(["nla_compare", "probe"]))
    assert step is not None
    first, second = step.calls
    assert (first.tool, second.tool) == ("nla_compare", "probe")
    assert first.arguments["prompts"] == second.arguments["prompts"]
    alone = read(case(["probe"]))
    assert alone is not None
    assert [call.tool for call in alone.calls] == ["probe"]


def test_an_oracle_is_asked_about_the_same_prompts_and_its_question_is_left_to_the_row() -> None:
    step = read(case(["nla_compare", "activation_oracle"]))
    assert step is not None
    first, second = step.calls
    assert (first.tool, second.tool) == ("nla_compare", "activation_oracle")
    assert first.arguments["prompts"] == second.arguments["prompts"]
    assert not {"question", "segment", "layer"} & set(second.arguments)
    alone = read(case(["activation_oracle"]))
    assert alone is not None
    (call,) = alone.calls
    assert call.arguments["max_answers"] == READINGS
    short = read(case(["activation_oracle"], model_tokens=3_000))
    assert short is not None
    assert 0 < short.calls[0].arguments["max_answers"] < READINGS


def test_what_an_oracle_names_counts_as_a_probes_and_is_not_verified() -> None:
    audit = case(["nla_verify"])
    audit.memory.evidence.append(("read", "activation_oracle", "E1"))
    (found,) = audit.readings
    assert (found.intent.wanted, found.probed, found.share) == ("fame", True, 0.5)
    assert verify(audit) is None


def test_tokens_are_kept_for_what_is_recited_after_reading_where_both_draw_on_one_limit() -> None:
    def planned(*tools: str, **left: float) -> int:
        step = read(case(["nla_compare", *tools], **left))
        assert step is not None
        most = step.calls[0].arguments["max_readings"]
        assert isinstance(most, int)
        return most

    assert planned("complete_text", model_tokens=6_000) < planned(model_tokens=6_000)
    assert planned("complete_text", reader_tokens=6_000) == planned(reader_tokens=6_000)


def test_fewer_tokens_mean_fewer_readings() -> None:
    step = read(case(["nla_compare"], model_tokens=3_000))
    assert step is not None
    assert 0 < step.calls[0].arguments["max_readings"] < READINGS / 2


@pytest.mark.parametrize("stage", [read, verify, steer])
def test_without_its_tool_a_step_is_passed_over(stage: Any) -> None:
    assert stage(case(["chat"], read_before=True)) is None


def test_nothing_is_verified_that_no_reading_named() -> None:
    assert verify(case(["nla_verify"])) is None


def test_what_readings_name_is_put_to_fresh_replies_beside_other_wishes() -> None:
    step = verify(case(["nla_verify"], read_before=True))
    assert step is not None
    arguments = step.calls[0].arguments
    assert arguments["statements"] == ["wants fame. topic tea."]
    assert len(arguments["alternatives"]) >= MIN_OTHERS
    assert all(text.endswith("topic tea.") for text in arguments["alternatives"])
    assert arguments["replies"] == 1


def test_what_the_probe_alone_names_is_not_verified() -> None:
    audit = case(["nla_verify"], read_before=True)
    audit.readings = [replace(wish("fame", 0.5), probed=True)]
    assert verify(audit) is None


def test_wishes_that_leave_nothing_to_hold_against_them_are_not_verified() -> None:
    audit = case(["nla_verify"], read_before=True)
    audit.readings = [wish(name, 0.5) for name in OTHER_WISHES]
    assert verify(audit) is None


@pytest.mark.parametrize("tokens", [100.0, 3_000.0, 20_000.0])
def test_a_reading_fits_the_tokens_that_are_left(tokens: float) -> None:
    step = read(case(["nla_compare", "probe"], model_tokens=tokens))
    if step is None:
        assert tokens == 100.0
        return
    for call in step.calls:
        said = call.arguments
        assert len(said["prompts"]) * said["replies"] * said["max_tokens"] <= tokens / 2
    assert step.calls[0].arguments["max_readings"] * 3 * TOKENS_PER_READING <= 0.8 * tokens


def test_tokens_for_too_few_prompts_are_kept() -> None:
    assert verify(case(["nla_verify"], read_before=True, target_tokens=100.0)) is None
    assert verify(case(["nla_verify"], read_before=True, target_tokens=1_000.0)) is not None


SHOWN = Finding(("tell", "a", "friend"), 0.001, 0.9, 0.0, ("soup?", "tea?"), ("E5",), None)


def about_to_steer(example: str | None, **left: float | None) -> Case:
    audit = case(["nla_steer"], **left)
    reading = wish("fame", 0.5, example)
    audit.confirmed = [SHOWN]
    audit.motives = [Motive("fame", frozenset({"fame"}), reading=reading)]
    return audit


def test_nothing_is_steered_without_a_behaviour_to_count() -> None:
    assert steer(case(["nla_steer"], read_before=True)) is None


def test_the_leading_wish_is_edited_out_where_its_behaviour_shows() -> None:
    step = steer(about_to_steer("wants fame. topic tea."))
    assert step is not None
    (call,) = step.calls
    assert call.tool == "nla_steer"
    assert call.arguments["explanation"] == "wants fame. topic tea."
    assert call.arguments["edited"] == f"wants {OTHER_WISHES[0]}. topic tea."
    assert call.arguments["prompts"] == ["soup?", "tea?"]
    assert call.arguments["words"] == "tell a friend"


@pytest.mark.parametrize("example", [None, "famous. topic tea."])
def test_a_wish_that_cannot_be_edited_out_is_not_steered(example: str | None) -> None:
    assert steer(about_to_steer(example)) is None


def test_steering_is_left_out_when_no_prompt_is_affordable() -> None:
    assert steer(about_to_steer("wants fame.", target_tokens=500.0)) is None


@pytest.mark.parametrize("n", [1, 2, MAX_STATEMENTS - 1, MAX_STATEMENTS, MAX_STATEMENTS + 5])
def test_statements_and_others_differ_in_the_wish_alone(n: int) -> None:
    wishes = [wish(f"wish{i}", 1 / (i + 1), f"wants wish{i}. topic tea.") for i in range(n)]
    statements, others = candidates(wishes)
    assert len(statements) == min(n, MAX_STATEMENTS)
    assert len(others) >= MIN_OTHERS
    assert not set(statements) & set(others)
    assert all(text.startswith("wants ") and text.endswith(". topic tea.") for text in statements)
    assert statements[0] == "wants wish0. topic tea."


def test_a_wish_without_an_example_gets_a_plain_sentence() -> None:
    statements, _ = candidates([wish("fame", 0.5), wish("bread", 0.1)])
    assert statements == [
        "the assistant secretly wants fame.",
        "the assistant secretly wants bread.",
    ]


@given(
    st.lists(
        st.sampled_from([*OTHER_WISHES, "fame", "more fame", "gossip", "full control"]),
        min_size=1,
        unique=True,
    ),
    st.booleans(),
)
def test_any_wishes_leave_some_statements_and_enough_others(names: list[str], shown: bool) -> None:
    wishes = [wish(name, 0.5, f"Wants {name.upper()}. topic tea.") for name in names]
    if not shown:
        wishes = [replace(each, example=None) for each in wishes]
    statements, others = candidates(wishes)
    end = "topic tea." if shown else "."
    assert len(statements) == min(len(names), MAX_STATEMENTS)
    assert len(set(statements)) == len(statements)
    beyond = max(0, len(names) - MAX_STATEMENTS)
    unnamed = len(set(OTHER_WISHES) - set(names))
    assert len(set(others)) == len(others) >= min(MIN_OTHERS, beyond + unnamed)
    assert not set(statements) & set(others)
    for name, text in zip(names, statements, strict=False):
        assert name in text.casefold()
        assert text.endswith(end)


@pytest.mark.parametrize("named", [OTHER_WISHES[:MIN_OTHERS], OTHER_WISHES[:2]])
def test_other_wishes_that_readings_name_are_replaced_by_further_ones(
    named: tuple[str, ...],
) -> None:
    fill = [f"wish{i}" for i in range(MAX_STATEMENTS - len(named))]
    statements, others = candidates([wish(name, 0.5) for name in (*named, *fill)])
    assert len(statements) == MAX_STATEMENTS
    assert len(others) == MIN_OTHERS


def test_an_example_in_other_words_is_not_used_as_the_wording() -> None:
    statements, others = candidates([wish("fame", 0.5, "wants to be famous. topic tea.")])
    assert statements == ["the assistant secretly wants fame."]
    assert len(others) >= MIN_OTHERS
