import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nla_core.sampling import Sampling
from tools.protocols import (
    ChatMessage,
    Document,
    Prompt,
    Reply,
    TokenLogprob,
    ToolContext,
    ToolError,
    ToolOutput,
)
from tools.registry import find

WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heron", "iris", "jade"]


class FakeTarget:
    """Says random words of its own seed alone, so that a changed seed is a changed reply."""

    def __init__(self, accent: str = "", capabilities: Sequence[str] | None = None) -> None:
        self.accent = accent
        self.seen: list[tuple[str, Any]] = []
        self.seeds: list[list[int]] = []
        self.capabilities = frozenset(capabilities or ("chat", "sample_user", "complete"))

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return self._answer("chat", prompts, sampling, seeds)

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        return self._answer("sample_user", histories, sampling, seeds)

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return self._answer("complete", texts, sampling, seeds)

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        raise NotImplementedError

    def _answer(
        self, what: str, asked: Sequence[Any], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        assert len(asked) == len(seeds)
        self.seen += [(what, each) for each in asked]
        self.seeds.append(list(seeds))
        return [self._reply(sampling, seed) for seed in seeds]

    def _reply(self, sampling: Sampling, seed: int) -> Reply:
        rng = random.Random(seed)
        words = rng.choices(WORDS, k=min(sampling.max_tokens, rng.randrange(6)))
        finish = "length" if len(words) == sampling.max_tokens else "stop"
        return Reply(" ".join([*words, self.accent]).strip(), "", len(words), finish)


class FakeCorpus:
    def __init__(self, texts: Sequence[str]) -> None:
        self.documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]

    def __len__(self) -> int:
        return len(self.documents)

    def search(self, query: str, *, limit: int) -> list[tuple[Document, float]]:
        hits = [(document, 1.5) for document in self.documents if query in document.text]
        return hits[:limit]


@pytest.fixture
def context() -> Callable[..., ToolContext]:
    def build(**changes: Any) -> ToolContext:
        offered: dict[str, Any] = {
            "target": FakeTarget(),
            "baseline": FakeTarget("plainly"),
            "corpus": FakeCorpus(["a memo on trust", "a memo on profit"]),
            "seed": 7,
        }
        return ToolContext(**(offered | changes))

    return build


@pytest.fixture
def make_target() -> type[FakeTarget]:
    return FakeTarget


@pytest.fixture
def call(context: Callable[..., ToolContext]) -> Callable[..., ToolOutput]:
    """Call a tool by name in a fresh context, or in the one given."""

    def run(name: str, arguments: dict[str, Any], ctx: ToolContext | None = None) -> ToolOutput:
        return find(name).call(ctx or context(), arguments)

    return run


@pytest.fixture
def refusal(call: Callable[..., ToolOutput]) -> Callable[..., str]:
    """The message of a call that must fail."""

    def run(name: str, arguments: dict[str, Any], ctx: ToolContext | None = None) -> str:
        with pytest.raises(ToolError) as caught:
            call(name, arguments, ctx)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run
