"""Files that Transformers 4.57 and 5 read alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
import yaml

from nla_core.compatibility import make_portable, portable_config, portable_tokenizer
from nla_core.reconstructor import Reconstructor, new_reconstructor
from nla_core.verbalizer import Verbalizer, new_verbalizer

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ROPE: dict[str, dict[str, Any]] = {
    "qwen2": {"rope_type": "default", "rope_theta": 1e6},
    "llama": {**LLAMA3, "rope_theta": 5e5},
    "gemma3": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    },
}
FLAT: dict[str, dict[str, Any]] = {
    "qwen2": {"rope_theta": 1e6, "rope_scaling": None},
    "llama": {"rope_theta": 5e5, "rope_scaling": LLAMA3},
    "gemma3": {
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
}
IDS = torch.tensor([[9, 12, 7, 30, 8, 11, 13, 9, 10, 12, 14, 15, 9, 8, 7, 9, 12, 7, 30, 8]])
TOKENIZER_NOISE = {"backend", "is_local", "local_files_only"}


@pytest.fixture(params=sorted(ROPE))
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def base(family: str, build_pair: Callable[[str], Any], edited: Callable[..., Path]) -> Path:
    """A base whose rotary settings are none of the defaults, as version 5 writes it."""
    folder = edited(build_pair(family).base)
    write(folder / "config.json", read(folder / "config.json") | {"rope_parameters": ROPE[family]})
    return folder


@pytest.fixture
def pair(base: Path, family: str, build_pair: Callable[[str], Any]) -> tuple[Verbalizer, Reconstructor]:  # fmt: skip
    released = yaml.safe_load((build_pair(family).ar / "nla_meta.yaml").read_text())
    arguments = {
        "av_template": released["prompt_templates"]["av"],
        "ar_template": released["prompt_templates"]["ar"],
        "marker": released["tokens"]["injection_char"],
    }
    return (
        new_verbalizer(base, 1, injection_scale=3.0, **arguments),
        new_reconstructor(base, 1, **arguments),
    )


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def test_rotary_settings_and_dtype_stand_under_both_names_in_what_we_save(
    family: str, pair: tuple[Verbalizer, Reconstructor], tmp_path: Path
) -> None:
    for name, part in zip(("av", "ar"), pair, strict=True):
        part.save(tmp_path / name)
        config = read(tmp_path / name / "config.json")
        assert config["rope_parameters"] == ROPE[family]
        for key in ("rope_theta", "rope_scaling", "rope_local_base_freq"):
            assert config.get(key) == FLAT[family].get(key)
        assert config["dtype"] == config["torch_dtype"] == "float32"


def test_the_tokenizer_names_a_class_of_both_versions(
    pair: tuple[Verbalizer, Reconstructor], tmp_path: Path
) -> None:
    for name, part in zip(("av", "ar"), pair, strict=True):
        part.save(tmp_path / name)
        settings = read(tmp_path / name / "tokenizer_config.json")
        assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert not TOKENIZER_NOISE & settings.keys()


def test_what_stands_under_both_names_loads_as_what_stands_under_the_newer_ones(
    family: str, pair: tuple[Verbalizer, Reconstructor], tmp_path: Path
) -> None:
    verbalizer, reconstructor = pair
    verbalizer.save(tmp_path / "av")
    reconstructor.save(tmp_path / "ar")
    again = Verbalizer.load(tmp_path / "av")
    assert again.model.config.rope_parameters == ROPE[family]
    with torch.no_grad():
        assert torch.equal(again.model(IDS).logits, verbalizer.model(IDS).logits)
    texts = ["the cat sat on the mat", "a dog"]
    found = Reconstructor.load(tmp_path / "ar")
    assert torch.equal(found.reconstruct(texts), reconstructor.reconstruct(texts))
    assert found.encode("a dog") == reconstructor.encode("a dog")


def test_a_checkpoint_as_version_4_writes_it_is_read_as_the_newer_one(
    family: str, base: Path, tmp_path: Path
) -> None:
    expected = hf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    config = read(base / "config.json")
    del config["rope_parameters"], config["dtype"]
    write(base / "config.json", config | FLAT[family] | {"torch_dtype": "float32"})
    settings = read(base / "tokenizer_config.json")
    old = {key: value for key, value in settings.items() if key not in TOKENIZER_NOISE}
    write(base / "tokenizer_config.json", old | {"tokenizer_class": "PreTrainedTokenizerFast"})

    from nla_core.checkpoint import load_causal_lm, load_tokenizer

    found = load_causal_lm(base, dtype=torch.float32, device="cpu")
    assert found.config.rope_parameters == ROPE[family]
    with torch.no_grad():
        assert torch.equal(found(IDS).logits, expected(IDS).logits)
    assert load_tokenizer(base).encode("a dog")


def test_families_with_names_of_their_own_keep_them() -> None:
    rope = {"rope_type": "default", "rope_theta": 5e4, "partial_rotary_factor": 0.5}
    config = {"model_type": "gpt_neox", "rope_parameters": rope}
    found = portable_config(config)
    assert (found["rotary_emb_base"], found["rotary_pct"]) == (5e4, 0.5)
    fields = {key: value for key, value in found.items() if key != "model_type"}
    assert hf.GPTNeoXConfig(**fields).rope_parameters == rope
    del fields["rope_parameters"], fields["rope_scaling"]
    assert hf.GPTNeoXConfig(**fields).rope_parameters == rope


def test_the_text_part_of_a_wrapper_is_rewritten_too() -> None:
    config = {"text_config": {"rope_parameters": ROPE["qwen2"], "dtype": "bfloat16"}}
    text = portable_config(config)["text_config"]
    assert (text["rope_theta"], text["torch_dtype"]) == (1e6, "bfloat16")


def test_extra_tokens_stand_where_version_4_finds_them() -> None:
    settings = {
        "extra_special_tokens": ["<one>"],
        "model_specific_special_tokens": {"image_token": "<image>"},
    }
    found = portable_tokenizer(settings)
    assert found["additional_special_tokens"] == ["<one>"]
    assert found["extra_special_tokens"] == {"image_token": "<image>"}
    assert "model_specific_special_tokens" not in found


def test_a_tokenizer_without_the_common_file_keeps_its_class(tmp_path: Path) -> None:
    write(tmp_path / "tokenizer_config.json", {"tokenizer_class": "OwnTokenizer"})
    make_portable(tmp_path)
    assert read(tmp_path / "tokenizer_config.json") == {"tokenizer_class": "OwnTokenizer"}
