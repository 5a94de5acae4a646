"""A key/value cache that appends in place, and the tiling of one shared prefix to many rows.

Transformers' own dynamic cache copies everything at each step; on a small model that copy is half
of the time. This one over-allocates and hands out views.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

_ROOM = 32
"""Least number of free slots allocated when a layer grows."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values `[row, head, slot, d_head]` of one block, kept in a larger buffer."""

    keys: Tensor
    values: Tensor
    _stored: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append new slots and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._stored is None or end > self._stored[0].shape[-2]:
            self._stored = (
                _enlarged(self.keys, key_states, start, end),
                _enlarged(self.values, value_states, start, end),
            )
        keys, values = self._stored
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep (or repeat) rows."""
        if self._stored is None:
            return
        end = self.get_seq_length()
        keys, values = (stored.index_select(0, indices) for stored in self._stored)
        self._stored = (keys, values)
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]

    def shrink(self, n_rows: int, to: Tensor, source: Tensor) -> None:
        """Keep the first `n_rows` rows, after copying rows `source` over rows `to`, in place."""
        assert self._stored is not None  # rows are dropped after a forward pass
        end = self.get_seq_length()
        for used in (self.keys, self.values):
            used.index_copy_(0, to, used.index_select(0, source))
        keys, values = (stored[:n_rows] for stored in self._stored)
        self._stored = (keys, values)
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]


def _enlarged(old: Tensor, new: Tensor, start: int, end: int) -> Tensor:
    rows, heads, _, width = new.shape
    buffer = new.new_empty(rows, heads, end + max(_ROOM, end // 2), width)
    if start:
        buffer[:, :, :start] = old
    return buffer


def new_cache() -> Any:
    """Return an empty cache of growing layers.

    Every layer keeps all slots, sliding-window ones too: the window is applied by the mask, and a
    prefix can then be shifted.
    """
    cache = DynamicCache()
    cache.layer_class_to_replicate = GrowingLayer
    return cache


def tile_prefix(prefix: Any, shifts: Sequence[int]) -> Any:
    """Copy a one-row cache to many rows, moving row r's slots right by `shifts[r]`.

    Slots that a shift pushes past the end are dropped, and slots it opens at the front hold
    arbitrary finite values, for the caller's mask to hide.
    """
    tiled = new_cache()
    length = prefix.get_seq_length()
    device = prefix.layers[0].keys.device
    moved = torch.arange(length, device=device) - torch.tensor(list(shifts), device=device)[:, None]
    source = moved.clamp(min=0).flatten()
    for index, layer in enumerate(prefix.layers):
        keys, values = (
            states[0].index_select(1, source).unflatten(1, (len(shifts), length)).transpose(0, 1)
            for states in (layer.keys, layer.values)
        )
        tiled.update(keys, values, index)
    return tiled
