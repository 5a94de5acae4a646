"""Adding vectors to the residual stream at single tokens of a prompt, at the stream's own norm.

h' = h + c |h| v / |v| on the output of one decoder block (Karvonen et al. 2025, "Activation
Oracles"). Where `nla_core.injection` replaces an embedding, this leaves the token what it is, and
where `nla_core.steering` pushes every token of every row alike, each row has vectors of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch

_SMALLEST_NORM = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Insertion:
    """Vectors for some tokens of one prompt."""

    positions: tuple[int, ...]
    """Tokens of the prompt, ascending."""
    vectors: Tensor
    """`[n_positions, d_model]`, any float dtype and device; one that is zero changes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Insertions:
    """What is added to the prompts of one call, and where."""

    layer: int
    """0-based decoder block whose output is changed."""
    rows: Sequence[Insertion]
    """One per prompt. Prompts with the same object are taken for equal when their tokens are."""
    coefficient: float = 1.0
    """Norm of what is added, over the norm of what is there."""

    def of(self, rows: Sequence[int]) -> "Insertions":
        """Return those of some of the prompts."""
        return Insertions(self.layer, [self.rows[i] for i in rows], self.coefficient)

    @property
    def first(self) -> int:
        """The first token of any prompt that is changed."""
        return min(row.positions[0] for row in self.rows)


def check_insertions(
    model: nn.Module, prompts: Sequence[Sequence[int] | Tensor], insertions: Insertions
) -> None:
    """Refuse what cannot be added.

    Raises:
        ValueError: When the layer or a position does not exist, vectors are of another width or
            number or not finite, or there is not one insertion per prompt.
    """
    depth, width = len(arch.blocks(model)), arch.d_model(model)
    if not 0 <= insertions.layer < depth:
        raise ValueError(
            f"layer {insertions.layer} does not exist; the model has layers 0 to {depth - 1}"
        )
    if len(insertions.rows) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts need as many insertions, got {len(insertions.rows)}"
        )
    for row, prompt in zip(insertions.rows, prompts, strict=True):
        shape, wanted = list(row.vectors.shape), [len(row.positions), width]
        if not row.positions or shape != wanted:
            raise ValueError(
                f"vectors of {len(row.positions)} tokens must be {wanted}, are {shape}"
            )
        if list(row.positions) != sorted({*row.positions} & {*range(len(prompt))}):
            raise ValueError(
                f"positions must be ascending tokens of a prompt of {len(prompt)}, "
                f"are {list(row.positions)}"
            )
        if not bool(torch.isfinite(row.vectors).all()):
            raise ValueError("a vector to insert holds values that are not finite numbers")


@contextmanager
def inserted(model: nn.Module, insertions: Insertions, shifts: Sequence[int]) -> Iterator[None]:
    """Add the vectors to every pass inside the block; the model is changed by a hook meanwhile.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        insertions: One row per row of the pass.
        shifts: For each row, the slot of the pass that holds the prompt's token 0; it may be
            negative where the pass leaves out the beginning.
    """
    places = [
        (row, position + shift)
        for row, (one, shift) in enumerate(zip(insertions.rows, shifts, strict=True))
        for position in one.positions
    ]
    rows, slots = torch.tensor(places, dtype=torch.long).unbind(1)
    vectors = torch.cat([one.vectors.detach().float() for one in insertions.rows])

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        changed = matched_sum(states, rows, slots, vectors, insertions.coefficient)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = arch.blocks(model)[insertions.layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def matched_sum(
    states: Tensor, rows: Tensor, slots: Tensor, vectors: Tensor, coefficient: float
) -> Tensor:
    """Return states with a vector added at some places, each at the norm that is there.

    Sums are rounded once, from float32 to the dtype of the states; what is added is a constant to
    gradients.

    Args:
        states: `[row, slot, d_model]`.
        rows: `[n]` int64, row of each place.
        slots: `[n]` int64, slot of each place.
        vectors: `[n, d_model]` float32.
        coefficient: Norm of what is added, over the norm of what is there.
    """
    device = states.device
    at = (rows.to(device), slots.to(device))
    there, wide = states[at].float(), vectors.to(device)
    direction = wide / wide.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
    added = coefficient * there.detach().norm(dim=-1, keepdim=True) * direction
    return states.index_put(at, (there + added).to(states.dtype))
