"""The reconstructor against a plain-Transformers reference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from nla_core.decoding import PromptTooLongError
from nla_core.reconstructor import Reconstructor, last_real_token, new_reconstructor
from nla_core.sidecar import SidecarError

TEXTS = ["the cat sat on the mat", "a dog", "it was {about} number 7. {x}", "", "the dog sat then"]
LAYER = 1


def reference(pair: Any, texts: list[str], head: torch.Tensor) -> torch.Tensor:
    """Run the whole base model, one text at a time, and read `hidden_states[K + 1]`."""
    import transformers

    template = yaml.safe_load((pair.ar / "nla_meta.yaml").read_text())["prompt_templates"]["ar"]
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(pair.ar)
    model = transformers.AutoModelForCausalLM.from_pretrained(pair.base, dtype=torch.float32)
    before, after = template.split("{explanation}")
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(before + text + after)["input_ids"]])
        with torch.no_grad():
            states = model.eval()(input_ids=ids, output_hidden_states=True).hidden_states
        rows.append(head @ states[LAYER + 1][0, -1])
    return torch.stack(rows)


def test_reconstructed_vectors_equal_the_reference(pair: Any) -> None:
    found = Reconstructor.load(pair.ar).reconstruct(TEXTS, batch_size=2)
    expected = reference(pair, TEXTS, pair.value_head)
    assert found.dtype == torch.float32
    scale = expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


def test_a_fresh_reconstructor_gives_the_layer_itself(pair: Any, tmp_path: Path) -> None:
    released = yaml.safe_load((pair.ar / "nla_meta.yaml").read_text())
    fresh = new_reconstructor(
        pair.base,
        LAYER,
        av_template=released["prompt_templates"]["av"],
        ar_template=released["prompt_templates"]["ar"],
        marker=released["tokens"]["injection_char"],
    )
    expected = reference(pair, TEXTS, torch.eye(32))
    scale = expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(
        fresh.reconstruct(TEXTS) / scale, expected / scale, rtol=0, atol=1e-5
    )

    fresh.save(tmp_path)
    written = yaml.safe_load((tmp_path / "nla_meta.yaml").read_text())
    assert written["tokens"] == released["tokens"]
    assert written["critic"] == {"extraction_layer_index": LAYER}
    assert set(load_file(tmp_path / "model.safetensors")) == set(
        load_file(pair.ar / "model.safetensors")
    )
    head = load_file(tmp_path / "value_head.safetensors")
    assert list(head) == ["weight"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["num_hidden_layers"] == LAYER + 1
    assert config["architectures"][0].endswith("ForCausalLM")
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["padding_side"] == "right"
    loaded = Reconstructor.load(tmp_path)
    assert loaded.sidecar == fresh.sidecar
    assert torch.equal(loaded.reconstruct(TEXTS), fresh.reconstruct(TEXTS))


def test_what_we_save_loads_as_the_reference_client_loads_it(llama: Any, tmp_path: Path) -> None:
    import transformers

    Reconstructor.load(llama.ar).save(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    model.model.norm = torch.nn.Identity()
    model.lm_head = torch.nn.Identity()
    ids = torch.tensor([Reconstructor.load(tmp_path).encode("a cat")])
    head = load_file(tmp_path / "value_head.safetensors")["weight"]
    with torch.no_grad():
        expected = head @ model(input_ids=ids, use_cache=False).logits[0, -1]
    [found] = Reconstructor.load(tmp_path).reconstruct(["a cat"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_whole_checkpoint_is_cut_as_it_is_loaded(llama: Any, edited: Callable[..., Path]) -> None:
    folder = edited(llama.ar)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((llama.base / name).read_bytes())
    found = Reconstructor.load(folder)
    assert len(found.network.decoder.layers) == LAYER + 1
    assert torch.equal(found.reconstruct(TEXTS), Reconstructor.load(llama.ar).reconstruct(TEXTS))


def test_the_layer_comes_from_the_config_when_the_sidecar_is_silent(
    llama: Any, edited: Callable[..., Path]
) -> None:
    def silence(meta: Any) -> None:
        del meta["extraction_layer_index"], meta["critic"]

    assert Reconstructor.load(edited(llama.ar, silence)).layer == LAYER


@pytest.mark.parametrize(
    ("mask", "last"),
    [([1, 1, 0, 0], 1), ([0, 0, 1, 1], 3), ([1, 1, 1, 1], 3), ([0, 1, 1, 0], 2)],
)
def test_the_last_real_token_is_found_on_either_padding(mask: list[int], last: int) -> None:
    assert last_real_token(torch.tensor([mask])).tolist() == [last]


def test_left_padding_gives_the_same_vectors_as_right_padding(llama: Any) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    row = reconstructor.encode("a cat")
    ids = torch.tensor([[0, 0, 0, *row]])
    mask = torch.tensor([[0, 0, 0, *[1] * len(row)]])
    with torch.no_grad():
        left = reconstructor.network(ids, mask)
    torch.testing.assert_close(left, reconstructor.reconstruct(["a cat"]), rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_head_and_the_blocks(llama: Any) -> None:
    reconstructor = Reconstructor.load(llama.ar)
    network = reconstructor.network.train()
    network(*reconstructor.collate([reconstructor.encode("a cat")])).square().mean().backward()
    assert network.value_head.weight.grad.any()
    assert network.decoder.layers[0].mlp.up_proj.weight.grad.any()
    assert network.training
    reconstructor.reconstruct(["a"])
    assert network.training


def test_a_text_beyond_the_context_is_refused(llama: Any) -> None:
    with pytest.raises(PromptTooLongError, match="explanation 1 makes"):
        Reconstructor.load(llama.ar).reconstruct(["a", "cat " * 200])


def test_no_texts_give_no_vectors(llama: Any) -> None:
    assert Reconstructor.load(llama.ar).reconstruct([]).shape == (0, 32)


def test_a_missing_value_head_is_refused(llama: Any, edited: Callable[..., Path]) -> None:
    folder = edited(llama.ar)
    (folder / "value_head.safetensors").unlink()
    with pytest.raises(SidecarError, match="needs its value head"):
        Reconstructor.load(folder)


def _half_nan() -> dict[str, torch.Tensor]:
    weight = torch.eye(32)
    weight[16:] = float("nan")
    return {"weight": weight}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (_half_nan(), "16 of 32 rows hold values that are not finite"),
        ({"weight": torch.eye(31)}, r"shape is \[31, 31\], the model needs \[32, 32\]"),
        ({"bias": torch.eye(32)}, "one tensor named weight, holds bias"),
    ],
)
def test_a_broken_value_head_is_refused(
    llama: Any, edited: Callable[..., Path], tensors: dict[str, torch.Tensor], message: str
) -> None:
    folder = edited(llama.ar)
    save_file(tensors, folder / "value_head.safetensors")
    with pytest.raises(SidecarError, match=message):
        Reconstructor.load(folder)


def test_a_value_head_that_is_no_safetensors_file_is_refused(
    llama: Any, edited: Callable[..., Path]
) -> None:
    folder = edited(llama.ar)
    (folder / "value_head.safetensors").write_bytes(b"nothing")
    with pytest.raises(SidecarError, match="cannot be read"):
        Reconstructor.load(folder)


def test_weights_that_lack_a_block_are_refused(llama: Any, edited: Callable[..., Path]) -> None:
    folder = edited(llama.ar)
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "layers.1." not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SidecarError, match="the weights lack"):
        Reconstructor.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(d_model=64), r"shape is \[32, 32\], the model needs \[64, 64\]"),
        (lambda m: m.update(role="av", extraction={"injection_scale": 1}), "of a verbalizer"),
        (lambda m: m["tokens"].update(critic_suffix_ids=[1, 2]), "critic_suffix_ids are"),
        (lambda m: m.update(critic={}, extraction_layer_index=2), "needs 3 blocks"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused_with_what_differs(
    llama: Any, edited: Callable[..., Path], change: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(SidecarError, match=message):
        Reconstructor.load(edited(llama.ar, change))


def _without_post_processor(folder: Path) -> Path:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize(
    ("family", "who"),
    [("gemma3", "every text that a Gemma model knows"), ("llama", "its chat template")],
)
def test_a_tokenizer_that_leaves_out_the_beginning_is_refused(
    family: str, who: str, build_pair: Callable[[str], Any], edited: Callable[..., Path]
) -> None:
    folder = _without_post_processor(edited(build_pair(family).ar))
    with pytest.raises(SidecarError, match=rf"{who} begins with the beginning-of-sequence id \d"):
        Reconstructor.load(folder)


def test_a_template_that_cannot_be_rendered_demands_nothing(
    llama: Any, edited: Callable[..., Path]
) -> None:
    folder = _without_post_processor(edited(llama.ar))
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only with a system') }}")
    assert Reconstructor.load(folder).layer == LAYER


def test_a_tokenizer_that_knows_no_beginning_needs_none(
    build_pair: Callable[[str], Any], edited: Callable[..., Path]
) -> None:
    folder = _without_post_processor(edited(build_pair("qwen2").ar))
    assert torch.isfinite(Reconstructor.load(folder).reconstruct(["a cat"])).all()
    # Qwen's template begins with another token than the one that may be named so.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    named = settings | {"bos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    assert Reconstructor.load(folder).tokenizer.bos_token_id is not None


def test_a_multimodal_wrapper_gives_its_text_decoder(
    build_pair: Callable[[str], Any], multimodal: Path, tmp_path: Path
) -> None:
    pair = build_pair("gemma3")
    released = yaml.safe_load((pair.ar / "nla_meta.yaml").read_text())
    arguments = {
        "av_template": released["prompt_templates"]["av"],
        "ar_template": released["prompt_templates"]["ar"],
        "marker": released["tokens"]["injection_char"],
    }
    cut = new_reconstructor(multimodal, LAYER, **arguments)
    same = new_reconstructor(pair.base, LAYER, **arguments)
    assert torch.equal(cut.reconstruct(TEXTS), same.reconstruct(TEXTS))
    cut.save(tmp_path / "ar")
    assert json.loads((tmp_path / "ar/config.json").read_text())["model_type"] == "gemma3_text"
    again = Reconstructor.load(tmp_path / "ar")
    assert torch.equal(again.reconstruct(TEXTS), same.reconstruct(TEXTS))


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2"])
def test_a_base_of_another_family_round_trips(llama: Any, tmp_path: Path, name: str) -> None:
    import transformers as hf

    tokenizer = hf.PreTrainedTokenizerFast.from_pretrained(llama.base)
    size = {"vocab_size": len(tokenizer), "initializer_range": 0.3}
    torch.manual_seed(2)
    if name == "gpt2":
        config = hf.GPT2Config(**size, n_embd=32, n_layer=3, n_head=4, n_positions=96)
        model = hf.GPT2LMHeadModel(config).eval()
    else:
        config = hf.GPTNeoXConfig(
            **size, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=96,
        )  # fmt: skip
        model = hf.GPTNeoXForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    released = yaml.safe_load((llama.ar / "nla_meta.yaml").read_text())
    fresh = new_reconstructor(
        tmp_path / "base",
        LAYER,
        av_template=released["prompt_templates"]["av"],
        ar_template=released["prompt_templates"]["ar"],
    )
    ids = torch.tensor([fresh.encode("a cat")])
    with torch.no_grad():
        expected = model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0, -1]
    [found] = fresh.reconstruct(["a cat"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    fresh.save(tmp_path / "ar")
    again = Reconstructor.load(tmp_path / "ar")
    assert torch.equal(again.reconstruct(TEXTS[:2]), fresh.reconstruct(TEXTS[:2]))
