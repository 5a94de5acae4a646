"""The probe of a scenario: found, checked against the targets, and offered to the tool."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import torch

from auditor.errors import Mistake, UsageError
from auditor.scenario import load_scenario
from auditor.scenario.schema import Model
from auditor.target.probes import load, preflight_probe, probe_misfit
from nla_core.probe import LinearProbe, ProbeRecord, save_probe

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
  - {id: b, model: {path: base, adapter: adapter}, truth: {group: guilty, motive: money}}
baseline: {path: base}
"""
BLOCK = "probe: {path: probe}\n"
ROW = "tool_sets: {row: {tools: [chat, probe]}}\n"


def write_probe(folder: Path, *, layer: int = 1, d_model: int = 8) -> None:
    record = ProbeRecord(
        schema_version=1,
        layer=layer,
        d_model=d_model,
        base_model=None,
        classes=("no motive", "wants money"),
        held_out_accuracy=None,
        held_out_recall={},
        held_out_documents=0,
        held_out_places=0,
        train_places=0,
        seed=0,
        created=date(2026, 11, 23),
        weights_sha256="",
    )
    save_probe(LinearProbe(record, torch.ones(2, d_model), torch.zeros(2)), folder)


@pytest.fixture
def folder(folder: Path) -> Path:
    """The room's folder, with a base of width 8 and two layers and a probe for its layer 1."""
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}
    (folder / "base" / "config.json").write_text(json.dumps(config))
    write_probe(folder / "probe")
    return folder


def line(text: str, part: str) -> int:
    return next(i for i, one in enumerate(text.splitlines(), 1) if part in one)


def test_the_path_of_a_sound_probe_is_made_absolute(
    write: Callable[[str], Path], folder: Path
) -> None:
    resolved = load_scenario(write(HEAD + BLOCK + ROW))
    assert resolved.probe_path == folder / "probe"
    assert resolved.scenario.probe is not None
    assert resolved.scenario.probe.path == "probe", "as written"


def test_a_scenario_without_a_probe_has_no_path(write: Callable[[str], Path], folder: Path) -> None:
    resolved = load_scenario(write(HEAD + "tool_sets: {row: {tools: [chat]}}\n"))
    assert resolved.probe_path is None


def test_the_tool_without_a_probe_is_refused(mistake: Callable[[str], Mistake]) -> None:
    text = HEAD + ROW
    found = mistake(text)
    assert found.what == (
        "tool 'probe' needs a probe, and the scenario has none; add `probe: {path: …}`, or delete "
        "the tool"
    )
    assert found.line == line(text, "probe]")


def test_the_tool_without_a_baseline_is_refused(mistake: Callable[[str], Mistake]) -> None:
    found = mistake(HEAD.replace("baseline: {path: base}\n", "") + BLOCK + ROW)
    assert "tool 'probe' needs a baseline" in found.what


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"d_model": 16}, "it reads activations of width 16, the model's are 8 wide"),
        ({"layer": 2}, "it reads layer 2, the model has layers 0 to 1"),
    ],
)
def test_a_probe_of_another_width_or_layer_is_refused_in_one_line(
    mistake: Callable[[str], Mistake], folder: Path, shape: dict[str, int], said: str
) -> None:
    write_probe(folder / "probe", **shape)
    text = HEAD + BLOCK + ROW
    found = mistake(text)
    assert found.what == (
        f"does not fit target 'a' (and 1 more targets): {said}; name a probe of that model"
    )
    assert found.line == line(text, "probe: {path")


def test_a_baseline_of_another_width_is_refused_too(
    mistake: Callable[[str], Mistake], folder: Path
) -> None:
    wide = folder / "wide"
    wide.mkdir()
    config = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2}
    (wide / "config.json").write_text(json.dumps(config))
    found = mistake(HEAD.replace("baseline: {path: base}", "baseline: {path: wide}") + BLOCK + ROW)
    assert "the model's are 16 wide" in found.what


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: (p / "probe.json").unlink(), "probe.json: there is no such file"),
        (lambda p: (p / "probe.safetensors").unlink(), "probe.safetensors: there is no such file"),
        (lambda p: (p / "probe.json").write_text('{"layer": '), "probe.json: Invalid JSON"),
        (lambda p: (p / "probe.safetensors").write_text("x"), "is not a safetensors file"),
        (
            lambda p: (p / "probe.json").write_text(
                (p / "probe.json").read_text().replace('"d_model": 8', '"d_model": 9')
            ),
            "must hold weight [2, 9] and bias [2]",
        ),
    ],
)
def test_faulty_files_are_refused_and_named(
    mistake: Callable[[str], Mistake], folder: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(folder / "probe")
    assert said in mistake(HEAD + BLOCK + ROW).what


@pytest.mark.parametrize("path", ["nowhere", "corpus.jsonl", "org/probe", "'a\\0b'"])
def test_a_path_without_a_folder_is_refused(mistake: Callable[[str], Mistake], path: str) -> None:
    found = mistake(HEAD + f"probe: {{path: {path}}}\n" + ROW)
    assert found.what.startswith("there is no folder ")


def test_an_unknown_key_of_the_block_is_refused(mistake: Callable[[str], Mistake]) -> None:
    assert "layer" in mistake(HEAD + "probe: {path: probe, layer: 2}\n" + ROW).what


@pytest.mark.parametrize("null", ["random_vectors", "text_only"])
def test_a_null_that_would_leave_the_probe_its_sight_is_refused(
    mistakes: Callable[[str], list[Mistake]], null: str
) -> None:
    row = f"tool_sets: {{row: {{tools: [probe, nla_compare], reader: r, null_readout: {null}}}}}\n"
    found = mistakes(HEAD + "readers: {r: {av: org/av, ar: org/ar}}\n" + BLOCK + row)
    assert [one.what for one in found] == [
        f"{null} takes the reader's place alone, and the tool 'probe' would see the true "
        "activations; write placebo or shuffled, or delete that tool"
    ]


@pytest.mark.parametrize("null", ["placebo", "shuffled"])
def test_a_null_that_swaps_minds_holds_for_the_probe_too(
    write: Callable[[str], Path], null: str
) -> None:
    row = f"tool_sets: {{row: {{tools: [probe, nla_compare], reader: r, null_readout: {null}}}}}\n"
    resolved = load_scenario(write(HEAD + "readers: {r: {av: org/av, ar: org/ar}}\n" + BLOCK + row))
    assert resolved.probe_path is not None


def test_the_preflight_loads_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from auditor.target.probes import preflight_probe; "
        f"found = preflight_probe(Path({str(folder / 'probe')!r})); "
        "assert found.problem is None, found; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_a_hub_model_is_not_compared(folder: Path) -> None:
    record = preflight_probe(folder / "probe").record
    assert record is not None
    assert probe_misfit(record, Model(path="org/model")) is None
    assert probe_misfit(record, Model(path=str(folder / "base"))) is None


def test_loading_a_faulty_probe_is_the_operators_error_in_one_line(folder: Path) -> None:
    assert load(folder / "probe").layer == 1
    (folder / "probe" / "probe.json").write_text("{}")
    with pytest.raises(UsageError, match="^cannot load a probe: .*probe.json: ") as caught:
        load(folder / "probe")
    assert "\n" not in str(caught.value)
