import copy
import random
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from nla_core import arch
from nla_core.activations import capture
from nla_core.decoding import generate
from nla_core.sampling import Sampling
from nla_core.steering import Addition, steered

N_NEW = 6


def vector_of(seed: int, *, scale: float = 2.0, width: int = 32) -> torch.Tensor:
    return scale * torch.randn(width, generator=torch.Generator().manual_seed(seed))


def prompts_of(lengths: Sequence[int], *, prefix: int = 0) -> list[list[int]]:
    rng = random.Random(prefix)
    shared = [rng.randrange(3, 199) for _ in range(prefix)]
    return [shared + [rng.randrange(3, 199) for _ in range(n)] for n in lengths]


def drawn(model: nn.Module, prompts: Sequence[list[int]], additions: Sequence[Addition], **options):
    options.setdefault("max_tokens", N_NEW)
    stop_ids = options.pop("stop_ids", frozenset())
    with steered(model, additions):
        got = generate(
            model,
            prompts,
            sampling=Sampling(temperature=0, **options),
            seeds=list(range(len(prompts))),
            decode=str,
            stop_ids=stop_ids,
        )
    return [list(g.token_ids) for g in got]


def by_hand(model: nn.Module, prompt: list[int], additions: Sequence[Addition], n: int = N_NEW):
    """Greedy decoding that runs the whole text again for every token, without a cache."""
    ids = list(prompt)
    handles = []
    for addition in additions:

        def hook(_module, _inputs, output, addition=addition):
            states = output[0] if isinstance(output, tuple) else output
            changed = states.clone()
            if addition.where in ("prompt", "all"):
                changed[:, : len(prompt)] += addition.vector
            if addition.where in ("reply", "all"):
                changed[:, len(prompt) :] += addition.vector
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        handles.append(arch.blocks(model)[addition.layer].register_forward_hook(hook))
    try:
        for _ in range(n):
            with torch.no_grad():
                logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
    finally:
        for handle in handles:
            handle.remove()
    return ids[len(prompt) :]


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


BATCHES = {
    "different lengths": prompts_of([1, 12, 4, 23]),
    "a long shared prefix and repeats": prompts_of([1, 6, 3, 9, 6], prefix=30) * 2,
    "prompts that differ in their last token alone": prompts_of([1] * 9, prefix=9),
}


@pytest.mark.parametrize("where", ["prompt", "reply", "all"])
def test_steered_text_equals_a_plain_loop_with_a_hook(model, where):
    additions = [Addition(1, vector_of(1), where)]
    changed = False
    for batch in BATCHES.values():
        expected = [by_hand(model, p, additions) for p in batch]
        assert drawn(model, batch, additions) == expected
        # Rows that stop early leave the batch.
        stop = expected[0][2]
        cut = [row[: row.index(stop)] if stop in row else row for row in expected]
        assert drawn(model, batch, additions, stop_ids=frozenset({stop})) == cut
        changed |= expected != drawn(model, batch, [])
    assert changed


@pytest.mark.parametrize("where", ["prompt", "reply"])
def test_a_shared_prefix_of_one_token_belongs_to_the_prompt(llama, where):
    batch = [[5, token] for token in range(10, 78)]
    additions = [Addition(0, vector_of(1), where)]
    expected = [by_hand(llama, p, additions, 3) for p in batch]
    assert drawn(llama, batch, additions, max_tokens=3) == expected
    assert expected != drawn(llama, batch, [], max_tokens=3)


def test_many_prompts_get_what_each_gets_alone(model):
    batch = BATCHES["a long shared prefix and repeats"]
    additions = [Addition(0, vector_of(1), "prompt"), Addition(2, vector_of(2), "reply")]
    alone = [drawn(model, [p], additions)[0] for p in batch]
    assert drawn(model, batch, additions) == alone


def test_additions_at_several_blocks_and_at_one_add_up(model):
    additions = [
        Addition(0, vector_of(1), "reply"),
        Addition(2, vector_of(2), "all"),
        Addition(2, vector_of(3), "prompt"),
    ]
    batch = BATCHES["different lengths"]
    assert drawn(model, batch, additions) == [by_hand(model, p, additions) for p in batch]


