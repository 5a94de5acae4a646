"""The verbalizer against a plain-Transformers reference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from nla_core.sampling import Sampling
from nla_core.sidecar import SidecarError
from nla_core.verbalizer import Verbalizer, extract_explanation, new_verbalizer

GREEDY = Sampling(temperature=0, max_tokens=12)
TEMPERED = Sampling(temperature=1, max_tokens=6)


def reference(
    folder: Path, multiplier: float, vectors: torch.Tensor
) -> tuple[Any, Any, torch.Tensor]:
    """Model, tokenizer and `[n, token, d]` prompts, with nothing of ours."""
    import transformers

    meta = yaml.safe_load((folder / "nla_meta.yaml").read_text())
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    content = meta["prompt_templates"]["av"].format(injection_char=meta["tokens"]["injection_char"])
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(rendered, add_special_tokens=False)
    at = ids.index(meta["tokens"]["injection_token_id"])
    rows = model.get_input_embeddings().weight[ids].detach() * multiplier
    prompts = rows.repeat(len(vectors), 1, 1)
    scale = meta["extraction"]["injection_scale"]
    for i, vector in enumerate(vectors):
        norm = vector.pow(2).sum().sqrt().item()
        prompts[i, at] = vector * scale / max(norm, 1e-12)
    return model, tokenizer, prompts


def test_injected_embeddings_equal_the_reference(pair: Any, vectors: torch.Tensor) -> None:
    verbalizer = Verbalizer.load(pair.av)
    _, _, prompts = reference(pair.av, pair.multiplier, vectors)
    assert verbalizer.prompts(vectors).dtype == torch.float32
    torch.testing.assert_close(verbalizer.prompts(vectors), prompts, rtol=1e-5, atol=1e-5)
    row = verbalizer.prompts(vectors)[:, verbalizer.prompt.position]
    torch.testing.assert_close(row.norm(dim=-1), torch.full((5,), pair.scale), rtol=1e-5, atol=0)


def test_the_prompt_has_no_more_beginnings_than_the_chat_template_writes(pair: Any) -> None:
    verbalizer = Verbalizer.load(pair.av)
    bos = verbalizer.tokenizer.bos_token_id
    expected = 0 if pair.name == "qwen2" else 1
    assert (0 if bos is None else verbalizer.prompt.ids.count(bos)) == expected


def test_greedy_text_equals_that_of_transformers_generate(pair: Any, vectors: torch.Tensor) -> None:
    model, tokenizer, prompts = reference(pair.av, pair.multiplier, vectors)
    expected = []
    for prompt in prompts:
        out = model.generate(
            inputs_embeds=prompt[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
        )[0].tolist()
        eos = set(model.generation_config.eos_token_id)
        cut = next((i for i, token in enumerate(out) if token in eos), len(out))
        expected.append(tokenizer.decode(out[:cut], skip_special_tokens=False))
    found = Verbalizer.load(pair.av).explain(vectors, sampling=GREEDY)
    assert [e.raw_text for e in found] == expected
    assert len(set(expected)) > 1


def test_generation_config_says_where_an_explanation_ends(
    llama: Any, edited: Callable[..., Path], vectors: torch.Tensor
) -> None:
    before = Verbalizer.load(llama.av)
    texts = [
        before.explain(vectors[:1], sampling=Sampling(temperature=0, max_tokens=n))[0].raw_text
        for n in range(1, 5)
    ]
    tokens = [text[len(seen) :] for seen, text in zip(["", *texts], texts, strict=False)]
    assert tokens[3] not in tokens[:3]
    stop = before.tokenizer.convert_tokens_to_ids(tokens[3])
    folder = edited(llama.av)
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": [1, {stop}]}}')
    after = Verbalizer.load(folder)
    [cut] = after.explain(vectors[:1], sampling=GREEDY)
    assert after.stop_ids == {1, stop} != {after.tokenizer.eos_token_id}
    assert cut.finish == "stop"
    assert (cut.n_tokens, cut.raw_text) == (3, texts[2])


def test_every_sample_keeps_its_seed_whatever_it_is_drawn_with(
    llama: Any, vectors: torch.Tensor
) -> None:
    verbalizer = Verbalizer.load(llama.av)
    seeds = [11, 12, 13, 14, 15]
    many = verbalizer.explain(vectors, samples=3, sampling=TEMPERED, seeds=seeds, batch_size=4)
    assert [(e.vector, e.sample) for e in many] == [(i, s) for i in range(5) for s in range(3)]
    [alone, _] = verbalizer.explain(vectors[2:3], samples=2, sampling=TEMPERED, seeds=[13])
    assert alone.raw_text == many[6].raw_text
    assert len({e.raw_text for e in many}) > 5


def test_text_without_tags_is_marked_and_kept_raw(llama: Any, vectors: torch.Tensor) -> None:
    [explanation] = Verbalizer.load(llama.av).explain(vectors[:1], sampling=GREEDY)
    assert explanation.text is None
    assert not explanation.ok
    assert explanation.raw_text
    assert explanation.activation_norm == pytest.approx(float(vectors[0].norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<explanation> one\n\ntwo </explanation> <explanation>x</explanation>", "one\n\ntwo"),
        ("<explanation></explanation>", ""),
        ("<explanation>a <explanation>b</explanation>", "a <explanation>b"),
        ("<Explanation>a</Explanation>", None),
        ("<explanation>cut off", None),
        ("", None),
    ],
)
def test_the_first_pair_of_tags_is_the_explanation(raw: str, text: str | None) -> None:
    assert extract_explanation(raw) == text


def test_a_zero_vector_stays_zero_and_its_explanation_is_marked_as_noise(llama: Any) -> None:
    verbalizer = Verbalizer.load(llama.av)
    zero = torch.zeros(1, verbalizer.d_model)
    assert not verbalizer.prompts(zero)[0, verbalizer.prompt.position].any()
    [explanation] = verbalizer.explain(zero, sampling=GREEDY)
    assert explanation.is_noise
    assert not verbalizer.explain(zero + 1, sampling=GREEDY)[0].is_noise


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_activation_that_is_not_finite_is_refused_by_row(
    llama: Any, vectors: torch.Tensor, bad: float
) -> None:
    vectors[3, 0] = bad
    with pytest.raises(ValueError, match=r"activation 3 is not finite \(1 of 5\)"):
        Verbalizer.load(llama.av).explain(vectors)


def test_activations_of_another_width_are_refused(llama: Any) -> None:
    with pytest.raises(ValueError, match=r"must be \[n, 32\], got \[2, 31\]"):
        Verbalizer.load(llama.av).explain(torch.ones(2, 31))


def test_no_activations_give_no_explanations(llama: Any) -> None:
    assert Verbalizer.load(llama.av).explain(torch.empty(0, 32)) == []


def test_a_custom_message_takes_the_vector_where_it_says(llama: Any, vectors: torch.Tensor) -> None:
    verbalizer = Verbalizer.load(llama.av)
    table = verbalizer.prompts(vectors[:1], message="the cat <concept><INJECT></concept> sat")
    assert (table[0].norm(dim=-1) - llama.scale).abs().min() < 1e-3
    with pytest.raises(SidecarError, match="stands between ids"):
        verbalizer.prompts(vectors, message="the cat <INJECT> sat")
    with pytest.raises(SidecarError, match="2 places for a vector"):
        verbalizer.prompts(vectors, message=2 * "<concept><INJECT></concept>")
    with pytest.raises(SidecarError, match="does not hold the marker"):
        verbalizer.prompts(vectors, message="the cat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(d_model=64), "sidecar says d_model 64, the model has 32"),
        (lambda m: m["tokens"].update(injection_token_id=7), r"as \[\d+\], the sidecar says \[7\]"),
        (lambda m: m["tokens"].update(injection_left_neighbor_id=0), "stands between ids"),
        (lambda m: m["tokens"].update(injection_right_neighbor_id=0), "the sidecar says"),
        (lambda m: m["tokens"].update(injection_char="㈃"), "does not know the marker"),
        (lambda m: m.update(role="critic"), "of a reconstructor"),
        (lambda m: m["extraction"].update(injection_scale=None), "injection_scale must be"),
        (
            lambda m: m["prompt_templates"].update(av="㎡ {injection_char}"),
            "stands between|2 times",
        ),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused_with_what_differs(
    llama: Any, edited: Callable[..., Path], change: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(SidecarError, match=message):
        Verbalizer.load(edited(llama.av, change))


def test_folders_without_a_sidecar_or_a_model_are_refused(tmp_path: Path, llama: Any) -> None:
    with pytest.raises(SidecarError, match="needs its sidecar"):
        Verbalizer.load(llama.base)
    with pytest.raises(SidecarError, match="no such folder"):
        Verbalizer.load(tmp_path / "nothing")


def test_a_checkpoint_that_lacks_weights_is_refused(
    llama: Any, edited: Callable[..., Path]
) -> None:
    from safetensors.torch import load_file, save_file

    folder = edited(llama.av)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SidecarError, match=r"lack model\.layers\.1\.mlp\.up_proj"):
        Verbalizer.load(folder)


def test_a_verbalizer_in_bfloat16_still_explains(pair: Any, vectors: torch.Tensor) -> None:
    verbalizer = Verbalizer.load(pair.av, dtype=torch.bfloat16)
    assert next(verbalizer.model.parameters()).dtype == torch.bfloat16
    assert all(e.n_tokens for e in verbalizer.explain(vectors, sampling=TEMPERED))


def test_a_new_verbalizer_is_saved_in_the_format_that_it_is_loaded_from(
    pair: Any, vectors: torch.Tensor, tmp_path: Path
) -> None:
    released = yaml.safe_load((pair.av / "nla_meta.yaml").read_text())
    fresh = new_verbalizer(
        pair.base,
        1,
        injection_scale=pair.scale,
        av_template=released["prompt_templates"]["av"],
        ar_template=released["prompt_templates"]["ar"],
        marker=released["tokens"]["injection_char"],
    )
    fresh.save(tmp_path)
    written = yaml.safe_load((tmp_path / "nla_meta.yaml").read_text())
    assert written["tokens"] == released["tokens"]
    assert isinstance(written["extraction"]["injection_scale"], float)
    loaded = Verbalizer.load(tmp_path)
    assert loaded.sidecar == fresh.sidecar
    assert loaded.stop_ids == fresh.stop_ids
    same = [e.raw_text for e in loaded.explain(vectors, sampling=GREEDY)]
    assert same == [e.raw_text for e in Verbalizer.load(pair.av).explain(vectors, sampling=GREEDY)]


def test_a_verbalizer_of_a_multimodal_base_is_its_language_model_alone(
    build_pair: Callable[[str], Any], multimodal: Path, vectors: torch.Tensor, tmp_path: Path
) -> None:
    pair = build_pair("gemma3")
    released = yaml.safe_load((pair.av / "nla_meta.yaml").read_text())
    made = new_verbalizer(
        multimodal,
        1,
        injection_scale=pair.scale,
        av_template=released["prompt_templates"]["av"],
        ar_template=released["prompt_templates"]["ar"],
        marker=released["tokens"]["injection_char"],
    )
    assert not any(p.is_meta for p in [*made.model.parameters(), *made.model.buffers()])
    made.save(tmp_path / "av")
    config = json.loads((tmp_path / "av/config.json").read_text())
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert config["model_type"] == "gemma3_text"
    assert load_file(tmp_path / "av/model.safetensors").keys() == load_file(pair.av / "model.safetensors").keys()  # fmt: skip
    written, plain = (json.loads((folder / "generation_config.json").read_text())["eos_token_id"] for folder in (tmp_path / "av", pair.av))  # fmt: skip
    assert written == plain
    # The rotary tables and the tied head come along: the text-only base says the same.
    expected = Verbalizer.load(pair.av).explain(vectors, sampling=GREEDY)
    for found in (made, Verbalizer.load(tmp_path / "av")):
        said = found.explain(vectors, sampling=GREEDY)
        assert [e.raw_text for e in said] == [e.raw_text for e in expected]
