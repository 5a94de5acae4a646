"""Tiny models and tokenizers on disk, with chat templates of the common forms."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.target import ChatTemplate, HFTarget

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}"
    "{{ bos_token }}{% for m in turns %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {% if loop.last and system is defined %}{{ system }}\n\n"
    "{% endif %}{{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "plain": PLAIN,
}
SPECIALS = (
    "<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>",
)  # fmt: skip


def build_tokenizer(template: str | None) -> Any:
    """One token per byte, special tokens apart, and BOS in front of raw text."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIALS, *letters])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=list(SPECIALS[3:]),
    )
    tokenizer.chat_template = template
    return tokenizer


def build_model(*, hidden: int = 32, layers: int = 2, seed: int = 0) -> Any:
    """A tiny random Llama."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(SPECIALS) + 256,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.3,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(params=list(TEMPLATES))
def family(request: pytest.FixtureRequest) -> str:
    """The name of each template in turn."""
    return str(request.param)


@pytest.fixture
def tokenizer_of() -> Callable[[str], Any]:
    """Build the tokenizer of a family."""
    return lambda name: build_tokenizer(TEMPLATES[name])


@pytest.fixture(scope="session")
def llama() -> Any:
    """A model in memory."""
    return build_model()


@pytest.fixture
def target_of(llama: Any) -> Callable[..., HFTarget]:
    """Build a target of a family."""

    @contextmanager
    def session() -> Iterator[Any]:
        yield llama

    def build(name: str, **options: Any) -> HFTarget:
        tokenizer = build_tokenizer(TEMPLATES[name])
        return HFTarget(tokenizer, ChatTemplate(tokenizer, name), session, **options)

    return build


@pytest.fixture
def forced(llama: Any) -> Iterator[Callable[[list[int]], None]]:
    """Make the model say the given ids, whatever it is asked."""
    handles = []

    def force(ids: list[int]) -> None:
        said = iter(ids)

        def hook(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
            chosen = torch.full_like(logits, -1e4)
            chosen[..., next(said)] = 1e4
            return chosen

        handles.append(llama.lm_head.register_forward_hook(hook))

    yield force
    for handle in handles:
        handle.remove()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `base`, `wide`, `deep` (models) and `one`, `two` (adapters on `base`)."""
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("models")
    shapes = {"base": {}, "wide": {"hidden": 64}, "deep": {"layers": 3}}
    for name, shape in shapes.items():
        build_model(**shape).save_pretrained(root / name)
        build_tokenizer(CHATML).save_pretrained(root / name)
    adapters = {"one": ("base", 1), "two": ("base", 2), "for_wide": ("wide", 1)}
    for name, (base, seed) in {**adapters, "for_deep": ("deep", 1)}.items():
        model = build_model(**shapes[base])
        torch.manual_seed(seed)
        config = LoraConfig(
            r=4, lora_alpha=16, target_modules=["q_proj", "o_proj", "down_proj"],
            init_lora_weights=False, task_type="CAUSAL_LM",
        )  # fmt: skip
        get_peft_model(model, config).save_pretrained(root / name)
    return root
