"""Activation oracles: their prompt, their answers beside a plain loop, their files, their nulls."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from nla_core.oracle import (
    MAX_SEGMENT,
    ActivationOracle,
    OracleError,
    OracleRecord,
    load_oracle,
    read_oracle_record,
)
from nla_core.oracle_nulls import RandomVectorOracle, TextOnlyOracle
from nla_core.oracle_record import write_oracle_record

WIDTH = 32
PLAIN = OracleRecord(prefix="text: ", placeholder=".", suffix=" ", layers=(1,))
"""A prompt that every tiny tokenizer of the tests has words for."""
QUESTION = "the cat sat on"


def vectors(n: int, seed: int = 0) -> torch.Tensor:
    return 5 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def write_adapter(base: Path, folder: Path) -> Path:
    """Put a random LoRA on a base, and write it as PEFT does."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(5)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    tuned.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def made(build_pair: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The base and the adapter of an oracle of each family, written once."""
    found: dict[str, tuple[Path, Path]] = {}

    def build(name: str) -> tuple[Path, Path]:
        if name not in found:
            base = build_pair(name).base
            found[name] = base, write_adapter(base, tmp_path_factory.mktemp(f"oracle-{name}"))
            write_oracle_record(PLAIN, found[name][1])
        return found[name]

    return build


@pytest.fixture
def oracle(made: Any) -> ActivationOracle:
    return load_oracle(*made("llama"), max_tokens=8)


