"""The mean and variance of a pair's training data, in a file beside its reconstructor.

FVE has a denominator that is a property of a dataset. One text alone has too few activations to
give it, so the trainer leaves it here; without the file FVE is unknown.
"""

import math
import os
from pathlib import Path

import torch

from nla_core.fidelity import Baseline
from nla_core.sidecar import SidecarError

BASELINE_FILE = "nla_baseline.safetensors"
_TENSOR = "mu"
_NOT_SCALED = "none"


def save_baseline(baseline: Baseline, folder: str | Path) -> Path:
    """Write a baseline into a reconstructor's folder and return the path of the file.

    The file holds one tensor `mu` `[d_model]` float64; its metadata holds rawvar, meannorm, n and
    mse_scale as text that reads back to the same numbers.
    """
    from safetensors.torch import save_file

    target = Path(folder) / BASELINE_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.part")
    scale = baseline.mse_scale
    metadata = {
        "rawvar": repr(baseline.rawvar),
        "meannorm": repr(baseline.meannorm),
        "n": str(baseline.n),
        "mse_scale": _NOT_SCALED if scale is None else repr(float(scale)),
    }
    save_file({_TENSOR: baseline.mu.detach().cpu().double().contiguous()}, unfinished, metadata)
    os.replace(unfinished, target)
    return target


def load_baseline(folder: str | Path) -> Baseline | None:
    """Read the baseline in a reconstructor's folder; None when there is none.

    Raises:
        SidecarError: When the file is malformed; the message names the field.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / BASELINE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            names = sorted(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SidecarError(f"{path}: cannot be read: {reason}") from None
    if names != [_TENSOR]:
        raise SidecarError(f"{path}: must hold one tensor named mu, holds {', '.join(names)}")
    mu = tensors[_TENSOR]
    if mu.ndim != 1 or not len(mu) or mu.dtype != torch.float64:
        raise SidecarError(f"{path}: mu must be [d_model] float64, got {list(mu.shape)} {mu.dtype}")
    if not bool(torch.isfinite(mu).all()):
        raise SidecarError(f"{path}: mu holds values that are not finite")
    scale = metadata.get("mse_scale")
    n = _number(path, metadata, "n", at_least=1)
    if n != int(n):
        raise SidecarError(f"{path}: n must be a whole number, got {metadata['n']!r}")
    return Baseline(
        mu=mu,
        rawvar=_number(path, metadata, "rawvar", at_least=0),
        meannorm=_number(path, metadata, "meannorm", at_least=0),
        n=int(n),
        mse_scale=None
        if scale == _NOT_SCALED
        else _number(path, metadata, "mse_scale", at_least=1e-300),
    )


def _number(path: Path, metadata: dict[str, str], key: str, *, at_least: float) -> float:
    text = metadata.get(key)
    if text is None:
        raise SidecarError(f"{path}: the metadata lack {key}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < at_least:
        raise SidecarError(
            f"{path}: {key} must be a number of at least {at_least:g}, got {text[:60]!r}"
        )
    return value
