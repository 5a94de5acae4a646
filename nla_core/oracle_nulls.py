"""Oracles that must find nothing: the same interface, with the mind taken out; see `nulls`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nla_core.oracle import Oracle, OracleAnswer
from nla_core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor


class AroundOracle:
    """What stands around an oracle, and is one by its `answer`."""

    def __init__(self, inner: Oracle) -> None:
        """Wrap an oracle."""
        self._inner = inner

    @property
    def layers(self) -> tuple[int, ...]:
        """Those of the wrapped oracle."""
        return self._inner.layers

    @property
    def max_tokens(self) -> int:
        """That of the wrapped oracle."""
        return self._inner.max_tokens


class RandomVectorOracle(AroundOracle):
    """Asks about random directions of the activations' norms instead of the activations."""

    def answer(
        self,
        segments: "Sequence[Tensor]",
        question: str,
        *,
        layer: int,
        samples: int,
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[OracleAnswer]:
        """Ask about as many random vectors, each segment's fixed by its seed."""
        from nla_core.fidelity import random_like

        noise = [
            random_like(vectors, seed=derive_seed(seed, "null"))
            for vectors, seed in zip(segments, seeds, strict=True)
        ]
        return self._inner.answer(
            noise, question, layer=layer, samples=samples, temperature=temperature, top_p=top_p,
            seeds=seeds, contexts=contexts,
        )  # fmt: skip


class TextOnlyOracle(AroundOracle):
    """Shows the text that was read in the place of an answer: what a mere onlooker has."""

    def __init__(self, inner: Oracle, *, words: int = 30) -> None:
        """Wrap an oracle, which says what layers there are; show the last `words` of the text."""
        super().__init__(inner)
        self._words = words

    @property
    def max_tokens(self) -> int:
        """None, since nothing is generated."""
        return 0

    def answer(
        self,
        segments: "Sequence[Tensor]",
        question: str,
        *,
        layer: int,
        samples: int,
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[OracleAnswer]:
        """Return the end of each context."""
        return [
            OracleAnswer(" ".join(context.split()[-self._words :]), number, sample, 0)
            for number, context in enumerate(contexts)
            for sample in range(samples)
        ]
