"""Two minds dealt out at random."""

from collections.abc import Sequence
from typing import Any

import torch

from auditor.target.mixed import MixedMind
from nla_core.sampling import Sampling
from tools.protocols import ChatMessage, Mind, Prompt, Reply, Steering

TEXTS = [f"text {i}" for i in range(40)]


class Named:
    """Answers with its own number."""

    def __init__(self, number: int) -> None:
        self.number = number

    depth = 4

    def unembed(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors + self.number

    def token_ids(self, inputs: Sequence[Any]) -> list[list[int]]:
        return [[self.number, len(str(value))] for value in inputs]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(i) for i in ids]

    def turns(self, inputs: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [() for _ in inputs]

    def activations(
        self, inputs: Sequence[Any], *, layer: int, positions: Any = None
    ) -> list[torch.Tensor]:
        rows = positions or [[0]] * len(inputs)
        return [torch.full((len(at), 2), float(self.number + layer + sum(at))) for at in rows]

    def token_logprobs(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        return [torch.full((1, 2), float(self.number)) for _ in inputs]

    def steered_chat(
        self, prompts: Sequence[Prompt], steerings: Any, *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        return [
            Reply(f"{self.number} {seed} {len(mine)}", "", 1, "stop")
            for mine, seed in zip(steerings, seeds, strict=True)
        ]


def pair(seed: int = 3) -> tuple[MixedMind, MixedMind]:
    one, other = Named(0), Named(100)
    return (
        MixedMind(one, other, seed=seed),
        MixedMind(one, other, seed=seed, other_side=True),
    )


def owners(mind: MixedMind) -> list[int]:
    return [ids[0] for ids in mind.token_ids(TEXTS)]


def test_each_text_is_read_in_either_mind_by_a_fair_coin() -> None:
    mind, _ = pair()
    assert isinstance(mind, Mind)
    assert 10 <= owners(mind).count(0) <= 30


def test_both_sides_read_vectors_with_the_same_head() -> None:
    vectors = torch.ones(2, 3)
    assert all(torch.equal(mind.unembed(vectors), vectors) for mind in pair())
    assert [mind.depth for mind in pair()] == [4, 4]


def test_the_other_side_reads_every_text_in_the_other_mind() -> None:
    mind, other = pair()
    assert all(a != b for a, b in zip(owners(mind), owners(other), strict=True))


def test_a_text_always_falls_to_the_same_mind_for_a_seed() -> None:
    assert owners(pair(3)[0]) == owners(pair(3)[0])
    assert owners(pair(3)[0]) != owners(pair(4)[0])
    alone = [pair(3)[0].token_ids([text])[0][0] for text in TEXTS]
    assert alone == owners(pair(3)[0])


def test_activations_keep_their_text_and_positions() -> None:
    mind, _ = pair()
    positions = [[i, i + 1] for i in range(len(TEXTS))]
    found = mind.activations(TEXTS, layer=2, positions=positions)
    expected = [owner + 2 + sum(at) for owner, at in zip(owners(mind), positions, strict=True)]
    assert [float(one[0, 0]) for one in found] == expected
    assert {tuple(one.shape) for one in found} == {(2, 2)}


def test_steering_keeps_each_prompts_own_seed_and_steerings() -> None:
    mind, _ = pair()
    prompts = [Prompt((ChatMessage("user", text),)) for text in TEXTS]
    vector = torch.zeros(2)
    steerings = [[Steering(1, vector)] * (i % 3) for i in range(len(TEXTS))]
    replies = mind.steered_chat(
        prompts, steerings, sampling=Sampling(), seeds=list(range(len(TEXTS)))
    )
    assert [reply.text.split()[1:] for reply in replies] == [
        [str(i), str(i % 3)] for i in range(len(TEXTS))
    ]
    assert {reply.text.split()[0] for reply in replies} == {"0", "100"}
