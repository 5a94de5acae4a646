"""One training loop for the base model and for adapters.

CPU notes: one thread a process, bfloat16 weights for speed with a float32 master copy, documents
grouped by length so that little is padded.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from nla_core.seeds import derive_seed
from scenarios.sandbox.documents import Document

if TYPE_CHECKING:
    import torch
    from torch import nn

_POOL = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded documents."""

    ids: "torch.Tensor"
    """[batch, pos] int64."""
    weights: "torch.Tensor"
    """[batch, pos] float32, loss weight of predicting each token; 0 at padding."""
    mask: "torch.Tensor"
    """[batch, 1, pos, pos] bool, True where the query row may attend to the key column."""

    def to(self, device: str) -> Self:
        """Return the batch with its tables on a device."""
        tables = {name: getattr(self, name).to(device) for name in ("ids", "weights", "mask")}
        return replace(self, **tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast."""

    steps: int
    batch_size: int = 32
    lr: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then cosine to a tenth."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def collate(documents: Sequence[Document], *, pad_id: int) -> Batch:
    """Pad documents on the right and build their attention masks, cuts included."""
    import numpy as np
    import torch

    n, width = len(documents), max(len(d.ids) for d in documents)
    ids = np.full((n, width), pad_id, dtype=np.int64)
    weights = np.zeros((n, width), dtype=np.float32)
    mask = np.tile(np.tril(np.ones((width, width), dtype=bool)), (n, 1, 1))
    for row, doc in enumerate(documents):
        length = len(doc.ids)
        ids[row, :length] = doc.ids
        weights[row, :length] = doc.weights
        for cut in doc.cuts:
            mask[row, cut.start : cut.end, : cut.first_visible] = False
    return Batch(torch.from_numpy(ids), torch.from_numpy(weights), torch.from_numpy(mask)[:, None])


def batches(
    draw: Callable[[Random], Document], *, seed: int, batch_size: int, pad_id: int, start: int = 0
) -> Iterator[Batch]:
    """Endless batches of documents of similar length, from batch number `start` on."""
    for pool_number in count(start // _POOL):
        rng = Random(derive_seed(seed, "documents", pool_number))
        pool = sorted((draw(rng) for _ in range(_POOL * batch_size)), key=lambda d: len(d.ids))
        firsts = [i * batch_size for i in range(_POOL)]
        rng.shuffle(firsts)
        skipped = start % _POOL if pool_number == start // _POOL else 0
        for first in firsts[skipped:]:
            yield collate(pool[first : first + batch_size], pad_id=pad_id)


def weighted_loss(logits: "torch.Tensor", batch: Batch) -> "torch.Tensor":
    """Mean next-token cross-entropy (nats), weighted; `logits` is [batch, pos, vocab]."""
    import torch

    weights = batch.weights[:, 1:].reshape(-1)
    chosen = weights > 0
    flat = logits[:, :-1].reshape(-1, logits.shape[-1])[chosen]
    target = batch.ids[:, 1:].reshape(-1)[chosen]
    loss = torch.nn.functional.cross_entropy(flat.float(), target, reduction="none")
    return (loss * weights[chosen]).sum() / weights[chosen].sum()


class Trainer:
    """AdamW with a float32 master copy, whose progress survives a kill.

    The progress file is safetensors: master weights and both moments, the step in its metadata.
    """

    def __init__(
        self,
        model: "nn.Module",
        schedule: Schedule,
        *,
        device: str = "cpu",
        dtype: "torch.dtype | None" = None,
        progress: Path | None = None,
        save_every: int = 500,
    ) -> None:
        """Train the parameters of `model` that require gradients.

        Args:
            model: A causal language model in float32.
            schedule: Steps and learning rate.
            device: Where to compute.
            dtype: Compute dtype; None keeps float32.
            progress: Where to save progress, and to resume from when it exists.
            save_every: Steps between saves.
        """
        import torch

        self.model, self.schedule, self.device = model, schedule, device
        self.progress, self.save_every = progress, save_every
        model.to(device=device).train()
        self.live = [p for p in model.parameters() if p.requires_grad]
        self.master = [p.detach().to(torch.float32, copy=True) for p in self.live]
        self.optimizer = torch.optim.AdamW(
            self.master, lr=schedule.lr, betas=(0.9, 0.98), weight_decay=schedule.weight_decay
        )
        self.step = 0
        model.to(dtype or torch.float32)
        if progress is not None and progress.exists():
            self._restore(progress)

    def run(
        self,
        data: Callable[[int], Iterator[Batch]],
        *,
        on_step: Callable[[int, float, float], None] | None = None,
    ) -> float:
        """Train to the end of the schedule.

        Args:
            data: Gives the batches from a step on.
            on_step: Called with step, loss (nats) and seconds so far.

        Returns:
            Mean loss of the last twentieth of the steps.

        Raises:
            RuntimeError: When the loss is no longer finite.
        """
        import torch

        started, tail = time.monotonic(), []
        stream = data(self.step)
        while self.step < self.schedule.steps:
            value = self._advance(next(stream))
            if not math.isfinite(value):
                raise RuntimeError(f"training diverged at step {self.step}: loss {value}")
            if self.step >= 0.95 * self.schedule.steps:
                tail.append(value)
            self.step += 1
            if on_step is not None:
                on_step(self.step, value, time.monotonic() - started)
            if self.progress is not None and self.step % self.save_every == 0:
                self._save(self.progress)
        self.model.to(torch.float32)
        self._publish()
        self.model.eval()
        return sum(tail) / max(1, len(tail))

    def loss(self, batch: Batch) -> "torch.Tensor":
        """Return the loss of one batch, a scalar in nats with its graph."""
        logits = self.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
        return weighted_loss(logits, batch)

    def _advance(self, batch: Batch) -> float:
        import torch

        loss = self.loss(batch.to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        for p, m in zip(self.live, self.master, strict=True):
            m.grad = None if p.grad is None else p.grad.to(torch.float32)
            p.grad = None
        torch.nn.utils.clip_grad_norm_(self.master, self.schedule.clip)
        self.optimizer.step()
        self._publish()
        return float(loss.detach())

    def _publish(self) -> None:
        import torch

        with torch.no_grad():
            for p, m in zip(self.live, self.master, strict=True):
                p.copy_(m)

    def _save(self, path: Path) -> None:
        from safetensors.torch import save_file

        tensors: dict[str, torch.Tensor] = {}
        for i, m in enumerate(self.master):
            state = self.optimizer.state[m]
            tensors |= {f"{i}.weight": m, f"{i}.exp_avg": state["exp_avg"]}
            tensors[f"{i}.exp_avg_sq"] = state["exp_avg_sq"]
        part = path.with_suffix(".part")
        save_file(tensors, part, metadata={"step": str(self.step)})
        part.replace(path)

    def _restore(self, path: Path) -> None:
        import torch
        from safetensors import safe_open

        with safe_open(path, framework="pt", device=self.device) as file:
            self.step = int(file.metadata()["step"])
            with torch.no_grad():
                for i, m in enumerate(self.master):
                    m.copy_(file.get_tensor(f"{i}.weight"))
                    self.optimizer.state[m] = {
                        "step": torch.tensor(float(self.step)),
                        "exp_avg": file.get_tensor(f"{i}.exp_avg"),
                        "exp_avg_sq": file.get_tensor(f"{i}.exp_avg_sq"),
                    }
        self._publish()
