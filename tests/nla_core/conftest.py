"""Tiny random models of several architectures, and checkpoints of them in the released format.

The checkpoints are written here by hand with plain libraries.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

D_MODEL, LAYER, BLOCKS = 32, 1, 3
AV_TEMPLATE = (
    "Look at this vector.\n\n<concept>{injection_char}</concept>\n\n"
    "Say what it holds, inside <explanation> tags."
)
AR_TEMPLATE = "Summary of the following text: <text>{explanation}</text> <summary>"
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    "and",
    "then",
    "it",
    "was",
    "about",
    "number",
    "7",
    "x",
    "vector",
    "text",
    "plain",
    "words",
    "sentence",
    "bracket",
    "quoted",
    "system",
    "user",
    "model",
    "assistant",
    "You",
    "are",
    "helpful",
]

QWEN_CHAT = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA_CHAT = (
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\\n\\nYou are helpful.<|eot_id|>' }}"
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    name: str
    marker: str
    chat: str
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    scale: float
    padding_side: str


FAMILIES = {
    "qwen2": Family("qwen2", "㈎", QWEN_CHAT, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), None, "<|im_end|>", 150.0, "right"),
    "llama": Family("llama", "㎡", LLAMA_CHAT, ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|begin_of_text|>", "<|eot_id|>", 30.0, "left"),
    "gemma3": Family("gemma3", "㈜", GEMMA_CHAT, ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", 80000.0, "left"),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Folders of one pair and of the model it came from."""

    name: str
    base: Path
    av: Path
    ar: Path
    scale: float
    multiplier: float
    value_head: torch.Tensor


def tokenizer_of(family: Family) -> Any:
    import re

    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    pattern = r"</|\w+|\s|[^\w\s]"
    text = AV_TEMPLATE + AR_TEMPLATE + " ".join(WORDS) + " \n.,:()\"'{}"
    plain = sorted(set(re.findall(pattern, text)))
    names = [*family.specials, "<unk>", *plain, family.marker]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(names))}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(t, special=True) for t in (*family.specials, "<unk>")])
    if family.bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, vocab[family.bos])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.specials[0],
        unk_token="<unk>",
        chat_template=family.chat,
        padding_side=family.padding_side,
        clean_up_tokenization_spaces=False,
    )


def model_of(name: str, tokenizer: Any) -> Any:
    import transformers as hf

    torch.manual_seed(11)
    common = {
        "vocab_size": len(tokenizer) + 5,  # the table may have more rows than the tokenizer
        "hidden_size": D_MODEL,
        "intermediate_size": 48,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 160,
        "initializer_range": 0.3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if name == "qwen2":
        return hf.Qwen2ForCausalLM(hf.Qwen2Config(**common)).eval()
    if name == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**common)).eval()
    config = hf.Gemma3TextConfig(
        **common,
        head_dim=8,
        sliding_window=16,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    model = hf.Gemma3ForCausalLM(config).eval()
    # The tied head would otherwise only repeat the last token.
    model.get_input_embeddings().weight.data.mul_(0.05)
    return model


def ids_around(tokenizer: Any, marker: str) -> tuple[int, int, int]:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": AV_TEMPLATE.format(injection_char=marker)}],
        tokenize=False,
        add_generation_prompt=True,
    )
    ids = tokenizer.encode(rendered, add_special_tokens=False)
    at = ids.index(tokenizer.encode(marker, add_special_tokens=False)[0])
    return ids[at - 1], ids[at], ids[at + 1]


def sidecar_of(tokenizer: Any, marker: str, *, role: str, scale: float | None) -> dict[str, Any]:
    left, token, right = ids_around(tokenizer, marker)
    suffix = tokenizer.encode("</text> <summary>", add_special_tokens=False)[1:]
    meta: dict[str, Any] = {
        "kind": "nla_model",
        "schema_version": 2,
        "role": role,
        "stage": "rl" if role == "av" else "sl",
        "base_checkpoint": "some/base",
        "d_model": D_MODEL,
        "extraction": {"injection_scale": scale, "mse_scale": D_MODEL**0.5},
        "tokens": {
            "injection_char": marker,
            "injection_token_id": token,
            "injection_left_neighbor_id": left,
            "injection_right_neighbor_id": right,
            "critic_suffix_ids": suffix if role == "ar" else None,
        },
        "prompt_templates": {"av": AV_TEMPLATE, "ar": AR_TEMPLATE},
        "trained_on": ["random text"],
        "parent_checkpoints": ["some/base"],
        "created_at": "2026-05-01T00:00:00",
        "created_by": "somewhere",
        "extraction_layer_index": LAYER,
    }
    if role == "ar":
        meta["critic"] = {"extraction_layer_index": LAYER}
    return meta


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    (folder / "nla_meta.yaml").write_text(yaml.safe_dump(meta, sort_keys=False))


def write_pair(root: Path, name: str, tokenizer: Any, model: Any, marker: str, scale: float, eos: list[int]) -> Pair:  # fmt: skip
    base, av, ar = root / "base", root / "av", root / "ar"
    model.generation_config.eos_token_id = eos
    for folder in (base, av):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_meta(av, sidecar_of(tokenizer, marker, role="av", scale=scale))

    ar.mkdir()
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(ar)
    kept = {
        key: value.contiguous()
        for key, value in model.state_dict().items()
        if key == "model.embed_tokens.weight"
        or any(key.startswith(f"model.layers.{i}.") for i in range(LAYER + 1))
    }
    save_file(kept, ar / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((av / "config.json").read_text())
    config["num_hidden_layers"] = LAYER + 1
    if config.get("layer_types"):
        config["layer_types"] = config["layer_types"][: LAYER + 1]
    (ar / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(3)
    head = torch.eye(D_MODEL) + 0.1 * torch.randn(D_MODEL, D_MODEL, generator=generator)
    save_file({"weight": head}, ar / "value_head.safetensors")
    write_meta(ar, sidecar_of(tokenizer, marker, role="ar", scale=None))
    multiplier = D_MODEL**0.5 if name == "gemma3" else 1.0
    return Pair(name, base, av, ar, scale, multiplier, head)


def _sandbox(root: Path) -> Pair:
    import transformers as hf

    from scenarios.sandbox.tokenizer import MARKER, build_tokenizer
    from scenarios.sandbox.world import load_world

    tokenizer = build_tokenizer(load_world(), context=160)
    torch.manual_seed(11)
    config = hf.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=D_MODEL,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=160,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = hf.LlamaForCausalLM(config).eval()
    return write_pair(root, "sandbox", tokenizer, model, MARKER, 20.0, [tokenizer.eos_token_id])


@pytest.fixture(scope="session")
def build_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    built: dict[str, Pair] = {}

    def build(name: str) -> Pair:
        if name not in built:
            root = tmp_path_factory.mktemp(name)
            if name == "sandbox":
                built[name] = _sandbox(root)
            else:
                family = FAMILIES[name]
                tokenizer = tokenizer_of(family)
                turn_end = tokenizer.convert_tokens_to_ids(family.specials[-1])
                eos = sorted({tokenizer.eos_token_id, turn_end})
                model = model_of(name, tokenizer)
                built[name] = write_pair(root, name, tokenizer, model, family.marker, family.scale, eos)  # fmt: skip
        return built[name]

    return build


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
