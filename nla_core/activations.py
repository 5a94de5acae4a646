"""Reading the residual stream.

`layer` K names the output of decoder block K (0-based), its residual added and before any norm:
`hidden_states[K + 1]` of Transformers, except for the last block, where that entry has passed the
final norm and only a hook sees the raw stream.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core._prefill import check_rows, input_device


def capture(
    model: nn.Module,
    input_ids: Sequence[Sequence[int]],
    *,
    layer: int,
    positions: Sequence[Sequence[int]] | None = None,
    batch_size: int = 64,
) -> list[Tensor]:
    """Return the residual stream after one block, computing no block above it.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        input_ids: Token ids of each text.
        layer: 0-based decoder block.
        positions: Token positions wanted of each text, negative ones from its end; None: all.
        batch_size: Texts run at once.

    Returns:
        One float32 CPU tensor `[n_positions, d_model]` per text, in order.

    Raises:
        PromptTooLongError: When a text does not fit into the model's context.
        ValueError: When the layer or a position does not exist, or a text is empty.
    """
    check_rows(model, input_ids)
    block = _block(model, layer)
    wanted = _wanted(input_ids, positions)
    order = sorted(range(len(input_ids)), key=lambda i: len(input_ids[i]))
    found: dict[int, Tensor] = {}
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            states = _run(model, block, [input_ids[i] for i in chunk])
            places = [(row, place) for row, i in enumerate(chunk) for place in wanted[i]]
            at = torch.tensor(places, dtype=torch.long, device=states.device).view(-1, 2)
            # One transfer for the whole batch.
            chosen = states[at[:, 0], at[:, 1]].float().cpu()
            parts = torch.split(chosen, [len(wanted[i]) for i in chunk])
            found.update(zip(chunk, (part.clone() for part in parts), strict=True))
    finally:
        model.train(training)
    return [found[i] for i in range(len(input_ids))]


class _Stop(Exception):
    """Ends a forward pass once the wanted block has run."""


@contextmanager
def _stop_after(block: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the block's output and end the forward pass there."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise _Stop

    handle = block.register_forward_hook(hook)
    try:
        yield seen
    except _Stop:
        pass
    finally:
        handle.remove()


def _run(model: nn.Module, block: nn.Module, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the block's output `[row, slot, d_model]`, rows padded on the right.

    No mask: no token attends to the padding after it, and attention without a mask is faster.
    """
    longest = max(len(row) for row in rows)
    ids = [[*row, *[0] * (longest - len(row))] for row in rows]
    with torch.no_grad(), _stop_after(block) as seen:
        model(input_ids=torch.tensor(ids, device=input_device(model)), use_cache=False)
    return seen[0]


def _block(model: nn.Module, layer: int) -> nn.Module:
    blocks = arch.blocks(model)
    if not 0 <= layer < len(blocks):
        raise ValueError(
            f"layer {layer} does not exist; the model has layers 0 to {len(blocks) - 1}"
        )
    return blocks[layer]


def _wanted(
    rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]] | None
) -> list[list[int]]:
    """Return the places asked for in each text, counted from its start."""
    if positions is None:
        return [list(range(len(row))) for row in rows]
    if len(positions) != len(rows):
        raise ValueError(f"{len(rows)} texts need as many lists of positions, got {len(positions)}")
    for index, (row, chosen) in enumerate(zip(rows, positions, strict=True)):
        outside = [p for p in chosen if not -len(row) <= p < len(row)]
        if outside:
            raise ValueError(
                f"position {outside[0]} does not exist in text {index}, which has {len(row)} tokens"
            )
    # From a text's own end: its row may go on with padding.
    return [
        [p + len(row) if p < 0 else p for p in chosen]
        for row, chosen in zip(rows, positions, strict=True)
    ]
