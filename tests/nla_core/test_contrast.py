"""Target and baseline on the same text, against plain Transformers."""

from typing import Any

import pytest
import torch

from nla_core.contrast import adapters_off, contrast

IDS = [[1, 5, 9, 7], [3, 2]]
LAYER = 1


def new_model(width: int = 16, seed: int = 0) -> Any:
    import transformers

    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=20,
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def adapted() -> Any:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        new_model(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    return model.eval()


def plain(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return states[LAYER + 1][0]


def test_both_models_are_read_at_the_same_positions() -> None:
    target, baseline = new_model(seed=1), new_model(seed=2)
    found = contrast(target, baseline, IDS, layer=LAYER, positions=[[-1, 0], [1]])
    for ids, positions, one in zip(IDS, ([-1, 0], [1]), found, strict=True):
        assert torch.allclose(one.target, plain(target, ids)[positions], atol=1e-5)
        assert torch.allclose(one.baseline, plain(baseline, ids)[positions], atol=1e-5)
        assert torch.equal(one.difference, one.target - one.baseline)


def test_without_a_baseline_the_adapters_are_turned_off_and_on_again(adapted: Any) -> None:
    clean = new_model()
    with_adapters = plain(adapted, IDS[0])
    (first, _) = contrast(adapted, None, IDS, layer=LAYER)
    assert torch.allclose(first.target, with_adapters, atol=1e-5)
    assert torch.allclose(first.baseline, plain(clean, IDS[0]), atol=1e-5)
    assert float(first.difference.norm()) > 0.1
    assert torch.equal(plain(adapted, IDS[0]), with_adapters)


def test_amplified_at_one_is_the_target_and_at_nought_the_baseline(adapted: Any) -> None:
    (first, _) = contrast(adapted, None, IDS, layer=LAYER)
    assert torch.allclose(first.amplified(1.0), first.target, atol=1e-5)
    assert torch.equal(first.amplified(0.0), first.baseline)
    assert torch.allclose(first.amplified(3.0) - first.baseline, 3 * first.difference, atol=1e-4)


def test_a_model_without_adapters_needs_a_baseline() -> None:
    with pytest.raises(ValueError, match="no adapters to turn off"):
        contrast(new_model(), None, IDS, layer=LAYER)


def test_a_baseline_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="widths 16 and 8"):
        contrast(new_model(), new_model(width=8), IDS, layer=LAYER)


def test_adapters_come_back_after_an_error(adapted: Any) -> None:
    before = plain(adapted, IDS[0])
    with pytest.raises(RuntimeError, match="inside"), adapters_off(adapted):
        raise RuntimeError("inside")
    assert torch.equal(plain(adapted, IDS[0]), before)
