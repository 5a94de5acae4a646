"""The logit lens on several architectures."""

import pytest
import torch

from nla_core import arch
from nla_core.activations import capture
from nla_core.lens import unembed
from nla_core.logprobs import token_logprobs

TEXTS = [[5, 9, 30, 7], [11, 12]]


def test_the_last_blocks_output_gives_the_models_own_prediction(model):
    last = len(arch.blocks(model)) - 1
    streams = capture(model, TEXTS, layer=last)
    for stream, said in zip(streams, token_logprobs(model, TEXTS), strict=True):
        assert torch.allclose(unembed(model, stream), said, atol=1e-4)


def test_an_adapted_model_is_read_through_its_wrapper(llama):
    import copy

    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(copy.deepcopy(llama), LoraConfig(r=2, target_modules=["q_proj"]))
    (stream,) = capture(tuned, TEXTS[:1], layer=2)
    assert torch.allclose(unembed(tuned, stream), unembed(llama, stream))


def test_capped_logits_are_capped(llama):
    import copy

    capped = copy.deepcopy(llama)
    capped.config.final_logit_softcapping = 0.5
    vectors = torch.randn(3, arch.d_model(llama), generator=torch.Generator().manual_seed(1)) * 9
    logits = llama.lm_head(llama.model.norm(vectors))
    expected = (torch.tanh(logits / 0.5) * 0.5).log_softmax(-1)
    assert torch.allclose(unembed(capped, vectors), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 31), (32,), (1, 2, 32)])
def test_vectors_of_another_shape_are_refused(llama, shape):
    with pytest.raises(ValueError, match=r"vectors must be \[n, 32\]"):
        unembed(llama, torch.zeros(shape))
