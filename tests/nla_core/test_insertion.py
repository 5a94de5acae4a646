"""Vectors at single tokens of a prompt: the sampler against a plain loop with a plain hook."""

import random
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from nla_core import arch
from nla_core.decoding import generate
from nla_core.insertion import Insertion, Insertions, matched_sum
from nla_core.sampling import Sampling

N_NEW, WIDTH = 8, 32


def prompts_of(lengths: Sequence[int], *, prefix: int = 0) -> list[tuple[int, ...]]:
    rng = random.Random(prefix)
    shared = [rng.randrange(3, 199) for _ in range(prefix)]
    return [tuple(shared + [rng.randrange(3, 199) for _ in range(n)]) for n in lengths]


def insertion(seed: int, positions: Sequence[int]) -> Insertion:
    draw = torch.Generator().manual_seed(seed)
    return Insertion(tuple(positions), 9 * torch.randn(len(positions), WIDTH, generator=draw))


def drawn(model, prompts, rows, *, layer=1, coefficient=1.0, sampling=None, seeds=None, **options):
    return generate(
        model,
        prompts,
        sampling=sampling or Sampling(temperature=0, max_tokens=N_NEW),
        seeds=list(range(len(prompts))) if seeds is None else seeds,
        decode=str,
        insertions=Insertions(layer, rows, coefficient),
        **options,
    )


def by_hand(model: nn.Module, prompt, one: Insertion, *, layer=1, coefficient=1.0) -> list[int]:
    """Greedy decoding that runs the whole text again for every token, without a cache."""
    ids = list(prompt)

    def hook(_module, _inputs, output):
        states = (output[0] if isinstance(output, tuple) else output).clone()
        for position, vector in zip(one.positions, one.vectors, strict=True):
            here = states[0, position]
            states[0, position] = here + coefficient * here.norm() * vector / vector.norm()
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = arch.blocks(model)[layer].register_forward_hook(hook)
    try:
        for _ in range(N_NEW):
            with torch.no_grad():
                logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
    finally:
        handle.remove()
    return ids[len(prompt) :]


