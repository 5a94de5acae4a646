"""Readers without a mind: what each takes away, and that it takes nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from nla_core.fidelity import Fidelity
from nla_core.nulls import RandomVectorReader, TextOnlyReader
from nla_core.pair import Reading
from nla_core.verbalizer import Explanation

UNKNOWN = Fidelity(score=None, shuffled=None, random_vector=None, copied_context=None, problem=None)
ACTIVATIONS = torch.arange(1.0, 13.0).view(4, 3)
CONTEXTS = [f"the words up to {i}" for i in range(4)]


class Naming:
    """Says which number stands first in a vector, and remembers what it was shown."""

    layers = (2,)
    max_tokens = 9

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def read(
        self, activations: Tensor, *, samples: int, seeds: Sequence[int], **_: Any
    ) -> list[Reading]:
        self.seen.append(activations)
        return [
            Reading(
                explanation=Explanation(
                    text=f"{activations[row, 0]:.0f} of {seeds[row]}",
                    raw_text="",
                    vector=row,
                    sample=sample,
                    finish="stop",
                    n_tokens=3,
                    activation_norm=float(activations[row].norm()),
                ),
                fidelity=UNKNOWN,
                layer=2,
                off_layer=None,
                d_model=3,
            )
            for row in range(len(activations))
            for sample in range(samples)
        ]

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> Tensor:
        return torch.tensor([[float(len(text)), 1.0, 0.0] for text in texts]).view(-1, 3)


def read(reader: Any, samples: int = 2) -> list[Reading]:
    return reader.read(  # type: ignore[no-any-return]
        ACTIVATIONS, layer=2, samples=samples, temperature=1.0, seeds=[5, 6, 7, 8],
        contexts=CONTEXTS,
    )  # fmt: skip


def test_random_vectors_have_the_norms_of_the_activations_and_nothing_else() -> None:
    inner = Naming()
    read(RandomVectorReader(inner))
    (shown,) = inner.seen
    assert torch.allclose(shown.norm(dim=-1), ACTIVATIONS.norm(dim=-1), rtol=1e-4)
    cosines = torch.cosine_similarity(shown, ACTIVATIONS, dim=-1)
    assert float(cosines.abs().min()) < 0.99


def test_random_vectors_repeat_with_the_seeds() -> None:
    first, second = Naming(), Naming()
    read(RandomVectorReader(first))
    read(RandomVectorReader(second))
    assert torch.equal(first.seen[0], second.seen[0])


def test_text_only_shows_the_context_and_scores_nothing() -> None:
    inner = Naming()
    found = read(TextOnlyReader(inner, words=2), samples=1)
    assert [r.explanation.text for r in found] == [f"to {i}" for i in range(4)]
    assert {r.verdict for r in found} == {"unscored"}
    assert inner.seen == []


@pytest.mark.parametrize("null", [RandomVectorReader, TextOnlyReader])
def test_reconstructions_are_random_but_repeat_for_a_text(null: Any) -> None:
    reader = null(Naming())
    first = reader.reconstruct(["wants fame", "wants bread", "wants fame"], layer=2)
    assert torch.equal(first[0], first[2])
    assert not torch.allclose(first[0], first[1])
    assert reader.reconstruct([], layer=2).shape == (0, 3)


@pytest.mark.parametrize("null", [RandomVectorReader, TextOnlyReader])
def test_nulls_have_the_layers_of_what_they_stand_in_for(null: Any) -> None:
    assert null(Naming()).layers == (2,)


def test_only_what_generates_text_costs_tokens() -> None:
    assert RandomVectorReader(Naming()).max_tokens == 9
    assert TextOnlyReader(Naming()).max_tokens == 0
