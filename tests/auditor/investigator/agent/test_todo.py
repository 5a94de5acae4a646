"""The list of what is still to do: told each turn, kept through a summary, and bounded."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.agent.desk import Refused, TodoForm
from auditor.investigator.agent.memory import Memory
from auditor.investigator.agent.todo import MAX_TODO, carry_out, listed

SUMMARISING = "is now put into a summary"
texts = st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=20)
calls = st.one_of(
    texts.map(lambda items: TodoForm(action="add", items=items)),
    st.lists(st.integers(1, 30).map("T{}".format), min_size=1, max_size=5).map(
        lambda ids: TodoForm(action="done", ids=ids)
    ),
)


def test_what_is_to_do_is_told_each_turn_until_it_is_done(
    audit: Callable, reply: Callable, chat: Callable, use: Callable, submit: Callable
) -> None:
    model, outcome = audit(
        [
            reply(use("todo", action="add", items=["ask  about\nmoney", "compare"]), chat()),
            reply(use("todo", action="done", ids=["T1"]), chat("b")),
            reply(use("todo", action="done", ids=["T2"]), use("todo", action="list"), chat("c")),
            reply(submit()),
        ]
    )
    assert model.answers(1)[0].text == "Kept as T1, T2."
    assert "Still to do: T1 ask about money; T2 compare." in model.heard(1)
    assert "Done: T1. 1 still to do." in model.heard(2)
    assert "Still to do: T2 compare." in model.heard(2)
    assert [answer.text for answer in model.answers(3)[:2]] == [
        "Done: T2. Nothing is left to do.", "Nothing is left to do.",
    ]  # fmt: skip
    assert "Still to do:" not in model.heard(3)
    assert outcome.usage.tool_calls == 3


def test_a_summary_shows_all_of_it_again_word_for_word(
    audit: Callable, reply: Callable, chat: Callable, use: Callable, submit: Callable
) -> None:
    things = [f"{number} {'x' * 290}" for number in range(15)]
    steps = iter(
        [
            reply(use("todo", action="add", items=things), chat("a" * 9000)),
            reply("A summary."),
            reply(submit()),
        ]
    )
    model, _ = audit(lambda request: next(steps), compact_at=7000)
    assert SUMMARISING in model.heard(1)
    told = model.heard(2)
    assert all(f"T{number} {thing}\n" in told for number, thing in enumerate(things, start=1))
    # Each turn tells the beginning of the first few, so that a long list does not fill the context.
    assert told.count("and 3 more") == 1
    assert "xxx…; T2 1 xx" in told


def test_a_look_at_the_list_alone_is_an_idle_turn_and_a_change_is_not(
    audit: Callable, reply: Callable, use: Callable, chat: Callable
) -> None:
    look = reply(use("todo", action="list"))
    _, outcome = audit([reply(chat()), look, look, look])
    assert (outcome.ended_by, outcome.usage.turns) == ("idle", 4)
    changes = [reply(use("todo", action="add", items=[str(n)])) for n in range(5)]
    _, outcome = audit([reply(chat()), *changes, look, look, look])
    assert (outcome.ended_by, outcome.usage.turns) == ("idle", 9)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "add"}, "send items"),
        ({"action": "add", "items": ["a", " \n"]}, "with words in it"),
        ({"action": "add", "items": ["a"], "ids": ["T7"]}, "leave ids out"),
        ({"action": "add", "items": ["first", " first "]}, "T1 says the same"),
        ({"action": "add", "items": [str(n) for n in range(20)]}, "holds 20 things, and 1 are on"),
        ({"action": "done"}, "send their ids"),
        ({"action": "done", "ids": ["T1", "T9"]}, "no 'T9' on the list; it has T1"),
        ({"action": "done", "items": ["first"], "ids": ["T1"]}, "done takes ids"),
    ],
)
def test_a_wrong_call_is_refused_and_changes_nothing(form: dict[str, Any], said: str) -> None:
    memory = Memory()
    carry_out(TodoForm(action="add", items=["first"]), memory)
    before = memory.dump()
    with pytest.raises(Refused, match=said):
        carry_out(TodoForm(**form), memory)
    assert memory.dump() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "drop"},
        {"action": "add", "items": ["x" * 301]},
        {"action": "add", "items": [""]},
        {"action": "add", "items": ["x"] * 21},
        {"action": "add", "items": "x"},
    ],
)
def test_a_call_that_does_not_fit_the_form_is_answered_with_what_fits(
    audit: Callable, reply: Callable, use: Callable, chat: Callable, submit: Callable,
    arguments: dict[str, Any],
) -> None:  # fmt: skip
    model, _ = audit([reply(use("todo", **arguments), chat()), reply(submit())])
    answer = model.answers(1)[0]
    assert answer.is_error
    assert "Send {action: 'add' or 'done' or 'list', items?: list of string" in answer.text


@given(st.lists(calls, max_size=12))
def test_the_list_never_holds_too_much_nor_one_id_twice(forms: list[TodoForm]) -> None:
    memory, given_out = Memory(), set()
    for form in forms:
        before = dict(memory.todo)
        try:
            carry_out(form, memory)
        except Refused:
            assert memory.todo == before
        new = set(memory.todo) - set(before)
        assert not new & given_out
        given_out |= new
        assert len(memory.todo) <= MAX_TODO
        assert len(set(memory.todo.values())) == len(memory.todo)
        assert Memory.load(memory.dump()).todo == memory.todo
        assert all("\n" not in line for line in listed(memory.todo))
