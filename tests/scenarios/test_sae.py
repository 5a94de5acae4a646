"""The sandbox's sparse autoencoder: its recipe, and what is shipped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.sae import load_sae
from scenarios.sandbox.build import load_base
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.publish import hashes
from scenarios.sandbox.sae import Recipe, changed_files, fit, places_of, train_sae

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
SMALL = Recipe(features=64, k=4, steps=60, batch=128, train=40, held_out=20)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sae")
    found = train_sae(WEIGHTS / "base", folder, layer=1, recipe=SMALL, say=lambda _: None)
    return folder, found


def test_the_recipe_writes_a_folder_that_loads(record: Any) -> None:
    folder, found = record
    sae = load_sae(folder)
    assert (sae.layer, sae.n_features, sae.config.k) == (1, 64, 4)
    assert 0.3 < found["explained"] < 1
    assert json.loads((folder / "sae.json").read_text()) == found
    assert changed_files(folder) == []


def test_the_recipe_gives_the_same_weights_again(record: Any, tmp_path: Path) -> None:
    folder, found = record
    again = train_sae(WEIGHTS / "base", tmp_path, layer=1, recipe=SMALL, say=lambda _: None)
    assert again == found


def test_a_changed_file_is_found(record: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(record[0], tmp_path / "sae")
    (folder / "features.json").write_text("[]")
    assert changed_files(folder) == ["features.json: missing or changed"]
    (folder / "sae.json").unlink()
    assert changed_files(folder) == ["sae.json: cannot be read"]


def test_training_explains_what_a_random_dictionary_does_not() -> None:
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(8, 16, generator=draw)
    on = torch.rand(4000, 8, generator=draw) < 0.15
    x = (on * torch.rand(4000, 8, generator=draw)) @ directions + 3.0
    recipe = Recipe(features=16, k=3, steps=600, batch=256, lr=3e-3)
    weights, _ = fit(x, recipe, say=lambda _: None)
    assert torch.allclose(weights["W_dec"].norm(dim=1), weights["W_dec"].norm(dim=1).mean(),
                          rtol=1e-4)  # fmt: skip
    unit = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    truth = directions / directions.norm(dim=1, keepdim=True)
    assert float((unit @ truth.T).max(0).values.mean()) > 0.85


def test_what_is_shipped_is_unchanged_and_small() -> None:
    folder = WEIGHTS / "sae"
    assert changed_files(folder) == []
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    assert not any(path.startswith("sae/") for path in hashes(WEIGHTS))


def test_what_is_shipped_keeps_what_its_record_says() -> None:
    torch.set_num_threads(1)
    sae = load_sae(WEIGHTS / "sae")
    model, tokenizer = load_base(WEIGHTS / "base")
    assert sae.layer == PRESETS["full"].read_layer
    places = places_of(model, tokenizer, layer=sae.layer, split="held_out", n=60)
    rest = (places.x - sae.reconstruct(places.x)).square().sum()
    explained = 1 - float(rest / (places.x - places.x.mean(0)).square().sum())
    said = json.loads((WEIGHTS / "sae" / "sae.json").read_text())["explained"]
    assert explained == pytest.approx(said, abs=0.01)
    active = (sae.encode(places.x) > 0).sum(1)
    assert int(active.max()) <= sae.config.k
