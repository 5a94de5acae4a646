"""The language model that writes inputs for the batch tools."""

import json
from typing import Any

import pytest

from auditor.investigator.writer import ProviderWriter
from auditor.provider.protocol import Completion, Request, TextBlock
from tools.protocols import ToolError


class FakeProvider:
    """Says one thing, and remembers what it was asked."""

    def __init__(self, text: str, name: str = "anthropic/claude", **changes: Any) -> None:
        self.name = name
        self.reply = Completion(content=(TextBlock(text=text),), **({"stop": "end"} | changes))
        self.asked: list[Request] = []

    def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        return self.reply


def written(text: str, **changes: Any) -> Any:
    return ProviderWriter(FakeProvider(text, **changes)).write(
        "write", fields=("system", "user"), n=2, seed=5
    )


def test_what_was_written_comes_back_by_field() -> None:
    rows = [{"system": "s", "user": "u"}, {"system": "", "user": "v"}]
    found = written(json.dumps({"inputs": rows}), dollars=0.5)
    assert (list(found.inputs), found.dollars) == (rows, 0.5)


def test_an_object_between_other_words_is_found() -> None:
    found = written('Here:\n```json\n{"inputs": [{"system": "s", "user": "u"}]}\n``` done')
    assert found.inputs == ({"system": "s", "user": "u"},)
    assert found.dollars is None


def test_what_is_missing_or_no_text_is_empty() -> None:
    found = written('{"inputs": [{"user": 3}, "x", {"system": "s", "user": "u", "more": "m"}]}')
    assert found.inputs == (
        {"system": "", "user": ""}, {"system": "", "user": ""}, {"system": "s", "user": "u"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "no", "{", "[]", '{"inputs": 3}', '{"other": []}', "[" * 9999]
)
def test_a_reply_that_cannot_be_read_is_told_to_the_auditor(text: str) -> None:
    with pytest.raises(ToolError, match="cannot be read: try again"):
        written(text)


def test_a_refusal_and_a_cut_reply_say_so() -> None:
    with pytest.raises(ToolError, match="refused to write"):
        written("", stop="refusal")
    with pytest.raises(ToolError, match=r"cut at its longest reply: ask for fewer \(k\)"):
        written('{"inputs": [{"user', stop="max_tokens")


def test_the_request_holds_the_instructions_the_schema_and_the_seed() -> None:
    provider = FakeProvider('{"inputs": []}')
    ProviderWriter(provider).write("ask about bread", fields=("text",), n=3, seed=11)
    (request,) = provider.asked
    assert "ask about bread" in request.messages[0].content[0].text
    assert request.trial == 11
    item = request.output_schema["properties"]["inputs"]["items"]
    assert item["required"] == ["text"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("anthropic/claude", "anthropic/claude"),
        ("openai/m@http://secret.host:8000/v1", "openai/m"),
        ("hf//home/me/models/tiny", "hf/tiny"),
    ],
)
def test_neither_address_nor_folder_is_shown(name: str, shown: str) -> None:
    assert ProviderWriter(FakeProvider("", name=name)).name == shown
