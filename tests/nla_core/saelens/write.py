"""Writes the folders beside this file with SAELens itself: `python write.py`, where it is installed.

SAELens does not go together with the versions that this project is tested with, so install it into
an environment of its own (`pip install sae-lens`). Each folder has what SAELens saves, and
`expected.safetensors`: inputs, and the features and reconstructions that SAELens makes of them
after it has loaded the folder again. `sandbox/` has what it makes of activations of the sandbox's base
(`activations.py`) with the autoencoder that the sandbox ships.
"""

import json
from pathlib import Path
from typing import Any

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
SHIPPED = HERE.parents[2] / "scenarios" / "sandbox" / "weights" / "sae"
WIDTH, N, K = 8, 20, 3
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "standard-plain-input": (StandardSAE, StandardSAEConfig, {"apply_b_dec_to_input": False}),
    "standard-layer-norm": (StandardSAE, StandardSAEConfig, {"normalize_activations": "layer_norm"}),
    "standard-constant-norm": (
        StandardSAE, StandardSAEConfig, {"normalize_activations": "constant_norm_rescale"},
    ),
    "topk": (TopKSAE, TopKSAEConfig, {"k": K}),
    "topk-rescaled": (TopKSAE, TopKSAEConfig, {"k": K, "rescale_acts_by_decoder_norm": True}),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {"k": K}),
}  # fmt: skip


def drawn(sae: Any, seed: int) -> Any:
    """Give every parameter values that matter."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(sae.named_parameters()):
            values = torch.randn(parameter.shape, generator=draw)
            parameter.copy_(values.abs() if name == "threshold" else values)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(2.0)
    return sae


def write(name: str, seed: int) -> None:
    """Save one autoencoder, load it again, and keep what it makes of some inputs."""
    kind, config, settings = CASES[name]
    about = SAEMetadata(model_name="none", hook_name="blocks.2.hook_resid_post")
    sae = drawn(kind(config(d_in=WIDTH, d_sae=N, metadata=about, **settings)), seed)
    folder = HERE / name
    save = sae.save_inference_model if name == "batchtopk" else sae.save_model
    save(folder)
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1) + "\n")
    loaded = SAE.load_from_disk(folder)
    x = 3 * torch.randn(12, WIDTH, generator=torch.Generator().manual_seed(seed + 1)) + 0.5
    with torch.no_grad():
        features = loaded.encode(x)
        held = {"x": x, "features": features, "reconstruction": loaded.decode(features)}
    assert 0 < float((features > 0).float().mean()) < 1, name
    save_file({key: one.contiguous() for key, one in held.items()}, folder / "expected.safetensors")


def write_sandbox() -> None:
    """Keep what the shipped autoencoder makes of real activations; features by their numbers."""
    sae = SAE.load_from_disk(SHIPPED)
    x = load_file(HERE / "sandbox" / "activations.safetensors")["x"]
    with torch.no_grad():
        features = sae.encode(x)
        best = features.topk(sae.cfg.k, dim=1)
        held = {
            "values": best.values,
            "numbers": best.indices,
            "reconstruction": sae.decode(features),
        }
    save_file(
        {key: one.contiguous() for key, one in held.items()},
        HERE / "sandbox" / "expected.safetensors",
    )


if __name__ == "__main__":
    write_sandbox()
    for number, case in enumerate(CASES):
        write(case, 100 * number)
