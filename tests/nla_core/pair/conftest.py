"""Pairs of each architecture; `build_pair` writes them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

D_MODEL = 32


@pytest.fixture(params=["qwen2", "llama", "gemma3", "sandbox"])
def pair(request: pytest.FixtureRequest, build_pair: Callable[[str], Any]) -> Any:
    """Each architecture in turn; read-only."""
    return build_pair(request.param)


@pytest.fixture
def llama(build_pair: Callable[[str], Any]) -> Any:
    """One architecture, for what does not depend on it; read-only."""
    return build_pair("llama")


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """Copy a checkpoint and change its sidecar: `edited(folder, lambda meta: ...)`."""

    def edit(folder: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        if change is not None:
            meta = yaml.safe_load((copy / "nla_meta.yaml").read_text())
            change(meta)
            (copy / "nla_meta.yaml").write_text(yaml.safe_dump(meta, sort_keys=False))
        return copy

    return edit


@pytest.fixture
def vectors() -> torch.Tensor:
    return 40 * torch.randn(5, D_MODEL, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def multimodal(build_pair: Callable[[str], Any], tmp_path: Path) -> Path:
    """The Gemma base inside a small random multimodal wrapper, as its family publishes it."""
    import transformers as hf

    pair = build_pair("gemma3")
    text = hf.AutoConfig.from_pretrained(pair.base)
    vision = hf.SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    config = hf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1)
    wrapper = hf.Gemma3ForConditionalGeneration(config).eval()
    plain = hf.AutoModelForCausalLM.from_pretrained(pair.base, dtype=torch.float32)
    wrapper.model.language_model.load_state_dict(plain.model.state_dict())
    wrapper.generation_config = plain.generation_config
    folder = tmp_path / "wrapper"
    wrapper.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).write_bytes((pair.base / file).read_bytes())
    return folder
