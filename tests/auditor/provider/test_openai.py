"""Servers of Chat Completions through the real SDK, over a real socket."""

import json

import pytest

from auditor.errors import ProviderError
from auditor.provider import make_provider
from auditor.provider.protocol import (
    Completion,
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import CHAT, Make, ask
from tests.auditor.provider.servers import KEY, Fault, Loopback, Say


def reply(say: Say, make: Make, request: Request | None = None) -> Completion:
    with Loopback(lambda body: say) as server:
        return make(server.openai()).complete(request or ask())


def test_text_reasoning_and_calls_come_back_and_go_back(make: Make) -> None:
    say = Say(text="Asking.", thinking="Hm.", calls=(("chat", {"prompts": ["Hi"]}), ("chat", {})))
    with Loopback(lambda body: say) as server:
        provider = make(server.openai(), effort="low", temperature=0.5, max_tokens=77)
        found = provider.complete(ask(tools=(CHAT,)))
        thought, text, first, second = found.content
        assert isinstance(thought, ThinkingBlock)
        assert thought.text == "Hm."
        assert text == TextBlock(text="Asking.")
        assert isinstance(first, ToolUseBlock)
        assert first.arguments == {"prompts": ["Hi"]}
        assert found.stop == "tool_use"
        assert isinstance(second, ToolUseBlock)
        answers = (
            TextBlock(text="Go on."),
            ToolResultBlock(id=first.id, text="one"),
            ToolResultBlock(id=second.id, text="two"),
        )
        said = Message(role="assistant", content=found.content)
        user = Message(role="user", content=answers)
        provider.complete(ask(tools=(CHAT,), messages=(*ask().messages, said, user)))
    roles = [message["role"] for message in server.bodies[1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert server.bodies[1]["messages"][2]["reasoning_content"] == "Hm."
    assert server.bodies[0]["reasoning_effort"] == "low"
    assert server.bodies[0]["temperature"] == 0.5
    assert server.bodies[0]["max_tokens"] == 77
    assert server.keys == [KEY, KEY]


@pytest.mark.parametrize("raw", ['{"prompts": ["Hel', '["a list"]', "7"])
def test_malformed_arguments_are_kept_and_can_be_sent_back(make: Make, raw: str) -> None:
    with Loopback(lambda body: Say(calls=(("chat", raw),))) as server:
        provider = make(server.openai())
        (call,) = provider.complete(ask(tools=(CHAT,))).tool_uses
        assert (call.arguments, call.raw) == (None, raw)
        messages = (
            *ask().messages,
            Message(role="assistant", content=(call,)),
            Message(role="user", content=(ToolResultBlock(id=call.id, text="not JSON"),)),
        )
        provider.complete(ask(messages=messages))
    (sent,) = server.bodies[1]["messages"][2]["tool_calls"]
    assert json.loads(sent["function"]["arguments"]) == {"INVALID_JSON": raw}


def test_arguments_left_empty_are_no_arguments(make: Make) -> None:
    (call,) = reply(Say(calls=(("chat", ""),)), make).tool_uses
    assert call.arguments == {}


@pytest.mark.parametrize(
    ("said", "stop"),
    [("max_tokens", "max_tokens"), ("refusal", "refusal"), ("end_turn", "end")],
)
def test_finish_reasons_are_outcomes(make: Make, said: str, stop: str) -> None:
    assert reply(Say(text="So", stop=said), make).stop == stop


def test_cached_input_is_counted_apart(make: Make) -> None:
    usage = {"input_tokens": 30, "cache_read_input_tokens": 70, "output_tokens": 9}
    found = reply(Say(text="x", usage=usage), make)
    assert found.usage == TokenUsage(input_tokens=30, cache_read_tokens=70, output_tokens=9)
    assert found.dollars is None, "a server on this machine is in no price table"


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_a_request_may_want_a_shorter_reply_and_never_a_longer_one(make: Make, wire: str) -> None:
    with Loopback() as server:
        provider = make(getattr(server, wire)(), max_tokens=9000)
        provider.complete(ask(max_tokens=50))
        provider.complete(ask(max_tokens=10_000))
    assert [body["max_tokens"] for body in server.bodies] == [50, 9000]
    assert [bool(body.get("stream")) for body in server.bodies] == [False, wire == "anthropic"]


def test_a_schema_is_asked_of_the_server(make: Make) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    with Loopback(lambda body: Say(text='{"ok": true}')) as server:
        make(server.openai()).complete(ask(output_schema=schema))
    shape = server.bodies[0]["response_format"]["json_schema"]
    assert (shape["schema"], shape["strict"]) == (schema, True)


def test_no_key_goes_to_an_address_that_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with Loopback() as server:
        for name in (server.openai(), server.anthropic()):
            make_provider(LanguageModel(name=name)).complete(ask())
    assert server.keys == ["none", "none"]


def test_a_conversation_beyond_the_context_is_an_outcome(make: Make) -> None:
    faults = [Fault(kind="status", status=400, code="context_length_exceeded")]
    with Loopback(faults=faults) as server:
        found = make(server.openai()).complete(ask())
    assert (found.stop, found.content) == ("context_full", ())


def test_an_account_without_money_is_not_asked_again(make: Make) -> None:
    faults = [Fault(kind="status", status=429, code="insufficient_quota")]
    with Loopback(faults=faults) as server, pytest.raises(ProviderError, match="billing"):
        make(server.openai()).complete(ask())
    assert len(server.bodies) == 1


def test_halves_of_characters_are_replaced(make: Make) -> None:
    found = reply(Say(text="\ud800!", calls=(("chat", {"prompts": ["\udfff"]}),)), make)
    assert found.text == "\ufffd!"
    assert Completion.model_validate_json(found.model_dump_json()) == found
