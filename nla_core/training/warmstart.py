"""Warm start: supervised fine-tuning on described activations.

The verbalizer learns the description of a vector (cross-entropy on the response), the
reconstructor the vector of a description (normalised squared error). A control learns from
descriptions of other rows' vectors; how much worse it is says how much the vectors matter.

`accelerate` spreads the rows of a step over processes; nothing here is made by hand for that.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from nla_core.fidelity import Baseline, mse_nrm
from nla_core.reconstructor import Reconstructor
from nla_core.training.config import Schedule
from nla_core.training.dataset import Dataset, Rows
from nla_core.training.network import InjectedModel, Texts, collate, response_ids
from nla_core.training.processes import mean_over_processes
from nla_core.training.progress import (
    Metrics,
    Progress,
    learning_rate,
    new_optimizer,
    read_metrics,
    set_rate,
)
from nla_core.verbalizer import Verbalizer

OnStep = Callable[[int, float], None]
LossOf = Callable[[nn.Module, Rows], Tensor]


def warm_start_verbalizer(
    verbalizer: Verbalizer,
    data: Dataset,
    schedule: Schedule,
    folder: Path,
    *,
    shuffled: bool = False,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> float:
    """Train a verbalizer in place on `av_sft` rows.

    Args:
        verbalizer: Untrained.
        data: Rows with a `prompt` and a `response`.
        schedule: Length and rate.
        folder: Where progress and metrics go; training resumes from there.
        shuffled: Permute the vectors inside each batch: the control.
        seed: Of that permutation.
        on_step: Called with step and loss (nats per token).

    Returns:
        Mean loss of the last tenth of the steps.

    Raises:
        RuntimeError: When the loss is no longer finite.
    """

    def loss_of(module: nn.Module, rows: Rows) -> Tensor:
        vectors = rows.vectors
        if shuffled:
            order = list(range(len(rows)))
            Random(f"{seed}|{rows.columns['doc_id'][0]}").shuffle(order)
            vectors = vectors[order]
        texts = responses(verbalizer, rows)
        logprobs = module(vectors.to(texts.ids.device), texts)
        loss: Tensor = -logprobs.sum() / mean_over_processes(texts.mask.sum())
        return loss

    return _fit(InjectedModel(verbalizer), loss_of, data, schedule, folder, on_step)


def responses(verbalizer: Verbalizer, rows: Rows) -> Texts:
    """Tokenize the responses of `av_sft` rows."""
    device = next(verbalizer.model.parameters()).device
    marker = verbalizer.sidecar.tokens.injection_char
    tokenized = [
        response_ids(
            verbalizer.tokenizer,
            prompt[0]["content"].replace("<INJECT>", marker),
            response,
            verbalizer.stop_ids,
        )
        for prompt, response in zip(rows.columns["prompt"], rows.columns["response"], strict=True)
    ]
    return collate(tokenized, device)


def warm_start_reconstructor(
    reconstructor: Reconstructor,
    data: Dataset,
    schedule: Schedule,
    folder: Path,
    *,
    on_step: OnStep | None = None,
) -> float:
    """Train a reconstructor in place on `ar_sft` rows.

    Args:
        reconstructor: Untrained, its head as the recipe wants it.
        data: Rows whose `prompt` is the filled template.
        schedule: Length and rate.
        folder: Where progress and metrics go; training resumes from there.
        on_step: Called with step and loss (`mse_nrm`).

    Returns:
        Mean loss of the last tenth of the steps.

    Raises:
        RuntimeError: When the loss is no longer finite.
    """
    scale = reconstructor.sidecar.mse_scale

    def loss_of(module: nn.Module, rows: Rows) -> Tensor:
        ids = [
            list(reconstructor.tokenizer(text, add_special_tokens=True)["input_ids"])
            for text in rows.columns["prompt"]
        ]
        batch, mask = reconstructor.collate(ids)
        return reconstruction_loss(module(batch, mask), rows.vectors.to(batch.device), scale).mean()

    return _fit(reconstructor.network, loss_of, data, schedule, folder, on_step)


def reconstruction_loss(predicted: Tensor, gold: Tensor, mse_scale: float | None) -> Tensor:
    """Return `[row]` float32 `mse_nrm`, with gradients."""
    return mse_nrm(predicted, gold, mse_scale).float()


def start_at_mean(reconstructor: Reconstructor, data: Dataset, baseline: Baseline) -> None:
    """Set the value head so that every text is read as about the mean direction.

    The head has no bias: it becomes the outer product of the mean activation and the mean of the
    states that it reads, at norm one on that mean.
    """
    rows = data.rows(0, min(256, len(data)))
    tokenizer: Any = reconstructor.tokenizer
    ids = [list(tokenizer(text, add_special_tokens=True)["input_ids"])
           for text in rows.columns["prompt"]]  # fmt: skip
    head = reconstructor.network.value_head
    with torch.no_grad():
        head.weight.copy_(torch.eye(head.weight.shape[0]))
        read = reconstructor.network(*reconstructor.collate(ids)).mean(0)
        mean = baseline.mu.to(read).float()
        head.weight.copy_(torch.outer(mean, read / read.dot(read)))


def _fit(
    module: nn.Module,
    loss_of: LossOf,
    data: Dataset,
    schedule: Schedule,
    folder: Path,
    on_step: OnStep | None,
) -> float:
    """Run a schedule with progress on disk."""
    from accelerate import Accelerator

    accelerator: Any = Accelerator()
    optimizer = new_optimizer(module, schedule, schedule.lr)
    progress = Progress(folder / "progress.safetensors", {"model": (module, optimizer)})
    first = progress.restore()
    metrics = Metrics(folder / "metrics.jsonl", step=first, active=accelerator.is_main_process)
    module.train()
    wrapped, running = accelerator.prepare(module, optimizer)
    late = 0.9 * schedule.steps
    # After a kill near the end, the logged steps stand for those that are not run again.
    tail: list[float] = [row["loss"] for row in read_metrics(metrics.path) if row["step"] > late]
    started = time.monotonic()
    for step in range(first, schedule.steps):
        rows = _share(data, step, schedule.batch_size, accelerator)
        loss = loss_of(wrapped, rows)
        accelerator.backward(loss)
        norm = float(accelerator.clip_grad_norm_(wrapped.parameters(), schedule.clip))
        set_rate(running, learning_rate(schedule, step))
        running.step()
        running.zero_grad()
        value = float(accelerator.reduce(loss.detach(), reduction="mean"))
        if not value == value or value in (float("inf"), float("-inf")):
            raise RuntimeError(f"training diverged at step {step}: loss {value}")
        done = step + 1
        if done > late:
            tail.append(value)
        if done % schedule.log_every == 0 or done == schedule.steps:
            seconds = round(time.monotonic() - started, 1)
            metrics.log(done, loss=value, grad_norm=norm, seconds=seconds)
        if on_step is not None:
            on_step(done, value)
        if accelerator.is_main_process and done % schedule.save_every == 0:
            progress.save(done)
    module.eval()
    return sum(tail) / max(1, len(tail))


def _share(data: Dataset, step: int, batch_size: int, accelerator: Any) -> Rows:
    """Return this process's part of a step's rows, the same number for each."""
    n, rank = accelerator.num_processes, accelerator.process_index
    each = max(1, batch_size // n)
    start = (step * n + rank) * each
    return data.rows(start, start + each)


def shards(rows: Dataset, size: int) -> Iterator[Tensor]:
    """Yield the vectors of a dataset, for a baseline."""
    for part in rows.batches(size):
        yield part.vectors
