"""The activation oracle of a scenario: found, checked against the targets, offered to the tool."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auditor.errors import Mistake
from auditor.scenario import load_scenario
from auditor.scenario.schema import Model, OracleSpec
from auditor.target.oracles import adapter_of, oracle_misfit, preflight_oracle

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
  - {id: b, model: {path: base, adapter: adapter}, truth: {group: guilty, motive: money}}
baseline: {path: base}
"""
BLOCK = "oracle: {path: oracle}\n"
ROW = "tool_sets: {row: {tools: [chat, activation_oracle]}}\n"
READERS = "readers: {r: {av: org/av, ar: org/ar}}\n"
MODULE = "base_model.model.model.layers.{}.mlp.up_proj.lora_{}.weight"


def write_oracle(folder: Path, *, block: int = 1, width: int = 8, **record: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    tensors = {MODULE.format(block, "A"): torch.zeros(2, width),
               MODULE.format(block, "B"): torch.zeros(4, 2)}  # fmt: skip
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "oracle.json").write_text(json.dumps(record))


@pytest.fixture
def folder(folder: Path) -> Path:
    """The room's folder, with a base of width 8 and two layers and an oracle of it."""
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}
    (folder / "base" / "config.json").write_text(json.dumps(config))
    weights = {f"model.layers.{i}.mlp.up_proj.weight": torch.zeros(4, 8) for i in range(2)}
    save_file(weights, folder / "base" / "model.safetensors")
    write_oracle(folder / "oracle", layers=[1])
    return folder


def test_the_path_of_a_sound_oracle_is_made_absolute_and_the_rest_kept(
    write: Callable[[str], Path], folder: Path
) -> None:
    block = "oracle: {path: oracle, layers: [0, 1], max_tokens: 9, merge_adapter: true}\n"
    resolved = load_scenario(write(HEAD + block + ROW))
    assert resolved.oracle == OracleSpec(
        path=str(folder / "oracle"), layers=(0, 1), max_tokens=9, merge_adapter=True
    )
    assert resolved.scenario.oracle is not None
    assert resolved.scenario.oracle.path == "oracle", "as written"


def test_a_hub_id_is_left_alone(write: Callable[[str], Path], folder: Path) -> None:
    resolved = load_scenario(write(HEAD + "oracle: {path: org/oracle}\n" + ROW))
    assert resolved.oracle == OracleSpec(path="org/oracle")


def test_a_scenario_without_an_oracle_has_none(write: Callable[[str], Path], folder: Path) -> None:
    assert load_scenario(write(HEAD + "tool_sets: {row: {tools: [chat]}}\n")).oracle is None


def test_the_tool_without_an_oracle_is_refused(mistake: Callable[[str], Mistake]) -> None:
    assert mistake(HEAD + ROW).what == (
        "tool 'activation_oracle' needs an activation oracle, and the scenario has none; add "
        "`oracle: {path: …}`, or delete the tool"
    )


def test_the_tool_without_a_baseline_is_refused(mistake: Callable[[str], Mistake]) -> None:
    found = mistake(HEAD.replace("baseline: {path: base}\n", "") + BLOCK + ROW)
    assert "tool 'activation_oracle' needs a baseline" in found.what


def test_a_target_behind_a_provider_has_no_activations_to_ask_about(
    mistake: Callable[[str], Mistake],
) -> None:
    head = HEAD.replace("{path: base, adapter: adapter}", "{name: openai/m@http://localhost:1/v1}")
    what = mistake(head + BLOCK + ROW).what
    assert "tool 'activation_oracle' needs activations, and target 'b' or its baseline is" in what


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"width": 16}, "was made for another base than"),
        ({"block": 2}, "it changes layer 2, the base has layers 0 to 1"),
        ({"layers": [2]}, "it reads layer 2, the model has layers 0 to 1"),
    ],
)
def test_an_oracle_of_another_model_is_refused_at_its_line(
    mistake: Callable[[str], Mistake], folder: Path, shape: dict[str, object], said: str
) -> None:
    write_oracle(folder / "oracle", **shape)  # type: ignore[arg-type]
    text = HEAD + BLOCK + ROW
    found = mistake(text)
    assert found.what.startswith("does not fit target 'a' (and 1 more targets): ")
    assert said in found.what
    assert found.what.endswith("; name an oracle of that model")
    assert found.line == text.splitlines().index(BLOCK.strip()) + 1


