"""Scripts that stand in for a language model."""

from pathlib import Path

import pytest

from auditor.errors import ProviderError
from auditor.provider import make_provider
from auditor.provider.protocol import Completion, Message, Request, TextBlock, ToolUseBlock
from auditor.provider.replay import ScriptedProvider
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import ask

CALL = ToolUseBlock(id="1", name="chat", arguments={})
SAID = Message(role="assistant", content=(TextBlock(text="Hm."),))

SCRIPT = """
from auditor.provider.protocol import TextBlock, ToolUseBlock

replies = ["First.", [TextBlock(text="Then."), ToolUseBlock(id="1", name="chat", arguments={})]]


def reply(request):
    return f"{len(request.messages)} messages, {request.messages[-1].content[0].text}"
"""


def test_a_list_answers_a_conversation_turn_by_turn_and_any_turn_again() -> None:
    provider = ScriptedProvider(["one", "two"])
    later = ask(messages=(*ask().messages, SAID, *ask().messages))
    assert [provider.complete(r).text for r in (later, ask(), later)] == ["two", "one", "two"]


def test_a_list_that_is_used_up_says_so() -> None:
    provider = ScriptedProvider(["one"])
    with pytest.raises(ProviderError, match="has 1 replies and turn 2 needs another"):
        provider.complete(ask(messages=(*ask().messages, SAID)))


@pytest.mark.parametrize(
    ("reply", "stop", "text"),
    [
        ("Hi", "end", "Hi"),
        (TextBlock(text="Hi"), "end", "Hi"),
        (CALL, "tool_use", ""),
        ([TextBlock(text="Hi"), CALL], "tool_use", "Hi"),
        (SAID, "end", "Hm."),
        (Completion(content=(), stop="refusal"), "refusal", ""),
        ([], "end", ""),
    ],
)
def test_a_function_may_reply_in_words_blocks_messages_or_completions(
    reply: object, stop: str, text: str
) -> None:
    found = ScriptedProvider(lambda request: reply).complete(ask())  # type: ignore[arg-type]
    assert (found.stop, found.text) == (stop, text)
    assert Completion.model_validate_json(found.model_dump_json()) == found


def test_a_script_s_words_cost_nothing_and_its_tokens_are_not_known() -> None:
    found = ScriptedProvider(["Hi"]).complete(ask())
    assert (found.dollars, found.usage.output_tokens) == (0.0, None)


@pytest.mark.parametrize("reply", [7, None, [3], {"text": "Hi"}])
def test_what_is_no_reply_is_told(reply: object) -> None:
    provider = ScriptedProvider(lambda request: reply)  # type: ignore[arg-type]
    with pytest.raises(ProviderError, match="that is no reply; give a text"):
        provider.complete(ask())


def test_scripts_are_taken_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "brain.py"
    path.write_text(SCRIPT)
    listed = make_provider(LanguageModel(name=f"scripted/{path}:replies"))
    asked = make_provider(LanguageModel(name=f"scripted/{path}:reply"))
    assert listed.name == "scripted/brain.py:replies", "folders have no place in records"
    assert listed.complete(ask()).text == "First."
    request = Request(system="", messages=(*ask().messages, SAID, Message.user("Go on.")))
    (call,) = listed.complete(request).tool_uses
    assert call.name == "chat"
    assert asked.complete(request).text == "3 messages, Go on."
