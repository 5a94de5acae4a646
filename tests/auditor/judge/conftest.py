"""A provider that replays what a model might say, and remembers what it was asked."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from auditor.provider.protocol import Completion, Request, StopReason, TextBlock

Said = str | StopReason | dict[str, Any] | Completion


def completion(said: Said, *, dollars: float | None = 0.25) -> Completion:
    """What a model said: a stop reason, its text, or the fields of a readable answer."""
    if isinstance(said, Completion):
        return said
    if said in ("refusal", "max_tokens", "context_full"):
        return Completion(content=(), stop=said, dollars=dollars)
    if isinstance(said, dict):
        said = json.dumps({"reasoning": "because", "matches": [], "behaviours": [], **said})
    return Completion(
        content=(TextBlock(text=str(said)),), stop="end", dollars=dollars, model="grader-1"
    )


class Replay:
    """Plays prepared answers, the last one again and again."""

    def __init__(self, *said: Said) -> None:
        self._said: Sequence[Said] = said
        self.requests: list[Request] = []

    @property
    def name(self) -> str:
        return "scripted/grader"

    def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return completion(self._said[min(len(self.requests), len(self._said)) - 1])


@pytest.fixture
def replay() -> Callable[..., Replay]:
    return Replay


@pytest.fixture
def completed() -> Callable[..., Completion]:
    return completion
