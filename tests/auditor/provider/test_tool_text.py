"""Tool calls in the text of local models, as the usual chat templates teach them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.provider._tool_text import read_reply
from auditor.provider.protocol import TextBlock, ThinkingBlock, ToolUseBlock

TOOLS = ("chat", "search_corpus")
HERMES = '<tool_call>\n{"name": "chat", "arguments": {"prompts": ["Hi"]}}\n</tool_call>'


def calls(text: str) -> list[tuple[str, object]]:
    found = [b for b in read_reply(text, TOOLS) if isinstance(b, ToolUseBlock)]
    return [(call.name, call.arguments) for call in found]


@pytest.mark.parametrize(
    "text",
    [
        HERMES,
        f"Let me ask.\n{HERMES}\n",
        '<tool_call>{"name": "chat", "arguments": {"prompts": ["Hi"]}}',
        '<tool_call>{"name": "chat", "arguments": "{\\"prompts\\": [\\"Hi\\"]}"}</tool_call>',
        '<tool_call>{"function": {"name": "chat", "arguments": {"prompts": ["Hi"]}}}</tool_call>',
        '<tool_call>\n<function=chat>\n<parameter=prompts>\n["Hi"]\n</parameter>\n</function>\n</tool_call>',
        '[TOOL_CALLS] [{"name": "chat", "arguments": {"prompts": ["Hi"]}}]',
        '[TOOL_CALLS]chat[ARGS]{"prompts": ["Hi"]}',
        '[TOOL_CALLS]chat[CALL_ID]abc123[ARGS]{"prompts": ["Hi"]}',
        '<|python_tag|>{"name": "chat", "parameters": {"prompts": ["Hi"]}}',
        '{"name": "chat", "parameters": {"prompts": ["Hi"]}}',
        ' [{"name": "chat", "arguments": {"prompts": ["Hi"]}}] ',
    ],
)
def test_the_usual_forms_are_read(text: str) -> None:
    assert calls(text) == [("chat", {"prompts": ["Hi"]})]


@pytest.mark.parametrize(
    "text",
    [
        f"{HERMES}\n{HERMES}",
        f"{HERMES}<tool_call>" + '{"name": "chat", "arguments": {"prompts": ["Hi"]}}',
        '[TOOL_CALLS]chat[ARGS]{"prompts": ["Hi"]}[TOOL_CALLS]chat[ARGS]{"prompts": ["Hi"]}',
        '<|python_tag|>{"name": "chat", "parameters": {"prompts": ["Hi"]}}; '
        '{"name": "chat", "parameters": {"prompts": ["Hi"]}}',
    ],
)
def test_several_calls_are_all_read_with_ids_of_their_own(text: str) -> None:
    found = [b for b in read_reply(text, TOOLS) if isinstance(b, ToolUseBlock)]
    assert [(b.id, b.arguments) for b in found] == [
        ("call_0", {"prompts": ["Hi"]}),
        ("call_1", {"prompts": ["Hi"]}),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<tool_call>chat please</tool_call>", ""),
        ('<tool_call>{"name": "chat", "arguments": {"prompts": ["Hel', ""),
        ('<tool_call>{"name": "chat", "arguments": ["Hi"]}</tool_call>', "chat"),
        ("<tool_call><function=chat><parameter=prompts>[", "chat"),
        ('[TOOL_CALLS]chat[ARGS]{"prompts"', "chat"),
    ],
)
def test_a_call_that_makes_no_sense_is_malformed_and_kept(text: str, name: str) -> None:
    (call,) = [b for b in read_reply(text, TOOLS) if isinstance(b, ToolUseBlock)]
    assert (call.name, call.arguments) == (name, None)
    assert call.raw


@pytest.mark.parametrize(
    "text",
    ["I would use chat.", '{"verdict": "none"}', '{"name": "other", "parameters": {}}', "[1, 2]"],
)
def test_words_and_other_objects_are_no_calls(text: str) -> None:
    assert read_reply(text, TOOLS) == (TextBlock(text=text),)


def test_without_tools_nothing_is_a_call() -> None:
    assert read_reply(HERMES, ()) == (TextBlock(text=HERMES),)


@pytest.mark.parametrize(
    "text", ["<think>\nHm.\n</think>\n\nSo.", "Hm.\n</think>\n\nSo.", " <think>Hm.</think>So."]
)
def test_a_thought_is_taken_off_though_the_template_opened_it(text: str) -> None:
    assert read_reply(text, TOOLS) == (ThinkingBlock(text="Hm."), TextBlock(text="So."))


def test_a_thought_that_does_not_end_is_all_there_is() -> None:
    text = "<think>Shall I <tool_call>"
    assert read_reply(text, TOOLS) == (ThinkingBlock(text="Shall I <tool_call>"),)


def test_a_call_inside_a_thought_is_not_made() -> None:
    assert calls(f"<think>{HERMES}</think>No.") == []


@given(st.text(alphabet=st.sampled_from(list("<>tool_cal/think{}[]\"':,TOOL_CALLS ARGS=n1\n"))))
def test_no_text_breaks_the_reading(text: str) -> None:
    for block in read_reply(f"<tool_call>{text}", TOOLS):
        assert isinstance(block, TextBlock | ThinkingBlock | ToolUseBlock)
