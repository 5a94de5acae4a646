"""Servers that answer in another form than the API's: every reply is one, or an error in words."""

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import ProviderError
from auditor.provider import Persistence, make_provider
from auditor.provider.protocol import Completion
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import ask
from tests.auditor.provider.servers import (
    Fault,
    Loopback,
    Say,
    anthropic_message,
    openai_completion,
)

ONCE = Persistence(attempts=1)
REQUEST = {"model": "m", "messages": []}
SAY = Say(text="Hi", thinking="Hm.", calls=(("chat", {"prompts": ["x"]}),))
MESSAGE = anthropic_message(REQUEST, SAY)
EVENTS: list[Any] = [
    {"type": "message_start", "message": MESSAGE | {"content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
SOUND = {"anthropic": MESSAGE, "openai": openai_completion(REQUEST, SAY), "stream": EVENTS}
ODD = st.sampled_from([None, "", "odd", -1, 2.5, True, [], {}, [None], [[1]], {"a": 1}, ["x"]])


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every part of a JSON value stands."""
    found = [at]
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            found += paths(part, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], part: Any) -> Any:
    if not at:
        return part
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = replaced(copy[at[0]], at[1:], part)
    return copy


@pytest.fixture(params=["anthropic", "openai", "stream"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def answer(wire: str) -> Iterator[Callable[[Any], Completion]]:
    """What becomes of a reply of a server."""
    bodies: list[Any] = []
    faults = (Fault(kind="body", body=bodies[-1]) for _ in count())
    with Loopback(faults=faults) as server:
        name = server.openai() if wire == "openai" else server.anthropic()
        model = LanguageModel(name=name, max_tokens=9000 if wire == "stream" else 100)
        provider = make_provider(model, persistence=ONCE)

        def given_body(body: Any) -> Completion:
            bodies.append(body)
            return provider.complete(ask())

        yield given_body


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_part_of_a_reply_may_be_odd(
    wire: str, answer: Callable[[Any], Completion], data: st.DataObject
) -> None:
    spots = [spot for spot in paths(SOUND[wire]) if spot or wire != "stream"]
    body = replaced(SOUND[wire], data.draw(st.sampled_from(spots)), data.draw(ODD))
    with contextlib.suppress(ProviderError):
        found = answer(body)
        assert Completion.model_validate_json(found.model_dump_json()) == found


def test_the_replies_that_the_cases_start_from_are_sound(
    wire: str, answer: Callable[[Any], Completion]
) -> None:
    assert answer(SOUND[wire]).text == "Hi"
