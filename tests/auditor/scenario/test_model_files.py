"""What the files of a model say is reported where the scenario names the model."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from auditor.errors import Mistake
from auditor.scenario import load_scenario

Mistakes = Callable[[str | bytes], list[Mistake]]

Q_PROJ = "model.layers.{}.self_attn.q_proj"
VALID = """\
name: demo
targets:
  - id: mine
    model: {path: ./base, adapter: ./adapter}
    truth: {group: clean}
baseline: {path: ./base}
tool_sets:
  black_box: {tools: [chat, compare_with_baseline]}
"""

pytestmark = pytest.mark.usefixtures("real_preflight")


@pytest.fixture
def models(folder: Path) -> Path:
    """Give the base and the adapter what a loadable model has: one layer of width 8."""
    base = folder / "base"
    (base / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))
    (base / "tokenizer.json").write_text("{}")
    write_tensors(base / "model.safetensors", {f"{Q_PROJ.format(0)}.weight": (8, 8)})
    write_adapter(folder / "adapter", layer=0, width=8)
    return folder


def write_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file of zeros in 16 bits."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * shape[1]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_adapter(folder: Path, *, layer: int, width: int) -> None:
    module = f"base_model.model.{Q_PROJ.format(layer)}"
    shapes = {f"{module}.lora_A.weight": (2, width), f"{module}.lora_B.weight": (width, 2)}
    write_tensors(folder / "adapter_model.safetensors", shapes)


def drop_template(models: Path) -> None:
    (models / "base" / "tokenizer_config.json").write_text("{}")


def test_models_whose_files_are_right_are_accepted(models: Path) -> None:
    (models / "scenario.yaml").write_text(VALID)
    assert len(load_scenario(models / "scenario.yaml").targets) == 1


def test_a_model_without_template_is_a_mistake_wherever_it_is_named(
    models: Path, mistakes: Mistakes
) -> None:
    drop_template(models)
    found = mistakes(VALID)
    assert [(one.line, one.column) for one in found] == [(4, 5), (6, 1)]
    assert all("template" in one.what for one in found)


@pytest.mark.parametrize(("layer", "width"), [(0, 16), (3, 8)], ids=["width", "depth"])
def test_an_adapter_of_another_base_is_a_mistake_of_its_model(
    models: Path, mistakes: Mistakes, layer: int, width: int
) -> None:
    write_adapter(models / "adapter", layer=layer, width=width)
    (found,) = mistakes(VALID)
    assert (found.line, found.column) == (4, 5)
    assert str(models / "adapter") in found.what


def test_a_mistake_that_all_targets_of_a_suite_share_is_one_mistake_at_the_suite(
    models: Path, mistakes: Mistakes
) -> None:
    drop_template(models)
    found = mistakes(
        "name: demo\ntargets:\n  - suite: suites/suite.json\ntool_sets: {a: {tools: [chat]}}\n"
    )
    assert [(one.line, one.column) for one in found] == [(3, 12)]
    assert found[0].what.startswith("target 'thoughts-plain-0' (and 4 more targets): ")
    assert "template" in found[0].what


def test_only_selected_targets_of_a_suite_are_inspected(models: Path) -> None:
    write_adapter(models / "adapter", layer=3, width=8)
    (models / "scenario.yaml").write_text(
        "name: demo\ntargets:\n  - {suite: suites/suite.json, select: [clean-1]}\n"
        "tool_sets: {a: {tools: [chat]}}\n"
    )
    assert [t.id for t in load_scenario(models / "scenario.yaml").targets] == ["clean-1"]
