"""Claude through the real SDK, over a real socket."""

import json
from typing import Any

import pytest

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
from tests.auditor.provider.conftest import CHAT, Make, ask
from tests.auditor.provider.servers import KEY, Loopback, Say

LONG, SHORT = 5000, 1000
"""Most tokens of a reply that is streamed, and of one that is not."""
BOTH = pytest.mark.parametrize("max_tokens", [SHORT, LONG], ids=["whole", "streamed"])


def reply(say: Say, make: Make, request: Request | None = None, **settings: Any) -> Completion:
    with Loopback(lambda body: say) as server:
        return make(server.anthropic(), **settings).complete(request or ask())


@BOTH
def test_text_thinking_and_calls_come_back_in_order(make: Make, max_tokens: int) -> None:
    say = Say(text="Let me ask.", thinking="Hm.", calls=(("chat", {"prompts": ["Hi"]}),))
    with Loopback(lambda body: say) as server:
        found = make(server.anthropic(), max_tokens=max_tokens).complete(ask(tools=(CHAT,)))
        assert bool(server.bodies[0].get("stream")) == (max_tokens == LONG)
    thought, text, call = found.content
    assert isinstance(thought, ThinkingBlock)
    assert (thought.text, thought.opaque["signature"]) == ("Hm.", "c2lnbmVk")
    assert text == TextBlock(text="Let me ask.")
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.arguments) == ("chat", {"prompts": ["Hi"]})
    assert (found.stop, found.model) == ("tool_use", "claude-opus-5-5")
    assert server.keys == [KEY]


@BOTH
@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("end_turn", "end"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_full"),
        ("pause_turn", "pause"),
    ],
)
def test_every_stop_reason_is_an_outcome(make: Make, max_tokens: int, said: str, stop: str) -> None:
    assert reply(Say(text="So", stop=said), make, max_tokens=max_tokens).stop == stop


def test_a_prompt_beyond_the_context_is_an_outcome_that_cost_nothing(make: Make) -> None:
    def refuse(body: dict[str, Any]) -> Say:
        raise AssertionError("prompt is too long: 300000 tokens > 200000 maximum")

    with Loopback(refuse) as server:
        found = make(server.anthropic()).complete(ask())
    assert (found.stop, found.content, found.dollars) == ("context_full", (), 0.0)


@BOTH
def test_malformed_arguments_are_kept_as_they_came(make: Make, max_tokens: int) -> None:
    say = Say(calls=(("chat", '{"prompts": ["Hel'),))
    (call,) = reply(say, make, max_tokens=max_tokens).tool_uses
    assert (call.arguments, call.raw) == (None, '{"prompts": ["Hel')


@BOTH
def test_a_call_that_the_token_limit_cut_off_is_malformed_though_it_parses(
    make: Make, max_tokens: int
) -> None:
    say = Say(calls=(("chat", {}), ("chat", {"prompts": []})), stop="max_tokens")
    first, last = reply(say, make, max_tokens=max_tokens).tool_uses
    assert first.arguments == {}
    assert (last.arguments, last.raw) == (None, '{"prompts": []}')


@BOTH
def test_an_empty_reply_is_a_reply(make: Make, max_tokens: int) -> None:
    found = reply(Say(), make, max_tokens=max_tokens)
    assert (found.content, found.stop) == ((), "end")


@BOTH
def test_usage_is_split_by_cache_and_priced(make: Make, max_tokens: int) -> None:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 50,
        "output_tokens": 40,
    }
    found = reply(Say(text="x", usage=usage), make, max_tokens=max_tokens)
    wanted = TokenUsage(
        input_tokens=100, cache_read_tokens=800, cache_write_tokens=50, output_tokens=40
    )
    assert found.usage == wanted
    # claude-opus-5-5: 4, 20, 0.2 and 5 dollars per million of input, output, read and written.
    assert found.dollars == pytest.approx((100 * 4 + 40 * 20 + 800 * 0.2 + 50 * 5) / 1e6)


