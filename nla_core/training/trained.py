"""A network in training: its optimizer, one step, and a whole copy when `accelerate` shards it.

A sharded network can only run when all processes run it together. What one process does alone
(draw texts of its own length, evaluate, save) it does with a copy whose weights are whole.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from nla_core.training.config import RecipeError, Schedule
from nla_core.training.progress import new_optimizer, set_rate


class Trained:
    """A network that all processes train together."""

    def __init__(self, network: nn.Module, schedule: Schedule, lr: float) -> None:
        """Hand a network to `accelerate`.

        Args:
            network: Trained in place; when it is sharded, only `gather` brings it up to date.
            schedule: Weight decay and the norm at which gradients are clipped.
            lr: Rate until it is set anew.

        Raises:
            RecipeError: When `accelerate` was started in a way that is not supported.
        """
        from accelerate import Accelerator

        # One each: an accelerator clips by the first of its networks that looks alike.
        self.accelerator: Any = Accelerator()
        self.is_sharded = _is_sharded(self.accelerator)
        self.whole = network
        """The network with all its weights."""
        self.network: nn.Module = deepcopy(network) if self.is_sharded else network
        """What learns: the same one, or this process's shard."""
        self.optimizer = new_optimizer(self.network, schedule, lr)
        self.running, self._running_optimizer = self.accelerator.prepare(
            self.network, self.optimizer
        )
        """`running` is what to call in a step, in all processes at once."""
        self._clip = schedule.clip

    def step(self, loss: Tensor, rate: float) -> float:
        """Descend at a rate; return the norm of the gradient before it was clipped."""
        self.accelerator.backward(loss)
        found: Any = self.accelerator.clip_grad_norm_(self.running.parameters(), self._clip)
        norm = float(whole_tensor(found))
        set_rate(self._running_optimizer, rate)
        # One text in many makes a gradient that is no number; that step is left out.
        if norm == norm and norm != float("inf"):
            self._running_optimizer.step()
        self._running_optimizer.zero_grad()
        return norm

    @torch.no_grad()
    def gather(self) -> None:
        """Bring `whole` up to date; all processes must call it together."""
        if self.is_sharded:
            state = self.network.state_dict()
            self.whole.load_state_dict({key: whole_tensor(state[key]) for key in state})


def frozen(network: nn.Module) -> nn.Module:
    """Return a copy that does not learn, sharded like the networks that do."""
    from accelerate import Accelerator

    copy = deepcopy(network).requires_grad_(False).eval()
    accelerator: Any = Accelerator()
    if not _is_sharded(accelerator):
        return copy
    from accelerate.utils import fsdp2_prepare_model

    sharded: nn.Module = fsdp2_prepare_model(accelerator, copy)
    return sharded


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor with all its shards; all processes must call it together."""
    gather = getattr(tensor, "full_tensor", None)
    found: Tensor = tensor if gather is None else gather()
    return found


def placed_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Return a whole tensor sharded as another one is."""
    mesh = getattr(model, "device_mesh", None)
    if mesh is None:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(model, DTensor)
    return distribute_tensor(tensor.to(model.device), mesh, model.placements)


def check_launch() -> None:
    """Refuse a way of starting several processes that would fail, or go wrong, later on.

    Raises:
        RecipeError: Saying how to start them.
    """
    from accelerate import Accelerator

    _is_sharded(Accelerator())


def _is_sharded(accelerator: Any) -> bool:
    """Tell whether networks are sharded.

    Raises:
        RecipeError: When they are, in another way than by FSDP 2 around whole weights.
    """
    from accelerate.utils import DistributedType

    kind = accelerator.distributed_type
    if kind == DistributedType.FSDP and accelerator.is_fsdp2:
        if accelerator.state.fsdp_plugin.cpu_ram_efficient_loading:
            raise RecipeError(
                "every process needs all weights to draw texts with; add "
                "--fsdp_cpu_ram_efficient_loading false to accelerate launch"
            )
        return True
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise RecipeError(
            f"accelerate was started with {kind.value}; networks can be sharded by FSDP 2 only: "
            "accelerate launch --use_fsdp --fsdp_version 2"
        )
    return False
