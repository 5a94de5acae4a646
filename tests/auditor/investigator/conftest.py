"""A target that says what its seed says, and one way to run an audit of it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from auditor.investigator.loop import AuditOutcome, run_audit
from auditor.investigator.protocol import Move, ToolCall
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import (
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
)
from auditor.scenario.schema import Budget
from nla_core.sampling import Sampling
from tools.protocols import Capability, ChatMessage, Prompt, Reply, TokenLogprob, ToolOutput
from tools.registry import find

WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heron", "iris", "jade"]


class FakeTarget:
    """Answers four words chosen by each row's seed, or one fixed text; four tokens either way."""

    capabilities: frozenset[Capability] = frozenset({"chat", "sample_user", "complete"})

    def __init__(self, text: str | None = None, error: BaseException | None = None) -> None:
        self.text, self.error = text, error
        self.on_answer: Callable[[], None] = lambda: None

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return self._answer(seeds)

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        return self._answer(seeds)

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return self._answer(seeds)

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        raise NotImplementedError

    def _answer(self, seeds: Sequence[int]) -> list[Reply]:
        self.on_answer()
        if self.error is not None:
            raise self.error
        return [
            Reply(self.text or " ".join(random.Random(seed).choices(WORDS, k=4)), "", 4, "stop")
            for seed in seeds
        ]


class FakeClock:
    """Stands still until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Recorder:
    """Runs audits, and keeps what they emit."""

    events: list[TrialEvent] = field(default_factory=list)

    def run(self, moves: Any, **changes: Any) -> AuditOutcome:
        """Audit a fake target with a script; `changes` are arguments of `run_audit`."""
        settings: dict[str, Any] = {
            "tools": [find("chat"), find("sample_user")],
            "target": FakeTarget(),
            "baseline": None,
            "corpus": None,
            "budget": Budget(seconds=None),
            "seed": 7,
            "emit": self.events.append,
            "clock": FakeClock(),
        }
        policy = moves if hasattr(moves, "act") else ScriptedPolicy(moves)
        return run_audit(policy=policy, **(settings | changes))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def results(self) -> list[ToolResultEvent]:
        return self.of(ToolResultEvent)

    @property
    def submitted(self) -> SubmissionEvent:
        (event,) = self.of(SubmissionEvent)
        return event

    @property
    def outputs(self) -> dict[str, ToolOutput]:
        """Whole results, as the record of a trial gives them back."""
        read = [ToolResultEvent.model_validate_json(e.model_dump_json()) for e in self.results]
        return {e.evidence_id: ToolOutput(summary=e.summary, items=tuple(e.items)) for e in read}

    def steps(self) -> list[tuple[str, str]]:
        """Type of every event, and the text or the evidence id that tells it from others."""
        told: list[tuple[str, str]] = []
        for event in self.events:
            match event:
                case ThoughtEvent():
                    told.append((event.type, event.text))
                case ToolCallEvent() | ToolResultEvent():
                    told.append((event.type, event.evidence_id))
                case _:
                    told.append((event.type, ""))
        return told


def ask(*prompts: str, samples: int = 1) -> ToolCall:
    """A call of `chat`; its target tokens are 4 times the replies."""
    return ToolCall(
        tool="chat",
        arguments={"prompts": list(prompts or ["hello"]), "samples": samples, "max_tokens": 4},
    )


def asking(*calls: ToolCall, **more: Any) -> Move:
    """A move that makes calls."""
    return Move(thought="ask", calls=calls or (ask(),), **more)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def make_target() -> type[FakeTarget]:
    return FakeTarget


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="ask")
def _ask() -> Callable[..., ToolCall]:
    return ask


@pytest.fixture(name="asking")
def _asking() -> Callable[..., Move]:
    return asking