def test_a_layer_of_the_scenario_that_the_models_lack_is_refused(
    mistake: Callable[[str], Mistake],
) -> None:
    block = "oracle: {path: oracle, layers: [0, 5]}\n"
    assert "it reads layer 5, the model has layers 0 to 1" in mistake(HEAD + block + ROW).what


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("adapter_config.json", None, "adapter_config.json: there is no such file"),
        ("adapter_model.safetensors", None, "adapter_model.safetensors: there is no such file"),
        ("adapter_model.safetensors", "x", "is not a safetensors file"),
        ("oracle.json", '{"layer": 2}', "layer: Extra inputs are not permitted"),
        ("oracle.json", "[", "oracle.json: Invalid JSON"),
    ],
)
def test_faulty_files_are_refused_and_named(
    mistake: Callable[[str], Mistake], folder: Path, name: str, content: str | None, said: str
) -> None:
    path = folder / "oracle" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert said in mistake(HEAD + BLOCK + ROW).what


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "nor a hub id"),
        ("./nowhere", "there is no folder './nowhere'"),
        ("corpus.jsonl", "is a file; name the folder that holds it"),
        ("''", "is empty"),
        ("'a\\0b'", "nor a hub id"),
    ],
)
def test_a_path_without_a_folder_is_refused(
    mistake: Callable[[str], Mistake], path: str, said: str
) -> None:
    assert said in mistake(HEAD + f"oracle: {{path: {path}}}\n" + ROW).what


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("layer: 2", "layer"),
        ("layers: []", "give at least 1"),
        ("layers: [-1]", "of at least 0"),
        ("max_tokens: 0", "greater than 0"),
    ],
)
def test_what_the_block_cannot_say_is_refused(
    mistake: Callable[[str], Mistake], rest: str, said: str
) -> None:
    assert said in mistake(HEAD + f"oracle: {{path: oracle, {rest}}}\n" + ROW).what


@pytest.mark.parametrize("null", ["placebo", "shuffled", "random_vectors", "text_only"])
def test_every_null_can_take_the_oracles_place(write: Callable[[str], Path], null: str) -> None:
    row = f"tool_sets: {{row: {{tools: [activation_oracle], null_readout: {null}}}}}\n"
    assert load_scenario(write(HEAD + BLOCK + row)).oracle is not None
    both = (
        f"tool_sets: {{row: {{tools: [activation_oracle, nla_compare], null_readout: {null}}}}}\n"
    )
    assert load_scenario(write(HEAD + READERS + BLOCK + both)).oracle is not None


def test_a_null_that_would_leave_another_tool_its_sight_is_refused(
    mistake: Callable[[str], Mistake],
) -> None:
    row = (
        "tool_sets: {row: {tools: [activation_oracle, logit_lens], null_readout: random_vectors}}\n"
    )
    assert (
        "the tool 'logit_lens' would see the true activations" in mistake(HEAD + BLOCK + row).what
    )


def test_the_preflight_loads_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from auditor.scenario.schema import OracleSpec; "
        "from auditor.target.oracles import preflight_oracle; "
        f"found = preflight_oracle(OracleSpec(path={str(folder / 'oracle')!r})); "
        "assert found.problem is None, found; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_what_is_on_the_hub_is_not_compared(folder: Path) -> None:
    there = OracleSpec(path=str(folder / "oracle"))
    record = preflight_oracle(there).record
    assert oracle_misfit(there, record, Model(path="org/model")) is None
    assert oracle_misfit(there, record, Model(path=str(folder / "base"))) is None
    far = OracleSpec(path="org/oracle")
    assert preflight_oracle(far) == (None, None)
    assert oracle_misfit(far, None, Model(path=str(folder / "base"))) is None


def test_the_oracle_stands_on_the_bare_weights_of_the_baseline() -> None:
    base = Model(
        path="org/model", revision="v1", adapter="org/clean", dtype="bfloat16", device="cpu",
        system_prompt="Be kind.", merge_adapter=True,
    )  # fmt: skip
    assert adapter_of(OracleSpec(path="org/oracle"), base) == Model(
        path="org/model", revision="v1", adapter="org/oracle", dtype="bfloat16", device="cpu"
    )
