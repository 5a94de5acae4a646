"""A learned map of the injected vector: saved, loaded, refused by readers that know none."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from nla_core.affine import AFFINE_FILE, identity_affine
from nla_core.sampling import Sampling
from nla_core.sidecar import SidecarError
from nla_core.verbalizer import Verbalizer

GREEDY = Sampling(temperature=0, max_tokens=8)


@pytest.fixture
def mapped(llama: Any, tmp_path: Path, vectors: torch.Tensor) -> Path:
    verbalizer = Verbalizer.load(llama.av)
    affine = identity_affine(verbalizer.d_model)
    with torch.no_grad():
        affine.weight.mul_(-1)
        affine.bias.fill_(0.5)
    verbalizer.affine = affine
    verbalizer.save(tmp_path / "av")
    return tmp_path / "av"


def test_an_identity_map_changes_nothing(llama: Any, vectors: torch.Tensor) -> None:
    verbalizer = Verbalizer.load(llama.av)
    plain = verbalizer.prompts(vectors)
    verbalizer.affine = identity_affine(verbalizer.d_model)
    assert torch.equal(verbalizer.prompts(vectors), plain)


def test_a_saved_map_is_applied_after_scaling_when_loaded_again(
    llama: Any, mapped: Path, vectors: torch.Tensor
) -> None:
    plain, loaded = Verbalizer.load(llama.av), Verbalizer.load(mapped)
    at = loaded.prompt.position
    expected = 0.5 - plain.prompts(vectors)[:, at]
    assert torch.allclose(loaded.prompts(vectors)[:, at], expected, atol=1e-5)
    assert loaded.explain(vectors, sampling=GREEDY) != plain.explain(vectors, sampling=GREEDY)


def test_the_sidecar_of_a_mapped_verbalizer_is_of_another_kind(mapped: Path) -> None:
    meta = yaml.safe_load((mapped / "nla_meta.yaml").read_text())
    assert meta["kind"] == "nla_model_affine"


def test_a_verbalizer_without_a_map_stays_in_the_released_format(
    llama: Any, tmp_path: Path
) -> None:
    Verbalizer.load(llama.av).save(tmp_path / "av")
    meta = yaml.safe_load((tmp_path / "av" / "nla_meta.yaml").read_text())
    assert meta["kind"] == "nla_model"
    assert not (tmp_path / "av" / AFFINE_FILE).exists()


def test_a_missing_map_is_refused(mapped: Path) -> None:
    (mapped / AFFINE_FILE).unlink()
    with pytest.raises(SidecarError, match="injection_affine"):
        Verbalizer.load(mapped)


@pytest.mark.parametrize("damage", ["width", "nan"])
def test_a_damaged_map_is_refused(mapped: Path, damage: str) -> None:
    found = load_file(mapped / AFFINE_FILE)
    if damage == "width":
        found["bias"] = found["bias"][:-1].clone()
    else:
        found["weight"][0, 0] = float("nan")
    save_file(found, mapped / AFFINE_FILE)
    with pytest.raises(SidecarError, match="must hold|not finite"):
        Verbalizer.load(mapped)