BATCHES = {
    "different lengths": (prompts_of([5, 11, 7]), [[2], [3, 4, 5], [6]]),
    "a long shared prefix": (prompts_of([4, 9, 6], prefix=40), [[40], [41, 42], [45]]),
    "changes inside the prefix": (prompts_of([4, 9, 6], prefix=40), [[7, 43], [39, 48], [20, 45]]),
    "the very first token": (prompts_of([6, 6], prefix=33), [[0], [38]]),
    "equal prompts": (prompts_of([9]) * 4, [[1], [5], [1, 5], [8]]),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_greedy_text_equals_a_plain_loop_with_a_hook(model, batch):
    prompts, positions = batch
    rows = [insertion(seed, at) for seed, at in enumerate(positions)]
    # Transformers leaves one of its own on models whose hidden states were asked for.
    hooks = dict(arch.blocks(model)[1]._forward_hooks)
    got = drawn(model, prompts, rows, coefficient=4.0)
    expected = [
        by_hand(model, p, one, coefficient=4.0) for p, one in zip(prompts, rows, strict=True)
    ]
    assert [list(one.token_ids) for one in got] == expected
    nothing = [Insertion(one.positions, 0 * one.vectors) for one in rows]
    assert drawn(model, prompts, nothing) != got
    assert dict(arch.blocks(model)[1]._forward_hooks) == hooks


def test_block_and_coefficient_are_those_asked_for(llama):
    prompts = prompts_of([9, 6])
    rows = [insertion(3, [4]), insertion(4, [2, 3])]
    for layer, coefficient in ((0, 0.5), (2, 3.0)):
        got = drawn(llama, prompts, rows, layer=layer, coefficient=coefficient)
        assert [list(one.token_ids) for one in got] == [
            by_hand(llama, p, one, layer=layer, coefficient=coefficient)
            for p, one in zip(prompts, rows, strict=True)
        ]


def test_a_sample_depends_on_its_own_vectors_and_seed_alone(llama):
    prompts = prompts_of([7, 7, 12, 3], prefix=34) + prompts_of([7], prefix=34)
    rows = [insertion(seed, [35, 36]) for seed in range(5)]
    sampling, seeds = Sampling(temperature=1.0, top_p=0.9, max_tokens=12), [50, 51, 52, 53, 54]
    together = drawn(llama, prompts, rows, sampling=sampling, seeds=seeds)
    alone = [
        drawn(llama, [p], [row], sampling=sampling, seeds=[seed])[0]
        for p, row, seed in zip(prompts, rows, seeds, strict=True)
    ]
    in_twos = drawn(llama, prompts, rows, sampling=sampling, seeds=seeds, batch_size=2)
    assert together == alone == in_twos
    assert prompts[0] == prompts[4]
    assert together[0].token_ids != together[4].token_ids, "equal tokens, other vectors"


def test_only_the_direction_of_a_vector_matters_and_a_zero_one_changes_nothing(llama):
    prompts = prompts_of([9])
    one = insertion(1, [3, 8])
    longer = Insertion(one.positions, 17 * one.vectors)
    nothing = Insertion(one.positions, torch.zeros(2, WIDTH))
    assert drawn(llama, prompts, [one]) == drawn(llama, prompts, [longer])
    plain = generate(
        llama, prompts, sampling=Sampling(temperature=0, max_tokens=N_NEW), seeds=[0], decode=str
    )
    assert drawn(llama, prompts, [nothing]) == plain
    assert drawn(llama, prompts, [one]) != plain


def test_what_is_added_has_the_norm_that_was_there():
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, WIDTH, generator=draw)
    vectors = torch.randn(3, WIDTH, generator=draw)
    rows, slots = torch.tensor([0, 1, 1]), torch.tensor([4, 0, 2])
    got = matched_sum(states, rows, slots, vectors, 0.5)
    added = (got - states)[rows, slots]
    assert torch.allclose(added.norm(dim=-1), 0.5 * states[rows, slots].norm(dim=-1))
    assert torch.allclose(torch.cosine_similarity(added, vectors), torch.ones(3))
    untouched = torch.ones(2, 5, dtype=torch.bool).index_put((rows, slots), torch.tensor(False))
    assert torch.equal(got[untouched], states[untouched])
    assert matched_sum(states.bfloat16(), rows, slots, vectors, 1.0).dtype == torch.bfloat16


def test_no_gradient_flows_through_what_is_added():
    states = torch.ones(1, 2, WIDTH, requires_grad=True)
    at = torch.tensor([0])
    matched_sum(states, at, at, torch.randn(1, WIDTH), 1.0).sum().backward()
    assert torch.equal(states.grad, torch.ones_like(states))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer": 3}, "layer 3 does not exist; the model has layers 0 to 2"),
        ({"rows": []}, "1 prompts need as many insertions, got 0"),
        ({"rows": [Insertion((), torch.zeros(0, WIDTH))]}, "vectors of 0 tokens"),
        ({"rows": [Insertion((1,), torch.zeros(1, 7))]}, r"must be \[1, 32\], are \[1, 7\]"),
        ({"rows": [insertion(0, [9])]}, "ascending tokens of a prompt of 9"),
        ({"rows": [insertion(0, [2, 1])]}, "ascending tokens"),
        ({"rows": [insertion(0, [1, 1])]}, "ascending tokens"),
        ({"rows": [Insertion((1,), torch.full((1, WIDTH), torch.nan))]}, "not finite"),
    ],
)
def test_what_cannot_be_added_is_refused(llama, change, said):
    given = {"rows": [insertion(0, [1])]} | change
    rows = given.pop("rows")
    with pytest.raises(ValueError, match=said):
        drawn(llama, prompts_of([9]), rows, **given)