def test_a_cache_of_an_hour_is_asked_for_and_priced_as_one(make: Make) -> None:
    usage = {"input_tokens": 0, "cache_creation_input_tokens": 100, "output_tokens": 0}
    with Loopback(lambda body: Say(text="x", usage=usage)) as server:
        found = make(server.anthropic(), cache_ttl="1h").complete(ask())
    (block,) = server.bodies[0]["messages"][0]["content"]
    assert block["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    # claude-opus-5-5: 8 dollars per million that are written for an hour.
    assert found.dollars == pytest.approx(100 * 8 / 1e6)


def test_a_model_without_a_known_price_costs_an_unknown_sum(make: Make) -> None:
    with Loopback() as server:
        unknown = make(server.anthropic("claude-unheard-of")).complete(ask())
        price = {"input": 1.0, "output": 2.0}
        priced = make(server.anthropic("claude-unheard-of"), price=price).complete(ask())
    assert unknown.dollars is None
    assert priced.dollars == pytest.approx((10 * 1 + 5 * 2) / 1e6)


def history(turns: int, results: int = 1) -> tuple[Message, ...]:
    """A conversation of so many turns, each with so many calls and results."""
    messages = [Message.user("Begin.")]
    for turn in range(turns):
        ids = [f"t{turn}_{i}" for i in range(results)]
        calls = tuple(ToolUseBlock(id=i, name="chat", arguments={"prompts": [i]}) for i in ids)
        answers = tuple(ToolResultBlock(id=i, text=f"said {i}") for i in ids)
        messages += [
            Message(role="assistant", content=calls),
            Message(role="user", content=answers),
        ]
    return tuple(messages)


def marked(body: dict[str, Any]) -> list[str]:
    """What stands before each cache breakpoint, in the order in which the API reads a request."""
    seen, ends = "", []
    blocks = [*body.get("tools", []), *body.get("system", [])]
    for block in [*blocks, *(b for m in body["messages"] for b in m["content"])]:
        bare = {key: value for key, value in block.items() if key != "cache_control"}
        seen += json.dumps(bare)
        if "cache_control" in block:
            ends.append(seen)
    return ends


@pytest.mark.parametrize("results", [1, 30])
def test_every_turn_reads_from_the_cache_all_that_the_turn_before_sent(
    make: Make, results: int
) -> None:
    with Loopback() as server:
        provider = make(server.anthropic())
        for turns in range(1, 5):
            provider.complete(ask(tools=(CHAT,), messages=history(turns, results)))
        for before, after in zip(server.bodies, server.bodies[1:], strict=False):
            written = marked(before)[-1]
            assert written in marked(after), "no breakpoint where the last request ended"
            assert marked(after)[-1].startswith(written)


def test_what_was_thought_goes_back_as_it_came(make: Make) -> None:
    say = Say(text="Asking.", thinking="Hm.", calls=(("chat", {"prompts": []}),))
    with Loopback(lambda body: say) as server:
        provider = make(server.anthropic(), effort="high")
        first = provider.complete(ask(tools=(CHAT,)))
        (call,) = first.tool_uses
        said = Message(role="assistant", content=first.content)
        answer = Message(
            role="user", content=(ToolResultBlock(id=call.id, text="", is_error=True),)
        )
        provider.complete(ask(tools=(CHAT,), messages=(*ask().messages, said, answer)))
    assistant, user = server.bodies[1]["messages"][1:]
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
    assert assistant["content"][0] == thought
    (result,) = user["content"]
    assert result["is_error"]
    assert "content" not in result, "the API refuses empty texts"
    assert server.bodies[0]["thinking"]["type"] == "adaptive"
    assert server.bodies[0]["output_config"] == {"effort": "high"}


def test_a_malformed_call_can_be_sent_back(make: Make) -> None:
    call = ToolUseBlock(id="t1", name="chat", arguments=None, raw="{oops")
    messages = (
        *ask().messages,
        Message(role="assistant", content=(TextBlock(text=""), call)),
        Message(role="user", content=(ToolResultBlock(id="t1", text="not JSON"),)),
    )
    with Loopback() as server:
        make(server.anthropic()).complete(ask(messages=messages))
    (sent,) = server.bodies[0]["messages"][1]["content"]
    assert sent["input"] == {"INVALID_JSON": "{oops"}


def test_a_schema_is_asked_of_the_server(make: Make) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    with Loopback(lambda body: Say(text='{"ok": true}')) as server:
        found = make(server.anthropic()).complete(ask(output_schema=schema))
    sent = server.bodies[0]["output_config"]["format"]
    assert sent["type"] == "json_schema"
    assert sent["schema"]["additionalProperties"] is False
    assert json.loads(found.text) == {"ok": True}


def test_settings_of_older_models_go_along(make: Make) -> None:
    with Loopback() as server:
        make(server.anthropic(), temperature=0.0, extra_body={"metadata": {"a": 1}}).complete(ask())
    assert server.bodies[0]["temperature"] == 0.0
    assert server.bodies[0]["metadata"] == {"a": 1}


def test_halves_of_characters_are_replaced(make: Make) -> None:
    say = Say(text="\ud800!", calls=(("chat", {"prompts": ["\udfff"]}),))
    found = reply(say, make)
    assert found.text == "\ufffd!"
    assert Completion.model_validate_json(found.model_dump_json()) == found
