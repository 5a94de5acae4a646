"""What survives a kill: weights and moments in safetensors, metrics in JSONL.

Every draw of a training follows from its seed and step, so no random state is kept.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nla_core.training.config import Schedule

if TYPE_CHECKING:
    from nla_core.training.trained import Trained


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
    """A file with the state of some networks and their optimizers at a step."""

    def __init__(self, path: Path, parts: Mapping[str, "Trained"]) -> None:
        """Keep state in `path`.

        Args:
            path: A safetensors file; it is always whole, however the networks are sharded.
            parts: Networks in training, by name.
        """
        self.path, self._parts = path, parts

    def save(self, step: int) -> None:
        """Write the state after `step` steps; all processes must call it, and one writes."""
        from nla_core.training.processes import is_main
        from nla_core.training.trained import whole_tensor

        tensors: dict[str, Tensor] = {}
        for name, part in self._parts.items():
            if not (is_main() or part.is_sharded):
                continue
            for key, value in part.network.state_dict().items():
                tensors[f"{name}.weights.{key}"] = whole_tensor(value.detach())
            for i, state in part.optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"{name}.optimizer.{i}.{key}"] = whole_tensor(torch.as_tensor(value))
        if is_main():
            self._write(tensors, step)

    def _write(self, tensors: Mapping[str, Tensor], step: int) -> None:
        from safetensors.torch import save_file

        # Tied weights lie in one place, and a file of theirs must not.
        apart = {key: value.clone().contiguous() for key, value in tensors.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        save_file(apart, part, metadata={"step": str(step)})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.path)

    def restore(self) -> int:
        """Load the state, in every process, and return its step; 0 when there is none."""
        from safetensors import safe_open

        if not self.path.exists():
            return 0
        with safe_open(self.path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            step = int(file.metadata()["step"])
        for name, part in self._parts.items():
            _restore(part, _under(found, f"{name}.weights."), _under(found, f"{name}.optimizer."))
        return step


def _restore(part: "Trained", weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
    from nla_core.training.trained import placed_like

    now = part.network.state_dict()
    part.network.load_state_dict(
        {
            key: placed_like(value, now[key]) if key in now else value
            for key, value in weights.items()
        }
    )
    optimizer = part.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, _, field = key.partition(".")
        moment = value if field == "step" else placed_like(value, parameters[int(index)])
        state.setdefault(int(index), {})[field] = moment
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


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
