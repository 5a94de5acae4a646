import random

import pytest
import torch

from nla_core import arch
from nla_core.activations import capture
from nla_core.decoding import PromptTooLongError

RNG = random.Random(3)
TEXTS = [[RNG.randrange(3, 199) for _ in range(n)] for n in (5, 17, 1, 9, 17)]


def hidden(model, text, layer):
    with torch.no_grad():
        return model(torch.tensor([text]), output_hidden_states=True).hidden_states[layer + 1][0]


@pytest.mark.parametrize("layer", [0, 1])
def test_a_block_gives_the_hidden_state_after_it(model, layer):
    for text, got in zip(TEXTS, capture(model, TEXTS, layer=layer, batch_size=3), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, hidden(model, text, layer), atol=1e-5, rtol=1e-5)


def test_the_last_block_is_read_before_the_final_norm(model):
    raw = capture(model, TEXTS[:1], layer=2)[0]
    base = arch.unwrap(model)
    inner = getattr(base, "model", None) or getattr(base, "gpt_neox", None) or base.transformer
    norm = next(
        getattr(inner, n) for n in ("norm", "final_layer_norm", "ln_f") if hasattr(inner, n)
    )
    expected = hidden(model, TEXTS[0], 2)
    assert not torch.allclose(raw, expected, atol=1e-2)
    with torch.no_grad():
        torch.testing.assert_close(norm(raw), expected, atol=1e-5, rtol=1e-5)


def test_chosen_positions_come_in_the_order_asked(model):
    everything = capture(model, TEXTS, layer=1)
    chosen = [[4, 0], [-1], [0], [], [3, -3]]
    got = capture(model, TEXTS, layer=1, positions=chosen)
    for rows, whole, positions in zip(got, everything, chosen, strict=True):
        assert rows.shape == (len(positions), 32)
        torch.testing.assert_close(rows, whole[positions], atol=1e-6, rtol=1e-6)


def test_negative_positions_count_from_the_end_of_their_own_text(model):
    ends = capture(model, TEXTS, layer=1, positions=[[-1, -len(text)] for text in TEXTS])
    for text, got in zip(TEXTS, ends, strict=True):
        expected = hidden(model, text, 1)[[-1, 0]]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_padding_after_a_text_beyond_any_window_does_not_reach_it(model):
    texts = [[RNG.randrange(3, 199) for _ in range(n)] for n in (40, 3, 25, 11)]
    for text, got in zip(texts, capture(model, texts, layer=1), strict=True):
        torch.testing.assert_close(got, hidden(model, text, 1), atol=1e-5, rtol=1e-5)


def test_blocks_above_the_layer_do_not_run(model):
    ran: list[int] = []
    handles = [
        block.register_forward_pre_hook(lambda _m, _i, index=index: ran.append(index))
        for index, block in enumerate(arch.blocks(model))
    ]
    try:
        capture(model, TEXTS[:1], layer=1)
    finally:
        for handle in handles:
            handle.remove()
    assert ran == [0, 1]


def test_no_hook_stays_behind(model):
    block = arch.blocks(model)[1]
    before = dict(block._forward_hooks)
    capture(model, TEXTS[:1], layer=1)
    assert block._forward_hooks == before
    with pytest.raises(IndexError):
        capture(model, [[10**6]], layer=1)
    assert block._forward_hooks == before


def test_blocks_that_return_tuples_are_read_too(llama):
    expected = capture(llama, TEXTS, layer=0)
    handle = arch.blocks(llama)[0].register_forward_hook(lambda _m, _i, out: (out, None))
    try:
        got = capture(llama, TEXTS, layer=0)
    finally:
        handle.remove()
    torch.testing.assert_close(got, expected, atol=0, rtol=0)


def test_a_peft_model_is_read_with_its_adapter(llama):
    import copy

    from peft import LoraConfig, get_peft_model

    plain = copy.deepcopy(llama)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    tuned = get_peft_model(copy.deepcopy(llama), config).eval()
    got = capture(tuned, TEXTS[:2], layer=1)
    torch.testing.assert_close(got[1], hidden(tuned, TEXTS[1], 1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(got[1], capture(plain, TEXTS[:2], layer=1)[1], atol=1e-3)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_does_not_exist_is_refused(llama, layer):
    with pytest.raises(ValueError, match=f"layer {layer} does not exist.* 0 to 2"):
        capture(llama, TEXTS, layer=layer)


@pytest.mark.parametrize("position", [5, -6])
def test_a_position_that_does_not_exist_is_refused(llama, position):
    with pytest.raises(ValueError, match=f"position {position} does not exist in text 0"):
        capture(llama, TEXTS[:1], layer=0, positions=[[position]])


def test_positions_must_be_given_for_every_text(llama):
    with pytest.raises(ValueError, match="5 texts need as many lists of positions, got 1"):
        capture(llama, TEXTS, layer=0, positions=[[0]])


def test_a_text_beyond_the_context_is_refused(llama):
    with pytest.raises(PromptTooLongError, match="prompt 0 has 97 tokens"):
        capture(llama, [[5] * 97], layer=0)


def test_no_texts_give_no_activations(llama):
    assert capture(llama, [], layer=0) == []


def test_an_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="decoder blocks of Linear"):
        arch.blocks(torch.nn.Linear(2, 2))
