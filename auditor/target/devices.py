"""Where weights are put."""

from typing import Any


def torch_device(name: str) -> Any:
    """Return the `torch.device` of a name; `auto` is the best one that this machine has."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return torch.device(name)
