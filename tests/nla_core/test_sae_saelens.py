"""Autoencoders that SAELens wrote read as SAELens reads them, and ours read there as they do here.

The folders in `saelens/` were written by SAELens 6.45.2 (`saelens/write.py`), with what it makes of
some inputs. Where the package is installed as well, both are asked about other inputs.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nla_core.sae import ARCHITECTURES, load_sae, read_config

SAVED = Path(__file__).with_name("saelens")
FOLDERS = sorted(path.parent for path in SAVED.glob("*/cfg.json"))
SANDBOX = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


@folders
def test_a_folder_of_saelens_gives_what_saelens_makes_of_it(folder: Path) -> None:
    sae, expected = load_sae(folder), load_file(folder / "expected.safetensors")
    assert sae.layer == 2
    got = sae.encode(expected["x"])
    assert torch.equal(got > 0, expected["features"] > 0)
    assert torch.allclose(got, expected["features"], atol=1e-4, rtol=1e-5)
    rebuilt = sae.reconstruct(expected["x"])
    assert torch.allclose(rebuilt, expected["reconstruction"], atol=1e-4, rtol=1e-5)


def test_activations_of_the_sandboxs_base_give_what_saelens_makes_of_them() -> None:
    sae, folder = load_sae(SANDBOX / "sae"), SAVED / "sandbox"
    x = load_file(folder / "activations.safetensors")["x"]
    expected = load_file(folder / "expected.safetensors")
    features = torch.zeros(len(x), sae.n_features)
    features.scatter_(1, expected["numbers"], expected["values"])
    got = sae.encode(x)
    assert torch.equal(got > 0, features > 0)
    assert torch.allclose(got, features, rtol=1e-4, atol=1e-5)
    assert torch.allclose(sae.reconstruct(x), expected["reconstruction"], rtol=1e-4, atol=1e-4)


def test_every_architecture_has_a_folder_of_saelens() -> None:
    found = [read_config(folder) for folder in FOLDERS]
    assert {config.architecture for config in found} == set(ARCHITECTURES)
    assert {config.normalize_activations for config in found} == {
        "none", "layer_norm", "constant_norm_rescale",
    }  # fmt: skip
    assert {config.apply_b_dec_to_input for config in found} == {True, False}
    assert any(config.folds_norms for config in found)


def both(folder: Path, x: torch.Tensor) -> None:
    """Hold what both make of `[n, d_model]` inputs against each other."""
    theirs: Any = pytest.importorskip("sae_lens", minversion="6.45.2").SAE.load_from_disk(folder)
    ours = load_sae(folder)
    with torch.no_grad():
        features = theirs.encode(x)
        rebuilt = theirs.decode(features)
    scale = float(features.abs().max())
    assert torch.allclose(ours.encode(x), features, atol=1e-5 * scale)
    assert torch.allclose(ours.reconstruct(x), rebuilt, atol=1e-5 * float(rebuilt.abs().max()))


@folders
def test_saelens_itself_agrees_on_other_inputs(folder: Path) -> None:
    draw = torch.Generator().manual_seed(7)
    both(folder, 2 * torch.randn(500, read_config(folder).d_in, generator=draw) - 0.5)


def test_saelens_reads_the_sandboxs_autoencoder_as_we_do() -> None:
    sae_lens = pytest.importorskip("sae_lens", minversion="6.45.2")
    folder = SANDBOX / "sae"
    config = sae_lens.SAE.load_from_disk(folder).cfg
    both(folder, load_file(SAVED / "sandbox" / "activations.safetensors")["x"])
    assert (config.architecture(), config.k) == ("topk", read_config(folder).k)
    assert config.metadata.hook_name == f"blocks.{read_config(folder).layer}.hook_resid_post"
    both(folder, torch.randn(500, config.d_in, generator=torch.Generator().manual_seed(3)))
