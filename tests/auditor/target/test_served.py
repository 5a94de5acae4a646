"""Targets behind a provider, asked over real sockets."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import ProviderError
from auditor.provider import ProviderSettings
from auditor.provider.cache import CacheSettings
from auditor.provider.clock import scaled_clock
from auditor.scenario.schema import ServedModel
from auditor.target.pool import TargetPool
from auditor.target.served import ServedTarget
from nla_core.sampling import Sampling
from tests.auditor.provider.servers import Fault, Loopback, Say
from tools.protocols import ChatMessage, Prompt, Reply, Target, ToolError

ASK = Prompt((ChatMessage("user", "Why?"),))
PLAIN = Sampling(max_tokens=20)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with scaled_clock(0.001):
        yield


def echo(body: dict[str, Any]) -> Say:
    """Say the last words of the request back."""
    if "prompt" in body:
        return Say(text=f" after {body['prompt']}")
    content = body["messages"][-1]["content"]
    return Say(text=f"You said {content if isinstance(content, str) else content[-1]['text']}")


def target(name: str, **settings: Any) -> ServedTarget:
    found = TargetPool().get(ServedModel(name=name, **settings))
    assert isinstance(found, Target)
    return found


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_every_row_of_a_batch_gets_its_own_reply_in_order(wire: str) -> None:
    prompts = [Prompt((ChatMessage("user", f"number {i}"),)) for i in range(20)]
    with Loopback(echo) as server:
        price = {"input": 1, "output": 10}
        asked = target(getattr(server, wire)(), concurrency=6, price=price)
        replies = asked.chat(prompts, sampling=PLAIN, seeds=range(20))
    assert [r.text for r in replies] == [f"You said number {i}" for i in range(20)]
    said = Reply(text="You said number 0", prefill="", n_tokens=5, finish="stop")
    assert replies[0] == replace(said, dollars=pytest.approx(60 / 1e6))
    assert {body["max_tokens"] for body in server.bodies} == {20}


def test_system_texts_are_joined_the_target_s_own_first() -> None:
    asked = Prompt((ChatMessage("system", "MINE"), *ASK.messages))
    with Loopback(echo) as server:
        target(server.openai(), system_prompt="OWN").chat([asked], sampling=PLAIN, seeds=[0])
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "OWN\n\nMINE"}


def test_servers_are_told_seed_and_sampling() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",))
    with Loopback(echo) as server:
        asked = target(server.openai(), extra_body={"min_p": 0.1})
        asked.chat([ASK, ASK], sampling=sampling, seeds=[3, 2**40 + 4])
    bodies = sorted(server.bodies, key=lambda body: body["seed"])
    assert [body["seed"] for body in bodies] == [3, 4]
    sent = {key: bodies[0][key] for key in ("temperature", "top_p", "max_tokens", "stop", "min_p")}
    assert sent == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["END"],
        "min_p": 0.1,
    }


def test_claude_s_sampling_cannot_be_chosen_unless_the_scenario_says_so() -> None:
    cool = Sampling(temperature=0.0, max_tokens=5)
    with Loopback(echo) as server:
        asked = target(server.anthropic())
        asked.chat([ASK], sampling=PLAIN, seeds=[0])
        with pytest.raises(ToolError, match="cannot be chosen; use temperature 1"):
            asked.chat([ASK], sampling=cool, seeds=[0])
        target(server.anthropic(), temperature=1.0).chat([ASK], sampling=cool, seeds=[0])
    assert "temperature" not in server.bodies[0]
    assert server.bodies[1]["temperature"] == 0.0


@pytest.mark.parametrize(
    ("say", "text", "finish"),
    [
        (Say(text="So", stop="max_tokens"), "So", "length"),
        (Say(text="I cannot.", stop="refusal"), "I cannot.", "stop"),
        (Say(), "", "stop"),
    ],
)
def test_what_ends_a_reply_is_told(say: Say, text: str, finish: str) -> None:
    with Loopback(lambda body: say) as server:
        (reply,) = target(server.anthropic()).chat([ASK], sampling=PLAIN, seeds=[0])
    assert (reply.text, reply.finish) == (text, finish)


def test_text_and_begun_replies_are_continued_where_the_server_does_that() -> None:
    begun = Prompt(ASK.messages, prefill="I think")
    with Loopback(echo) as server:
        asked = target(server.openai(), continues_text=True)
        assert asked.capabilities == {"chat", "prefill", "complete"}
        (reply,) = asked.chat([begun], sampling=PLAIN, seeds=[0])
        (text,) = asked.complete(["Once upon"], sampling=PLAIN, seeds=[5])
    assert (reply.text, reply.prefill) == ("You said I think", "I think")
    assert (text.text, text.prefill) == (" after Once upon", "Once upon")
    chat, completion = server.bodies
    assert chat["continue_final_message"]
    assert not chat["add_generation_prompt"]
    assert server.paths == ["/v1/chat/completions", "/v1/completions"]
    assert completion["seed"] == 5


def test_what_a_provider_cannot_do_is_told_the_auditor() -> None:
    with Loopback(echo) as server:
        asked = target(server.openai())
        assert asked.capabilities == {"chat"}
        refused = [
            lambda: asked.complete(["Once"], sampling=PLAIN, seeds=[0]),
            lambda: asked.chat([Prompt(ASK.messages, "I")], sampling=PLAIN, seeds=[0]),
            lambda: asked.sample_user([()], sampling=PLAIN, seeds=[0]),
            lambda: asked.next_token_logprobs([ASK], top=1),
            lambda: asked.chat([Prompt(())], sampling=PLAIN, seeds=[0]),
            lambda: asked.chat([ASK], sampling=Sampling(temperature=3.0), seeds=[0]),
            lambda: target(server.anthropic()).chat(
                [Prompt((ChatMessage("user", " "),))], sampling=PLAIN, seeds=[0]
            ),
        ]
        for call in refused:
            with pytest.raises(ToolError) as caught:
                call()
            assert server.url not in str(caught.value)
            assert "gpt-5" not in str(caught.value), "the auditor never learns the target's name"
        assert server.bodies == []


def test_a_conversation_beyond_the_context_is_told_the_auditor() -> None:
    faults = [Fault(kind="status", status=400, code="context_length_exceeded")]
    with Loopback(faults=faults) as server, pytest.raises(ToolError, match="longer than"):
        target(server.openai()).chat([ASK], sampling=PLAIN, seeds=[0])


def test_a_row_that_fails_for_good_fails_the_batch() -> None:
    faults = [None, Fault(kind="status", status=401)]
    with Loopback(echo, faults=faults) as server, pytest.raises(ProviderError):
        target(server.openai()).chat([ASK] * 4, sampling=PLAIN, seeds=range(4))


def test_rows_are_kept_apart_by_their_seeds(tmp_path: Path) -> None:
    settings = ProviderSettings(cache=CacheSettings(mode="write", folder=tmp_path))
    with Loopback(echo) as server:
        model = ServedModel(name=server.openai(), continues_text=True)
        for _ in range(2):
            asked = TargetPool(providers=settings).get(model)
            asked.chat([ASK] * 3, sampling=PLAIN, seeds=[0, 1, 2])
            asked.complete(["Why?"], sampling=PLAIN, seeds=[0])
        assert len(server.bodies) == 4


def test_tokens_that_a_server_does_not_count_are_bounded(tmp_path: Path) -> None:
    script = tmp_path / "target.py"
    script.write_text("def say(request):\n    return 'four'\n")
    asked = target(f"scripted/{script}:say")
    (reply,) = asked.chat([ASK], sampling=PLAIN, seeds=[0])
    assert (reply.text, reply.n_tokens) == ("four", 4)
