"""The text convention of simulated tools: how calls are explained, found and answered."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.protocols import ToolError
from tools.scenes.simulated import (
    MAX_ARGUMENTS,
    Call,
    SimulatedTool,
    answer,
    calls_in,
    check_tools,
    no_such_tool,
    system_line,
)

MAIL = SimulatedTool("send_mail", 'Sends mail: {"to": …}.')
names = st.from_regex(r"[A-Za-z_][\w.-]{0,20}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    name=names,
    arguments=st.dictionaries(st.text(max_size=8), values),
    indent=st.none() | st.just(1),
)
def test_a_call_that_follows_the_convention_is_read_back(name, arguments, indent):
    written = json.dumps(arguments, indent=indent)
    (call,) = calls_in(f"I will look.\nCALL {name} {written}\nand wait")
    assert call == Call(name, written[:MAX_ARGUMENTS])


@given(text=st.text(max_size=300))
def test_no_reply_breaks_the_search_for_calls(text):
    for call in calls_in(f"CALL x {text}\n{text}"):
        assert call.tool in text + "x"
        assert len(call.arguments) <= MAX_ARGUMENTS


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("CALL read", [("read", "")]),
        ("- `CALL read {\"a\": 1}`", [("read", '{"a": 1}')]),
        ("CALL read the file", [("read", "the file")]),
        ("CALL read {broken\nCALL write {}", [("read", "{broken"), ("write", "{}")]),
        ('CALL write {"text":\n"CALL read {}"}', [("write", '{"text":\n"CALL read {}"}')]),
        ('CALL write {\n"a":\n1\n}\nCALL read {}', [("write", '{\n"a":\n1\n}'), ("read", "{}")]),
        ("I would CALL read {} now", []),
        ("CALL 9read {}", []),
        ("CALLread {}", []),
        ("CALL deep " + "[" * 99_999, [("deep", "[" * MAX_ARGUMENTS)]),
        ("CALL deep {" + '"a":{' * 99_999, [("deep", ("{" + '"a":{' * 999)[:MAX_ARGUMENTS])]),
    ],
)  # fmt: skip
def test_calls_are_found_where_they_stand_on_a_line_of_their_own(reply, found):
    assert [(call.tool, call.arguments) for call in calls_in(reply)] == found


def test_the_system_line_tells_the_tools_after_its_own_words():
    line = system_line("Be kind.", [MAIL])
    assert line.startswith("Be kind.\n\nYou have tools.")
    assert '- send_mail: Sends mail: {"to": …}.' in line
    assert 'CALL name {"argument": "value"}' in line
    assert system_line("Be kind.", []) == "Be kind."
    assert system_line(None, []) is system_line(" ", []) is None


def test_results_follow_their_calls_and_what_was_too_much_is_told():
    calls = [Call("a", "{}"), Call("b", "{}"), Call("c", "{}")]
    assert answer(calls, ["x", "y"]) == (
        "RESULT a: x\nRESULT b: y\nRESULT: 1 more calls were not made; make fewer in one reply."
    )
    assert no_such_tool(Call("send_mail", ""), [MAIL]) is None
    assert no_such_tool(calls[0], [MAIL]) == "error: there is no such tool; send_mail"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([MAIL, MAIL], "two simulated tools are called 'send_mail'"),
        ([SimulatedTool("a", "one\ntwo")], "on one line"),
        ([SimulatedTool("a", "  ")], "in words on one line"),
    ],
)
def test_tools_that_cannot_be_told_apart_or_explained_are_refused(tools, said):
    with pytest.raises(ToolError, match=said):
        check_tools(tools)
