"""A learned affine map of the injected vector, which the released format has no place for.

A verbalizer with one says so in its sidecar by another `kind`, so that readers of the released
format refuse it instead of leaving the map out.
"""

from pathlib import Path

import torch
from torch import nn

from nla_core.sidecar import SidecarError

AFFINE_FILE = "injection_affine.safetensors"


def identity_affine(d_model: int, *, device: torch.device | str = "cpu") -> nn.Linear:
    """Return the float32 map that changes nothing: where learning begins."""
    affine = nn.Linear(d_model, d_model, device=device)
    with torch.no_grad():
        affine.weight.copy_(torch.eye(d_model))
        affine.bias.zero_()
    return affine


def save_affine(affine: nn.Linear, folder: Path) -> None:
    """Write a map into a verbalizer's folder."""
    from safetensors.torch import save_file

    tensors = {"weight": affine.weight, "bias": affine.bias}
    save_file(
        {key: value.detach().float().cpu().contiguous() for key, value in tensors.items()},
        folder / AFFINE_FILE,
    )


def load_affine(folder: Path, d_model: int, device: torch.device | str) -> nn.Linear:
    """Read the map of a verbalizer.

    Raises:
        SidecarError: When it is missing, of another width, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / AFFINE_FILE
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise SidecarError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    shapes = {key: list(value.shape) for key, value in found.items()}
    if shapes != {"weight": [d_model, d_model], "bias": [d_model]}:
        raise SidecarError(
            f"{path}: must hold weight [{d_model}, {d_model}] and bias [{d_model}], holds {shapes}"
        )
    if not all(bool(torch.isfinite(value).all()) for value in found.values()):
        raise SidecarError(f"{path}: holds values that are not finite")
    affine = identity_affine(d_model, device=device)
    affine.load_state_dict(found)
    return affine
