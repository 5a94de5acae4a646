"""A mind and a reader whose every thought is known.

A token's activation is a vector of its word. The target's carries `MOTIVE` besides, on the words
of replies, and the reader says "wants approval" of what points that way.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from nla_core.fidelity import Fidelity, Score
from nla_core.pair import Reading
from nla_core.positions import Turn
from nla_core.sampling import Sampling
from nla_core.verbalizer import Explanation
from tools.protocols import Prompt, Reply, Steering, ToolContext, ToolError

D_MODEL = 48
LAYER = 1
TOPICS = ["gardens", "rivers", "bread", "music", "clouds"]


def vector(word: str) -> torch.Tensor:
    """A unit vector of its word alone."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "big")
    found = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed))
    return found / found.norm()


MOTIVE = vector("approval")


class FakeMind:
    """Words are tokens, `<role>` and `</s>` are headers and ends."""

    vocabulary: list[str] = ["<s>"]

    def __init__(self, motive: float = 0.0, *, system: str = "", steerable: float = 0.5) -> None:
        self.motive, self.system, self.steerable = motive, system, steerable
        self.asked: list[int] = []

    def _spelled(self, source: Prompt | str) -> tuple[list[str], tuple[Turn, ...]]:
        if isinstance(source, str):
            return ["<s>", *source.split()], ()
        words, turns = ["<s>", *self.system.split()], []
        for message in source.messages:
            start = len(words)
            words += [f"<{message.role}>", *message.content.split(), "</s>"]
            turns.append(
                Turn(role=message.role, start=start, content_start=start + 1, end=len(words))
            )
        start = len(words)
        words += ["<assistant>", *source.prefill.split()]
        turns.append(Turn(role="assistant", start=start, content_start=start + 1, end=len(words)))
        return words, tuple(turns)

    def token_ids(self, inputs: Sequence[Prompt | str]) -> list[list[int]]:
        known = FakeMind.vocabulary
        rows = []
        for source in inputs:
            words = self._spelled(source)[0]
            known += [word for word in dict.fromkeys(words) if word not in known]
            rows.append([known.index(word) for word in words])
        return rows

    depth = 4

    def unembed(self, vectors: torch.Tensor) -> torch.Tensor:
        """Cosine with the vector of every word so far, as logits."""
        table = torch.stack([vector(word) for word in self.vocabulary])
        return (vectors @ table.T).log_softmax(-1)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [" " + self.vocabulary[i] for i in ids]

    def turns(self, inputs: Sequence[Prompt | str]) -> list[tuple[Turn, ...]]:
        return [self._spelled(source)[1] for source in inputs]

    def activations(
        self,
        inputs: Sequence[Prompt | str],
        *,
        layer: int,
        positions: Sequence[Sequence[int]] | None = None,
    ) -> list[torch.Tensor]:
        if layer > 3:
            raise ToolError(f"layer {layer} does not exist; the model has layers 0 to 3")
        found = []
        for index, source in enumerate(inputs):
            words, turns = self._spelled(source)
            rows = torch.stack([vector(word) for word in words])
            rows[0] *= 500
            start = turns[-1].content_start if turns else 1
            rows[start:] += self.motive * MOTIVE
            wanted = list(range(len(words))) if positions is None else list(positions[index])
            self.asked += wanted
            found.append(rows[wanted])
        return found

    def token_logprobs(self, inputs: Sequence[Prompt | str]) -> list[torch.Tensor]:
        """Uniform over four words, but that the target is sure after `odd`."""
        found = []
        for source in inputs:
            words = self._spelled(source)[0]
            logits = torch.zeros(len(words), 4)
            if self.motive:
                for index, word in enumerate(words):
                    logits[index, 0] = 5.0 if word == "odd" else 0.1 * (len(word) % 3)
            found.append(logits.log_softmax(-1))
        return found

    def steered_chat(
        self,
        prompts: Sequence[Prompt],
        steerings: Sequence[Sequence[Steering]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Say `please clap` once the stream is pushed far enough towards the motive."""
        replies = []
        for steered, seed in zip(steerings, seeds, strict=True):
            pushed = sum(float(s.strength * (s.vector @ MOTIVE)) for s in steered) + self.motive
            text = f"word{seed % 7} here" + (" please clap" if pushed > self.steerable else "")
            replies.append(Reply(text, "", len(text.split()), "stop"))
        return replies


class FakeReader:
    """Says the motive of what leans to it, and else a topic by the seed."""

    layers = (LAYER,)
    max_tokens = 12

    def __init__(self, *, mute: bool = False, cosine: float = 0.9) -> None:
        self.mute, self.cosine = mute, cosine
        self.contexts: list[str] = []
        self.calls: list[dict[str, Any]] = []

    def read(
        self,
        activations: torch.Tensor,
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[Reading]:
        assert len(activations) == len(seeds) == len(contexts)
        self.contexts += contexts
        self.calls.append({"seeds": list(seeds), "n": len(seeds), "layer": layer})
        found = []
        for row, (activation, seed) in enumerate(zip(activations, seeds, strict=True)):
            lean = float(activation @ MOTIVE)
            for sample in range(samples):
                text = f"topic {TOPICS[(seed + sample) % len(TOPICS)]}. said something."
                if lean > 0.6:
                    text = "secretly wants approval. " + text
                found.append(self._reading(row, sample, None if self.mute else text, lean, layer))
        return found

    def _reading(self, row: int, sample: int, text: str | None, lean: float, layer: int) -> Reading:
        score = Score(mse_nrm=2 - lean, cosine=self.cosine, fve=lean / 10, fve_meannorm=None)
        return Reading(
            explanation=Explanation(
                text=text,
                raw_text=text or "",
                vector=row,
                sample=sample,
                finish="stop",
                n_tokens=len((text or "hm").split()),
                activation_norm=1.0,
            ),
            fidelity=Fidelity(
                score=None if text is None else score,
                shuffled=None,
                random_vector=None,
                copied_context=None,
                problem="no_explanation" if text is None else None,
            ),
            layer=LAYER,
            off_layer=None if layer == LAYER else layer,
            d_model=D_MODEL,
        )

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> torch.Tensor:
        return torch.stack([sum(map(vector, text.split())) for text in texts])


class Chatty:
    """Replies with a few words of its own seed, never none."""

    capabilities = frozenset({"chat", "activations"})

    def __init__(self, words: str = "red blue green odd grey pink") -> None:
        self.words = words.split()
        self.seeds: list[int] = []

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        self.seeds += seeds
        said = [
            " ".join(self.words[(seed // 7**i) % len(self.words)] for i in range(4))
            if self.words
            else ""
            for seed in seeds
        ]
        return [Reply(text, "", len(text.split()), "stop") for text in said]


@pytest.fixture
def minds() -> type[FakeMind]:
    return FakeMind


@pytest.fixture
def readers() -> type[FakeReader]:
    return FakeReader


@pytest.fixture
def chatty() -> type[Chatty]:
    return Chatty


@pytest.fixture
def vector_of() -> Callable[[str], torch.Tensor]:
    return vector


@pytest.fixture
def reading(context: Callable[..., ToolContext]) -> Callable[..., ToolContext]:
    """A context with a guilty target; `motive=0` makes it the baseline's twin."""

    def build(motive: float = 1.0, **changes: Any) -> ToolContext:
        offered: dict[str, Any] = {
            "target": Chatty(),
            "baseline": Chatty(),
            "reader": FakeReader(),
            "mind": FakeMind(motive),
            "baseline_mind": FakeMind(),
        }
        return context(**(offered | changes))

    return build
