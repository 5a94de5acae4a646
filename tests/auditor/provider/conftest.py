from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auditor.provider import make_provider
from auditor.provider.clock import scaled_clock
from auditor.provider.protocol import Message, Provider, Request, ToolSpec
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.servers import KEY

Make = Callable[..., Provider]

CHAT = ToolSpec(
    name="chat",
    description="Ask the target.",
    parameters={"type": "object", "properties": {"prompts": {"type": "array"}}},
)


def ask(text: str = "Hi", **changes: Any) -> Request:
    return Request(system="Be brief.", messages=(Message.user(text),)).model_copy(update=changes)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key in the environment, and waits of milliseconds."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with scaled_clock(0.001):
        yield


@pytest.fixture
def make() -> Make:
    def build(name: str, **settings: Any) -> Provider:
        return make_provider(LanguageModel(name=name, key_env="LOOPBACK_KEY", **settings))

    return build
