"""Running many prompts once, with what they share computed once.

Rows are aligned at their last token. Row r of a batch whose longest prompt has T tokens starts at
slot `T - len(r)`, so slot distances equal token distances and sliding windows stay right.

1. Equal rows are run once and copied.
2. A prefix common to all rows is run once, as one row. Row r needs it `T - len(r)` slots further
   right: its cached keys and values are copied there (their rotary positions are those of the
   tokens, not of the slots). What a shift pushes out is computed again, in columns that would
   otherwise be padding.
3. Vectors that a row inserts make it another row, and a shared prefix ends before the first one.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core._cache import new_cache, tile_prefix
from nla_core.insertion import Insertions, inserted

Row = Sequence[int] | Tensor
"""A prompt: token ids, or embeddings `[token, d_model]` as they enter the first block."""

_WORTH_SHARING = 64
"""Fewest saved token positions for which one more forward pass pays."""


class PromptTooLongError(ValueError):
    """A prompt leaves no room in the model's context."""


@dataclass(slots=True)
class Batch:
    """Prompts that have been run: the state from which tokens are drawn."""

    logits: Tensor
    """`[row, vocab]` of each row's last token, in the model's dtype."""
    cache: Any
    """Keys and values of all rows."""
    pads: Tensor
    """`[row]` leading slots that are padding."""
    n_slots: int
    padded: bool

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order, repeats allowed."""
        self.cache.batch_select_indices(rows)
        self.logits = self.logits.index_select(0, rows)
        self.pads = self.pads.index_select(0, rows)
        self.padded = self.padded and bool(self.pads.any())

    def shrink(self, order: Sequence[int]) -> None:
        """Keep the rows in `order`, of which only those past its length may stand elsewhere.

        Rows move into the gaps that others leave, so that little of the cache is copied.
        """
        device = self.pads.device
        moves = [(to, source) for to, source in enumerate(order) if to != source]
        to, source = torch.tensor(moves, dtype=torch.long, device=device).view(-1, 2).unbind(1)
        for layer in self.cache.layers:
            layer.shrink(len(order), to, source)
        rows = torch.tensor(order, device=device)
        self.logits = self.logits.index_select(0, rows)
        self.pads = self.pads.index_select(0, rows)
        self.padded = self.padded and bool(self.pads.any())

    def advance(self, model: nn.Module, tokens: Tensor) -> None:
        """Append one token `[row]` to each row and compute the logits that follow it."""
        self.n_slots += 1
        self.logits = _forward(model, {"input_ids": tokens[:, None]}, self, 1)


def check_rows(model: nn.Module, rows: Sequence[Row]) -> None:
    """Refuse prompts that cannot be run.

    Raises:
        PromptTooLongError: When a prompt leaves no room for a token.
        ValueError: When a prompt is empty, or the model keeps more than keys and values.
    """
    if not arch.has_plain_cache(model):
        name = type(arch.unwrap(model)).__name__
        raise ValueError(f"{name} has recurrent layers, which batched decoding does not support")
    context = arch.context_length(model)
    for index, row in enumerate(rows):
        if len(row) == 0:
            raise ValueError(f"prompt {index} is empty; give at least one token")
        if context is not None and len(row) >= context:
            raise PromptTooLongError(
                f"prompt {index} has {len(row)} tokens, which leaves no room in the model's "
                f"context of {context}; shorten it"
            )


def prefill(model: nn.Module, rows: Sequence[Row], insertions: Insertions | None = None) -> Batch:
    """Run prompts and return the state after them, one batch row per prompt, in order."""
    device = input_device(model)
    kept, copies = _deduplicate(rows, None if insertions is None else insertions.rows)
    here = None if insertions is None else insertions.of(kept)
    batch = _run_unique(model, [rows[i] for i in kept], device, here)
    if len(kept) < len(rows):
        batch.select(torch.tensor(copies, device=device))
    return batch


def input_device(model: nn.Module) -> torch.device:
    """Return the device on which the model expects its inputs."""
    device: torch.device = arch.unwrap(model).get_input_embeddings().weight.device
    return device


def _run_unique(
    model: nn.Module, rows: Sequence[Row], device: torch.device, insertions: Insertions | None
) -> Batch:
    n_slots = max(len(row) for row in rows)
    shifts = [n_slots - len(row) for row in rows]
    n_shared = shared_prefix(rows)
    if insertions is not None:
        n_shared = min(n_shared, insertions.first)
    if n_shared * (len(rows) - 1) < _WORTH_SHARING:
        n_shared = 0
    empty = torch.empty(0)
    cache = new_cache()
    if n_shared:
        first = Batch(empty, cache, torch.zeros(1, dtype=torch.long), n_shared, padded=False)
        _forward(model, _aligned([rows[0][:n_shared]], n_shared, 0, model, device), first, n_shared)
        cache = tile_prefix(first.cache, shifts)
    pads = torch.tensor(shifts, device=device)
    batch = Batch(empty, cache, pads, n_slots, padded=any(shifts))
    inputs = _aligned(rows, n_slots, n_shared, model, device)
    starts = [shift - n_shared for shift in shifts]
    with nullcontext() if insertions is None else inserted(model, insertions, starts):
        batch.logits = _forward(model, inputs, batch, n_slots - n_shared)
    return batch


def _forward(model: nn.Module, inputs: dict[str, Tensor], batch: Batch, n_new: int) -> Tensor:
    """Run the last `n_new` slots of a batch; return logits `[row, vocab]` of the last one."""
    extra: dict[str, Tensor] = {}
    if batch.padded:
        slots = torch.arange(batch.n_slots, device=batch.pads.device)
        extra["attention_mask"] = (slots >= batch.pads[:, None]).long()
        positions = slots[-n_new:] - batch.pads[:, None]
        extra["position_ids"] = positions.clamp(min=0)
    output = model(**inputs, **extra, past_key_values=batch.cache, use_cache=True, logits_to_keep=1)
    logits: Tensor = output.logits
    return logits[:, -1]


def _aligned(
    rows: Sequence[Row], n_slots: int, skip: int, model: nn.Module, device: torch.device
) -> dict[str, Tensor]:
    """Align rows at their end in `n_slots` slots and return the slots from `skip` on."""
    first = rows[0]
    if isinstance(first, Tensor):
        embedding = arch.unwrap(model).get_input_embeddings().weight
        shape = (len(rows), n_slots - skip, first.shape[-1])
        table = torch.zeros(shape, device=device, dtype=embedding.dtype)
        for index, row in enumerate(rows):
            shift = n_slots - len(row)
            table[index, max(shift - skip, 0) :] = torch.as_tensor(row)[max(skip - shift, 0) :]
        return {"inputs_embeds": table}
    padded = [[0] * (n_slots - len(row)) + list(row) for row in rows]
    return {"input_ids": torch.tensor(padded, device=device)[:, skip:]}


def _deduplicate(
    rows: Sequence[Row], marks: Sequence[object] | None
) -> tuple[list[int], list[int]]:
    """Return the indices of the distinct rows and, for each row, which of these is its equal.

    Embeddings, and marks of rows that are not alike for all that, are equal when they are the same
    object.
    """
    kept: list[int] = []
    seen: dict[object, int] = {}
    copies = []
    for index, row in enumerate(rows):
        tokens: object = id(row) if isinstance(row, Tensor) else tuple(row)
        key = (tokens, None if marks is None else id(marks[index]))
        if key not in seen:
            seen[key] = len(kept)
            kept.append(index)
        copies.append(seen[key])
    return kept, copies


def shared_prefix(rows: Sequence[Row]) -> int:
    """Count the leading tokens that all rows share, leaving each row at least one of its own."""
    first = rows[0]
    length = min(len(row) for row in rows) - 1
    if isinstance(first, Tensor):
        return _shared_embeddings([torch.as_tensor(row)[:length] for row in rows])
    for row in rows[1:]:
        if length == 0:
            break
        pairs = zip(row[:length], first[:length], strict=True)
        length = next((i for i, (a, b) in enumerate(pairs) if a != b), length)
    return length


def _shared_embeddings(rows: Sequence[Tensor]) -> int:
    """Count the leading embeddings that rows `[token, d_model]` of one length share."""
    # The first differing place of all rows at once: on a GPU each answer costs a wait.
    differs = torch.stack([(row != rows[0]).any(-1) for row in rows]).any(0)
    return int(differs.long().argmax()) if bool(differs.any()) else len(differs)
