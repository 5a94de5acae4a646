"""Tiny random models of four architectures."""

import pytest
import torch
from torch import nn

VOCAB = 199
_COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}


def _build(name: str) -> nn.Module:
    import transformers as hf

    torch.manual_seed(7)
    if name == "llama":
        config = hf.LlamaConfig(**_COMMON, num_key_value_heads=2)
        return hf.LlamaForCausalLM(config).eval()
    if name == "qwen2":
        config = hf.Qwen2Config(**_COMMON, num_key_value_heads=2)
        return hf.Qwen2ForCausalLM(config).eval()
    if name == "gemma3":
        config = hf.Gemma3TextConfig(
            **_COMMON,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=8,
            query_pre_attn_scalar=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
        return hf.Gemma3ForCausalLM(config).eval()
    if name == "gpt_neox":
        return hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**_COMMON)).eval()
    config = hf.GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=3, n_head=4, n_positions=96, initializer_range=0.3
    )
    return hf.GPT2LMHeadModel(config).eval()


_BUILT: dict[str, nn.Module] = {}


@pytest.fixture(params=["llama", "qwen2", "gemma3", "gpt_neox", "gpt2"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    """Each architecture in turn."""
    return _BUILT.setdefault(request.param, _build(request.param))


@pytest.fixture
def llama() -> nn.Module:
    """One architecture, for what does not depend on it."""
    return _BUILT.setdefault("llama", _build("llama"))