def by_hand(base: Path, adapter: Path, segment: torch.Tensor, question: str, n: int) -> str:
    """Ask with plain libraries: a hook on block 1, and the whole text again for every token."""
    from peft import PeftModel

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    tuned = PeftModel.from_pretrained(model, adapter).eval()
    message = "text: " + "." * len(segment) + " " + question
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}], add_generation_prompt=True, return_dict=False
    )
    mark = tokenizer.convert_tokens_to_ids(".")
    first = max(i for i, one in enumerate(ids) if one == mark) + 1 - len(segment)
    assert ids[first : first + len(segment)] == [ids[first]] * len(segment)

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        states = (output[0] if isinstance(output, tuple) else output).clone()
        here = states[0, first : first + len(segment)]
        unit = segment / segment.norm(dim=-1, keepdim=True)
        states[0, first : first + len(segment)] = here + here.norm(dim=-1, keepdim=True) * unit
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = model.model.layers[1].register_forward_hook(hook)
    start = len(ids)
    for _ in range(n):
        with torch.no_grad():
            token = int(tuned(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in model.generation_config.eos_token_id:
            break
        ids.append(token)
    handle.remove()
    return str(tokenizer.decode(ids[start:], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_greedy_answers_equal_a_plain_loop_with_a_hook(made: Any, family: str) -> None:
    base, adapter = made(family)
    segments = [vectors(1, 1), vectors(3, 2), vectors(10, 3)]
    asked = load_oracle(base, adapter, max_tokens=8)
    said = asked.answer(segments, QUESTION, layer=1, temperature=0)
    expected = [by_hand(base, adapter, one, QUESTION, 8) for one in segments]
    assert [one.text for one in said] == expected
    assert len(set(expected)) > 1, "it is the activations that are asked about"


def test_an_answer_does_not_depend_on_what_else_is_asked(oracle: ActivationOracle) -> None:
    segments = [vectors(n, n) for n in (1, 4, 2, 9)]
    together = oracle.answer(segments, QUESTION, layer=1, samples=3, seeds=[7, 8, 9, 10])
    assert [(one.segment, one.sample) for one in together] == [
        (segment, sample) for segment in range(4) for sample in range(3)
    ]
    for number, segment in enumerate(segments):
        alone = oracle.answer([segment], QUESTION, layer=1, samples=2, seeds=[7 + number])
        mine = [one for one in together if one.segment == number][:2]
        assert [one.text for one in alone] == [one.text for one in mine]
    assert len({one.text for one in together[:3]}) > 1, "samples have seeds of their own"


def test_a_session_with_the_adapter_beside_others_answers_as_a_merged_copy(made: Any) -> None:
    from peft import PeftModel

    base, adapter = made("llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    tuned = PeftModel.from_pretrained(model, adapter).eval()
    beside = ActivationOracle(tokenizer, lambda: nullcontext(tuned), PLAIN, max_tokens=8)
    merged = load_oracle(base, adapter, max_tokens=8)
    asked = [vectors(2, 1)], QUESTION
    assert beside.answer(*asked, layer=1, temperature=0) == merged.answer(
        *asked, layer=1, temperature=0
    )


def test_the_prompt_is_the_releases(oracle: ActivationOracle, made: Any) -> None:
    record = OracleRecord()
    assert record.prefix.replace("{layer}", "40") + 3 * record.placeholder + record.suffix == (
        "Layer: 40\n ? ? ? \n"
    )
    assert (record.injection_layer, record.coefficient) == (1, 1.0)
    prompt = oracle.prompt(QUESTION, layer=1, n=3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made("llama")[0])
    spelled = tokenizer.convert_ids_to_tokens(list(prompt.ids))
    assert [spelled[i] for i in prompt.positions] == ["."] * 3
    assert "".join(spelled[prompt.positions[-1] + 1 :]).startswith(" the cat sat on")


def test_layers_are_those_given_or_recorded_or_quarters_of_the_depth(made: Any) -> None:
    base, adapter = made("llama")
    assert load_oracle(base, adapter).layers == (1,)
    assert load_oracle(base, adapter, layers=(2, 0, 2)).layers == (0, 2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    bare = PLAIN.model_copy(update={"layers": None})
    assert ActivationOracle(tokenizer, lambda: nullcontext(model), bare).layers == (0, 1, 2)
    with pytest.raises(OracleError, match="layer 3 does not exist; the base has 0 to 2"):
        load_oracle(base, adapter, layers=(3,))


def test_a_placeholder_of_several_tokens_is_refused(made: Any) -> None:
    base, _ = made("llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    record = PLAIN.model_copy(update={"placeholder": "cat sat"})
    with pytest.raises(OracleError, match="the placeholder 'cat sat' is 3 tokens here"):
        ActivationOracle(tokenizer, lambda: nullcontext(model), record)


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        (torch.zeros(0, WIDTH), r"are \[0, 32\]"),
        (torch.zeros(2, 7), r"are \[2, 7\]"),
        (torch.zeros(WIDTH), r"are \[32\]"),
        (torch.full((1, WIDTH), torch.inf), "an activation is not finite"),
        (torch.zeros(MAX_SEGMENT + 1, WIDTH), f"at most {MAX_SEGMENT} activations"),
        (vectors(150), "leaves no room"),
    ],
)
def test_what_cannot_be_asked_about_is_refused(
    oracle: ActivationOracle, segment: torch.Tensor, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        oracle.answer([vectors(1), segment], QUESTION, layer=1)


def test_as_many_seeds_as_segments_are_needed(oracle: ActivationOracle) -> None:
    with pytest.raises(ValueError, match="1 segments need as many seeds, got 2"):
        oracle.answer([vectors(1)], QUESTION, layer=1, seeds=[1, 2])
    assert oracle.answer([], QUESTION, layer=1) == []


def test_random_vectors_are_asked_about_in_the_place_of_the_activations(
    oracle: ActivationOracle,
) -> None:
    null = RandomVectorOracle(oracle)
    assert (null.layers, null.max_tokens) == (oracle.layers, oracle.max_tokens)
    how: dict[str, Any] = {"layer": 1, "samples": 1, "temperature": 0, "top_p": 1.0}
    rest: dict[str, Any] = {"seeds": [4, 5], "contexts": ["", ""]}
    one = null.answer([vectors(2, 1), vectors(1, 2)], QUESTION, **how, **rest)
    other = null.answer([2 * vectors(2, 8), vectors(1, 9)], QUESTION, **how, **rest)
    assert one == other, "what was there plays no part but for its shape"
    assert one != oracle.answer([vectors(2, 1), vectors(1, 2)], QUESTION, **how, seeds=[4, 5])


def test_the_text_is_shown_in_the_place_of_answers(oracle: ActivationOracle) -> None:
    null = TextOnlyOracle(oracle, words=2)
    said = null.answer(
        [vectors(1), vectors(2)], QUESTION, layer=1, samples=2, temperature=1.0, top_p=1.0,
        seeds=[1, 2], contexts=["a cat sat", "dog"],
    )  # fmt: skip
    assert [one.text for one in said] == ["cat sat", "cat sat", "dog", "dog"]
    assert null.max_tokens == 0 == sum(one.n_tokens for one in said)
    assert null.layers == oracle.layers


def test_an_adapter_of_another_base_is_refused_in_one_line(made: Any, tmp_path: Path) -> None:
    _, adapter = made("llama")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(made("llama")[0]).save_pretrained(tmp_path)
    with pytest.raises(OracleError, match="cannot be put on") as caught:
        load_oracle(tmp_path, adapter)
    assert "\n" not in str(caught.value)


def test_a_record_comes_back_as_it_was_written(made: Any, tmp_path: Path) -> None:
    _, adapter = made("llama")
    record = read_oracle_record(adapter)
    assert record.model_copy(update={"weights_sha256": ""}) == PLAIN
    assert len(record.weights_sha256) == 64
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    assert read_oracle_record(tmp_path) == OracleRecord(), "a release has no record"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "oracle.json: Invalid JSON"),
        ('{"layer": 3}', "layer: Extra inputs are not permitted"),
        ('{"layers": []}', "layers: Tuple should have at least 1 item"),
        ('{"layers": [-1]}', "layers.0: Input should be greater than or equal to 0"),
        ('{"coefficient": 0}', "coefficient: Input should be greater than 0"),
        ('{"coefficient": "1"}', "coefficient: Input should be a valid number"),
        ('{"placeholder": ""}', "placeholder: String should have at least 1 character"),
        ('{"prefix": "why? "}', "the prefix holds the placeholder"),
        ('{"held_out_accuracy": {"motive": 1.5}}', "held_out_accuracy.motive: "),
        (json.dumps({"weights_sha256": "0" * 64}), "is another file than the one oracle.json"),
    ],
)
def test_a_faulty_record_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    (tmp_path / "oracle.json").write_text(content)
    with pytest.raises(OracleError) as caught:
        read_oracle_record(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, name: str) -> None:
    for each in {"adapter_config.json", "adapter_model.safetensors"} - {name}:
        (tmp_path / each).write_text("{}")
    with pytest.raises(OracleError, match=f"{name}: there is no such file"):
        read_oracle_record(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_content_of_a_record_breaks_the_reader(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / each).write_bytes(b"{}")
        (folder / "oracle.json").write_bytes(content)
        said = ""
        try:
            read_oracle_record(folder)
        except OracleError as error:
            said = str(error)
        assert "\n" not in said