def test_a_reply_alone_is_steered_from_its_second_token_on(llama):
    batch = BATCHES["different lengths"]
    plain, changed = (
        drawn(llama, batch, []),
        drawn(llama, batch, [Addition(0, vector_of(1), "reply")]),
    )
    assert [row[0] for row in plain] == [row[0] for row in changed]
    assert plain != changed


def test_two_calls_in_one_context_both_start_with_their_prompts(llama):
    additions = [Addition(1, vector_of(1), "prompt")]
    batch = BATCHES["different lengths"]
    expected = [by_hand(llama, p, additions) for p in batch]
    with steered(llama, additions):
        assert drawn(llama, batch, []) == expected
        assert drawn(llama, batch[:1], []) == expected[:1]


def test_transformers_own_generation_is_steered_alike(llama):
    prompt = BATCHES["different lengths"][1]
    for where in ("prompt", "reply"):
        additions = [Addition(1, vector_of(1), where)]
        with steered(llama, additions), torch.inference_mode():
            out = llama.generate(
                torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)),
                do_sample=False, max_new_tokens=N_NEW, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        assert out[0, len(prompt) :].tolist() == by_hand(llama, prompt, additions)


def test_an_adapted_model_is_steered(llama):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    tuned = get_peft_model(copy.deepcopy(llama), config).eval()
    batch = BATCHES["a long shared prefix and repeats"]
    for where in ("prompt", "reply"):
        additions = [Addition(1, vector_of(1), where)]
        expected = [by_hand(tuned, p, additions) for p in batch]
        assert drawn(tuned, batch, additions) == expected
        assert expected != drawn(llama, batch, additions)
        assert expected != drawn(tuned, batch, [])


def test_bfloat16_states_are_rounded_once(llama):
    model = copy.deepcopy(llama).bfloat16()
    texts = BATCHES["different lengths"]
    vector = vector_of(1, scale=0.01)
    plain = capture(model, texts, layer=1)
    with steered(model, [Addition(1, vector)]):
        got = capture(model, texts, layer=1)
    for before, after in zip(plain, got, strict=True):
        assert torch.equal(after, (before + vector).bfloat16().float())
        assert not torch.equal(after, before)
    assert all(len(row) == N_NEW for row in drawn(model, texts, [Addition(1, vector)]))


def test_a_zero_vector_changes_nothing_and_sets_no_hook(llama):
    batch = BATCHES["different lengths"]
    additions = [Addition(1, torch.zeros(32))]
    assert drawn(llama, batch, additions) == drawn(llama, batch, [])
    before = hooks_of(llama)
    with steered(llama, additions):
        assert hooks_of(llama) == before
    with steered(llama, [Addition(1, vector_of(1))]):
        assert hooks_of(llama) > before


def test_no_hook_stays_behind_an_error(llama):
    before = hooks_of(llama)
    additions = [Addition(0, vector_of(1)), Addition(2, vector_of(2))]
    with pytest.raises(KeyError), steered(llama, additions):
        raise KeyError("x")
    with pytest.raises(IndexError), steered(llama, additions):
        generate(llama, [[10**6]], sampling=Sampling(), seeds=[0], decode=str)
    assert hooks_of(llama) == before


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (Addition(3, torch.ones(32)), "layer 3 does not exist; the model has layers 0 to 2"),
        (Addition(-1, torch.ones(32)), "layer -1 does not exist"),
        (Addition(0, torch.ones(16)), r"has shape \[32\], got \[16\]"),
        (Addition(0, torch.ones(1, 32)), r"has shape \[32\], got \[1, 32\]"),
        (Addition(0, torch.full((32,), float("nan"))), "not finite"),
        (Addition(0, torch.ones(32), "header"), "where must be one of prompt, reply, all"),
    ],
)
def test_what_cannot_be_added_is_refused(llama, addition, message):
    before = hooks_of(llama)
    with (
        pytest.raises(ValueError, match=message),
        steered(llama, [Addition(0, torch.ones(32)), addition]),
    ):
        pass
    assert hooks_of(llama) == before
