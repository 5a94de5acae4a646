"""Runs a training sharded by FSDP 2 on CPUs, which `accelerate` offers on accelerators only.

Everything but that switch is `accelerate`'s own: processes, sharding, clipping. With `STOP_AT` all
processes end once the state after that step is saved.
"""

import os
import sys
from typing import Any

from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch import Tensor

from nla_core.training.__main__ import main
from nla_core.training.processes import wait_for_all
from nla_core.training.progress import Progress
from nla_core.training.trained import Trained

STEP, SAVE = Trained.step, Progress.save


def step_of_shards(self: Trained, loss: Tensor, rate: float) -> float:
    norm = STEP(self, loss, rate)
    for parameter in self.network.parameters():
        shard: Any = parameter
        assert shard.to_local().numel() < shard.numel()
    return norm


def save_and_stop(self: Progress, step: int) -> None:
    SAVE(self, step)
    wait_for_all()
    if step == int(os.environ.get("STOP_AT", "0")):
        sys.exit(3)


if __name__ == "__main__":
    Accelerator(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    # Of the options that it was launched with.
    AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin()
    Trained.step, Progress.save = step_of_shards, save_and_stop  # type: ignore[method-assign]
    sys.exit(main())
