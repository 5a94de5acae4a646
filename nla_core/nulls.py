"""Readers that must find nothing: the same interface, with the mind taken out.

A row of results with a null in place of its reader shows what fluent explanations alone are worth.
A null that wins as often as the real row means that the real row shows nothing.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from nla_core.fidelity import Fidelity, random_like
from nla_core.pair import PairSet, Reading
from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed
from nla_core.verbalizer import Explanation

DEFAULT_MAX_TOKENS = 200


class Reads(Protocol):
    """What nulls wrap: puts activations into words, and words back into activations."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder blocks that it was made for, ascending."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens that one explanation costs; 0 when none is generated."""
        ...

    def read(
        self,
        activations: Tensor,
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[Reading]:
        """Explain activations `[n, d_model]`; `n * samples` readings."""
        ...

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> Tensor:
        """Return the directions `[n, d_model]` that explanations stand for."""
        ...


class PairReader:
    """Reads with pairs of verbalizer and reconstructor, each for its layer."""

    def __init__(self, pairs: PairSet, *, max_tokens: int = DEFAULT_MAX_TOKENS) -> None:
        """Read with `pairs`; explanations end after `max_tokens` at the latest."""
        self._pairs, self._max_tokens = pairs, max_tokens

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder blocks that there is a pair for, ascending."""
        return self._pairs.layers

    @property
    def max_tokens(self) -> int:
        """Most tokens of one explanation."""
        return self._max_tokens

    def read(
        self,
        activations: Tensor,
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[Reading]:
        """Explain activations `[n, d_model]` and score every explanation."""
        return self._pairs.for_layer(layer).read(
            activations,
            samples=samples,
            sampling=Sampling(temperature=temperature, max_tokens=self._max_tokens),
            seeds=seeds,
            contexts=contexts,
            layer=layer,
            batch_size=256,
        )

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> Tensor:
        """Return the directions `[n, d_model]` that explanations stand for, float32."""
        return self._pairs.for_layer(layer).reconstructor.reconstruct(texts, batch_size=256)


class RandomVectorReader:
    """Explains random directions of the activations' norms instead of the activations."""

    def __init__(self, inner: Reads) -> None:
        """Wrap a reader."""
        self._inner = inner

    @property
    def layers(self) -> tuple[int, ...]:
        """Those of the wrapped reader."""
        return self._inner.layers

    @property
    def max_tokens(self) -> int:
        """That of the wrapped reader."""
        return self._inner.max_tokens

    def read(
        self,
        activations: Tensor,
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[Reading]:
        """Explain as many random vectors, fixed by the seeds."""
        noise = random_like(activations, seed=derive_seed(0, "null", *seeds))
        return self._inner.read(
            noise, layer=layer, samples=samples, temperature=temperature, seeds=seeds,
            contexts=contexts,
        )  # fmt: skip

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> Tensor:
        """Return random directions, the same for the same text."""
        real = self._inner.reconstruct(texts, layer=layer)
        rows = [random_like(real[i : i + 1], seed=derive_seed(0, t)) for i, t in enumerate(texts)]
        return torch.cat(rows) if rows else real


class TextOnlyReader:
    """Shows the text that was read in the place of a reading: what a mere onlooker has.

    It has no mind to reconstruct from, so statements are verified against random directions.
    """

    def __init__(self, inner: Reads, *, words: int = 30) -> None:
        """Wrap a reader, which says what layers there are; show the last `words` of the text."""
        self._random, self._words = RandomVectorReader(inner), words

    @property
    def layers(self) -> tuple[int, ...]:
        """Those of the wrapped reader."""
        return self._random.layers

    @property
    def max_tokens(self) -> int:
        """None, since nothing is generated."""
        return 0

    def read(
        self,
        activations: Tensor,
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[Reading]:
        """Return the end of each context, unscored."""
        norms = activations.float().norm(dim=-1).tolist()
        return [
            _shown(" ".join(context.split()[-self._words :]), row, sample, norms[row], layer,
                   activations.shape[-1])
            for row, context in enumerate(contexts)
            for sample in range(samples)
        ]  # fmt: skip

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> Tensor:
        """Return random directions, the same for the same text."""
        return self._random.reconstruct(texts, layer=layer)


def _shown(text: str, row: int, sample: int, norm: float, layer: int, width: int) -> Reading:
    explanation = Explanation(
        text=text, raw_text=text, vector=row, sample=sample, finish="stop", n_tokens=0,
        activation_norm=norm,
    )  # fmt: skip
    unknown = Fidelity(
        score=None, shuffled=None, random_vector=None, copied_context=None, problem=None
    )
    return Reading(
        explanation=explanation, fidelity=unknown, layer=layer, off_layer=None, d_model=width
    )
