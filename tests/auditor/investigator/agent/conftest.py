"""A language model that says what a test tells it to, and one way to let it audit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from auditor.investigator.agent import AgentPolicy
from auditor.provider.protocol import (
    Completion,
    ContentBlock,
    Request,
    TextBlock,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from tools.registry import find


def use(name: str, **arguments: Any) -> ToolUseBlock:
    """A call of a tool; its id is set when it is said."""
    return ToolUseBlock(id="", name=name, arguments=arguments)


def chat(*prompts: str, samples: int = 1) -> ToolUseBlock:
    return use("chat", prompts=list(prompts or ["hello"]), samples=samples, max_tokens=4)


def idea(statement: str = "wants money", **more: Any) -> ToolUseBlock:
    given = {"kind": "motive", "alternatives": ["a harmless habit"]} | more
    return use("hypothesis", action="add", statement=statement, **given)


def submit(verdict: str = "none", *hypotheses: dict[str, Any], **more: Any) -> ToolUseBlock:
    given = {"reason": "so it seems", "hypotheses": list(hypotheses)} | more
    return use("submit", verdict=verdict, **given)


def reply(*blocks: ContentBlock | str, **more: Any) -> Completion:
    """A reply of these blocks; texts may be given as they are."""
    content = tuple(TextBlock(text=b) if isinstance(b, str) else b for b in blocks)
    calls = any(isinstance(block, ToolUseBlock) for block in content)
    given: dict[str, Any] = {
        "stop": "tool_use" if calls else "end",
        "usage": TokenUsage(input_tokens=100, output_tokens=10),
        "dollars": 0.01,
    }
    return Completion(content=content, **(given | more))


Script = Sequence[Completion] | Callable[[Request], Completion]


@dataclass
class FakeModel:
    """Says the replies of a script in turn, and keeps what it was asked."""

    script: Script
    requests: list[Request] = field(default_factory=list)
    name: str = "scripted/fake"

    def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        told = self.script(request) if callable(self.script) else self._next()
        number = len(request.messages) // 2 + 1
        content = tuple(
            block.model_copy(update={"id": f"u{number}.{place}"})
            if isinstance(block, ToolUseBlock)
            else block
            for place, block in enumerate(told.content)
        )
        return told.model_copy(update={"content": content})

    def _next(self) -> Completion:
        return self.script[len(self.requests) - 1]  # type: ignore[index]

    def heard(self, turn: int) -> str:
        """All that it was told in the last user turn of a request."""
        last = self.requests[turn].messages[-1]
        assert last.role == "user"
        return "\n".join(
            block.text for block in last.content if isinstance(block, TextBlock | ToolResultBlock)
        )

    def answers(self, turn: int) -> list[ToolResultBlock]:
        """The answers to its calls in the last user turn of a request."""
        last = self.requests[turn].messages[-1]
        return [block for block in last.content if isinstance(block, ToolResultBlock)]


@pytest.fixture
def audit(recorder: Any) -> Callable[..., Any]:
    """Let a script audit a fake target; returns the model and the outcome."""

    def run(script: Script, *, tools: Sequence[str] = ("chat",), **changes: Any) -> Any:
        model = FakeModel(script)
        options = {
            key: changes.pop(key)
            for key in ("max_tokens", "estimate", "compact_at", "learn")
            if key in changes
        }
        found = [find(name) for name in tools]
        policy = AgentPolicy(model, found, **options)
        outcome = recorder.run(policy, tools=found, **changes)
        return model, outcome

    return run


@pytest.fixture
def make_model() -> type[FakeModel]:
    return FakeModel


@pytest.fixture(name="use")
def _use() -> Callable[..., ToolUseBlock]:
    return use


@pytest.fixture(name="chat")
def _chat() -> Callable[..., ToolUseBlock]:
    return chat


@pytest.fixture(name="idea")
def _idea() -> Callable[..., ToolUseBlock]:
    return idea


@pytest.fixture(name="submit")
def _submit() -> Callable[..., ToolUseBlock]:
    return submit


@pytest.fixture(name="reply")
def _reply() -> Callable[..., Completion]:
    return reply
