"""Two minds dealt out at random: what is read as one model's may be the other's.

The null of a comparison: if target and baseline did not differ, it would not matter which of them
a text is read in. Readings stay as fluent and recurrent as they are; only whose they are is lost.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed
from tools.protocols import Mind, Prompt, Reply, Steering

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.positions import Turn

T = TypeVar("T")


class MixedMind:
    """Reads each text in one of two minds, as a fair coin falls that the text and a seed decide.

    The other half of a deal, made with `other_side`, reads every text in the other mind.
    """

    def __init__(self, one: Mind, other: Mind, *, seed: int, other_side: bool = False) -> None:
        """Deal between two minds whose tokenizers agree."""
        self._minds, self._seed, self._flip = (one, other), seed, other_side

    @property
    def depth(self) -> int:
        """Number of decoder blocks."""
        return self._minds[0].depth

    def unembed(self, vectors: "Tensor") -> "Tensor":
        """Return log-probabilities of vectors; both minds read them with the first one's head."""
        return self._minds[0].unembed(vectors)

    def token_ids(self, inputs: Sequence[Prompt | str]) -> list[list[int]]:
        """Return the token ids that the model sees for each input."""
        return self._dealt(inputs, lambda mind, mine, _: mind.token_ids(mine))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Spell single tokens, leading spaces kept."""
        return self._minds[0].tokens(ids)

    def turns(self, inputs: Sequence[Prompt | str]) -> list[tuple["Turn", ...]]:
        """Return the turns of each conversation in token positions; none of a raw text."""
        return self._dealt(inputs, lambda mind, mine, _: mind.turns(mine))

    def activations(
        self,
        inputs: Sequence[Prompt | str],
        *,
        layer: int,
        positions: Sequence[Sequence[int]] | None = None,
    ) -> list["Tensor"]:
        """Return the residual stream `[n_positions, d_model]`, float32, after block `layer`."""

        def captured(
            mind: Mind, mine: Sequence[Prompt | str], rows: Sequence[int]
        ) -> list["Tensor"]:
            wanted = None if positions is None else [positions[row] for row in rows]
            return mind.activations(mine, layer=layer, positions=wanted)

        return self._dealt(inputs, captured)

    def token_logprobs(self, inputs: Sequence[Prompt | str]) -> list["Tensor"]:
        """Return `[token, vocab]` float32 log-probabilities (nats) of what follows each token."""
        return self._dealt(inputs, lambda mind, mine, _: mind.token_logprobs(mine))

    def steered_chat(
        self,
        prompts: Sequence[Prompt],
        steerings: Sequence[Sequence[Steering]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Sample replies while the stream is changed, by its own steerings for each prompt."""

        def steered(mind: Mind, mine: Sequence[Prompt | str], rows: Sequence[int]) -> list[Reply]:
            return mind.steered_chat(
                [prompt for prompt in mine if isinstance(prompt, Prompt)],
                [steerings[row] for row in rows],
                sampling=sampling,
                seeds=[seeds[row] for row in rows],
            )

        return self._dealt(prompts, steered)

    def _dealt(
        self,
        inputs: Sequence[Prompt | str],
        ask: Callable[[Mind, Sequence[Prompt | str], Sequence[int]], list[T]],
    ) -> list[T]:
        """Ask each mind for its texts and put the answers in order."""
        coins = [self._coin(value) for value in inputs]
        found: dict[int, T] = {}
        for side, mind in enumerate(self._minds):
            rows = [row for row, coin in enumerate(coins) if coin == side]
            if rows:
                answers = ask(mind, [inputs[row] for row in rows], rows)
                found.update(zip(rows, answers, strict=True))
        return [found[row] for row in range(len(inputs))]

    def _coin(self, value: Prompt | str) -> int:
        return (derive_seed(self._seed, "deal", repr(value)) + self._flip) % 2
