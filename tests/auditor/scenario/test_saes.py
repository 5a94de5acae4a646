"""The sparse autoencoder of a scenario: found, checked against the targets, offered to the tools."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auditor.errors import Mistake, UsageError
from auditor.scenario import load_scenario
from auditor.target.saes import load, preflight_sae

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
baseline: {path: base}
"""
BLOCK = "sae: {path: sae}\n"
ROW = "tool_sets: {row: {tools: [chat, sae_top, sae_feature]}}\n"


def write_sae(folder: Path, *, layer: int = 1, width: int = 8) -> None:
    folder.mkdir(exist_ok=True)
    config = {"architecture": "standard", "d_in": width, "d_sae": 4,
              "hook_name": f"blocks.{layer}.hook_resid_post"}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))
    shapes = {"W_enc": (width, 4), "b_enc": (4,), "W_dec": (4, width), "b_dec": (width,)}
    tensors = {name: torch.ones(shape) for name, shape in shapes.items()}
    save_file(tensors, folder / "sae_weights.safetensors")


@pytest.fixture
def folder(folder: Path) -> Path:
    """The room's folder, with a base of width 8 and two layers and an autoencoder of layer 1."""
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}
    (folder / "base" / "config.json").write_text(json.dumps(config))
    write_sae(folder / "sae")
    return folder


def test_the_path_of_a_sound_autoencoder_is_made_absolute(
    write: Callable[[str], Path], folder: Path
) -> None:
    assert load_scenario(write(HEAD + BLOCK + ROW)).sae_path == folder / "sae"
    plain = load_scenario(write(HEAD + "tool_sets: {row: {tools: [chat]}}\n"))
    assert plain.sae_path is None


def test_the_tools_without_an_autoencoder_are_refused(
    mistakes: Callable[[str], list[Mistake]], folder: Path
) -> None:
    found = mistakes(HEAD + ROW)
    assert [one.what for one in found] == [
        f"tool {tool!r} needs a sparse autoencoder, and the scenario has none; add `sae: {{path: "
        "…}`, or delete the tool"
        for tool in ("sae_top", "sae_feature")
    ]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"width": 16}, "it reads activations of width 16, the model's are 8 wide"),
        ({"layer": 2}, "it reads layer 2, the model has layers 0 to 1"),
    ],
)
def test_an_autoencoder_of_another_model_is_refused(
    mistake: Callable[[str], Mistake], folder: Path, shape: dict[str, int], said: str
) -> None:
    write_sae(folder / "sae", **shape)
    what = mistake(HEAD + BLOCK + ROW).what
    assert what == f"does not fit target 'a': {said}; name an autoencoder of that model"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cfg.json", None, "cfg.json: there is no such file"),
        ("cfg.json", '{"architecture": "temporal"}', "'temporal' is not understood"),
        ("sae_weights.safetensors", None, "there is no such file"),
        ("sae_weights.safetensors", "x", "is not a safetensors file"),
        ("features.json", "[]", "is for 0 features"),
    ],
)
def test_faulty_files_are_refused_and_named(
    mistake: Callable[[str], Mistake], folder: Path, name: str, content: str | None, said: str
) -> None:
    path = folder / "sae" / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    assert said in mistake(HEAD + BLOCK + ROW).what
    with pytest.raises(UsageError, match="cannot load a sparse autoencoder"):
        load(folder / "sae")


def test_a_path_without_a_folder_is_refused(mistake: Callable[[str], Mistake]) -> None:
    found = mistake(HEAD + "sae: {path: nowhere}\n" + ROW)
    assert found.what.startswith("there is no folder ")


@pytest.mark.parametrize("tool", ["sae_top", "logit_lens", "steer", "candidate_logprob"])
def test_a_null_that_would_leave_a_tool_its_sight_is_refused(
    mistake: Callable[[str], Mistake], folder: Path, tool: str
) -> None:
    row = f"tool_sets: {{r: {{tools: [{tool}, nla_compare], null_readout: random_vectors}}}}\n"
    readers = "readers: {r: {av: org/av, ar: org/ar}}\n"
    assert (
        f"the tool {tool!r} would see the true activations"
        in mistake(HEAD + BLOCK + readers + row).what
    )


def test_the_preflight_loads_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from auditor.target.saes import preflight_sae; "
        f"found = preflight_sae(Path({str(folder / 'sae')!r})); "
        "assert found.problem is None, found; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
    assert preflight_sae(folder / "sae").record is not None
