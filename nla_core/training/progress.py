"""What survives a kill: weights and moments in safetensors, metrics in JSONL.

Every draw of a training follows from its seed and step, so no random state is kept.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nla_core.training.config import Schedule


def learning_rate(schedule: Schedule, step: int) -> float:
    """Return the rate at a step: linear warm-up, then cosine."""
    if step < schedule.warmup:
        return schedule.lr * (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return schedule.lr * (schedule.final_lr + (1 - schedule.final_lr) * cosine)


def new_optimizer(module: nn.Module, schedule: Schedule, lr: float) -> torch.optim.AdamW:
    """Return AdamW over the parameters that are trained."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(wanted, lr=lr, betas=(0.9, 0.98), weight_decay=schedule.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class Progress:
    """A file with the state of some modules and optimizers at a step."""

    def __init__(self, path: Path, parts: Mapping[str, tuple[nn.Module, Any]]) -> None:
        """Keep state in `path`.

        Args:
            path: A safetensors file; it is always whole.
            parts: Module and optimizer by name.
        """
        self.path, self._parts = path, parts

    def save(self, step: int) -> None:
        """Write the state after `step` steps."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        for name, (module, optimizer) in self._parts.items():
            for key, value in module.state_dict().items():
                tensors[f"{name}.weights.{key}"] = value.detach().clone().contiguous()
            for i, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"{name}.optimizer.{i}.{key}"] = torch.as_tensor(value).clone()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        save_file(tensors, part, metadata={"step": str(step)})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.path)

    def restore(self) -> int:
        """Load the state and return its step; 0 when there is none."""
        from safetensors import safe_open

        if not self.path.exists():
            return 0
        with safe_open(self.path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            step = int(file.metadata()["step"])
        for name, (module, optimizer) in self._parts.items():
            weights = _under(found, f"{name}.weights.")
            module.load_state_dict(weights)
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(found, f"{name}.optimizer.").items():
                index, _, field = key.partition(".")
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        return step


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class Metrics:
    """A JSONL file, one line a step that was logged."""

    def __init__(self, path: Path, *, step: int, active: bool = True) -> None:
        """Go on after `step`: lines of later steps, which a kill made void, are dropped.

        At step 0 nothing is kept: what a training measures before its first step, it measures anew.
        """
        self.path, self._active = path, active
        if not active:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(path) if row["step"] <= step] if step else []
        write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))

    def log(self, step: int, **values: float | None) -> None:
        """Append one line."""
        if not self._active:
            return
        row = {"step": step} | {key: _plain(value) for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _plain(value: float | None) -> float | None:
    """Round; what is not finite is unknown, and no JSON either."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 6)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a metrics file; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
