"""Warm start: supervised fine-tuning on described activations.

The verbalizer learns the description of a vector (cross-entropy on the response), the
reconstructor the vector of a description (normalised squared error). A control learns from
descriptions of other rows' vectors; how much worse it is says how much the vectors matter.

`accelerate` spreads the rows of a step over processes; nothing here is made by hand for that.
"""

import math
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
from nla_core.training.processes import even_share, is_main, mean_over_processes
from nla_core.training.progress import Metrics, Progress, learning_rate, read_metrics
from nla_core.training.trained import Trained
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

    def permuted(rows: Rows) -> Rows:
        order = list(range(len(rows)))
        Random(f"{seed}|{rows.columns['doc_id'][0]}").shuffle(order)
        return Rows(rows.vectors[order], rows.columns)

    def loss_of(module: nn.Module, rows: Rows) -> Tensor:
        texts = responses(verbalizer, rows)
        logprobs = module(rows.vectors.to(texts.ids.device), texts)
        loss: Tensor = -logprobs.sum() / mean_over_processes(texts.mask.sum())
        return loss

    change = permuted if shuffled else None
    network = InjectedModel(verbalizer)
    return _fit(network, loss_of, data, schedule, folder, on_step, change=change)


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
    *,
    change: Callable[[Rows], Rows] | None = None,
) -> float:
    """Run a schedule with progress on disk."""
    low, high = even_share(schedule.batch_size)
    module.train()
    trained = Trained(module, schedule, schedule.lr)
    progress = Progress(folder / "progress.safetensors", {"model": trained})
    first = progress.restore()
    metrics = Metrics(folder / "metrics.jsonl", step=first, active=is_main())
    late = 0.9 * schedule.steps
    # After a kill near the end, the logged steps stand for those that are not run again.
    tail: list[float] = [row["loss"] for row in read_metrics(metrics.path) if row["step"] > late]
    started = time.monotonic()
    for step in range(first, schedule.steps):
        rows = data.rows(step * schedule.batch_size, (step + 1) * schedule.batch_size)
        # What is done to a batch must not depend on how it is dealt.
        loss = loss_of(trained.running, (change(rows) if change else rows).part(low, high))
        norm = trained.step(loss, learning_rate(schedule, step))
        value = float(mean_over_processes(loss.detach()))
        if not math.isfinite(value):
            raise RuntimeError(f"training diverged at step {step}: loss {value}")
        done = step + 1
        if done > late:
            tail.append(value)
        if done % schedule.log_every == 0 or done == schedule.steps:
            seconds = round(time.monotonic() - started, 1)
            metrics.log(done, loss=value, grad_norm=norm, seconds=seconds)
        if on_step is not None:
            on_step(done, value)
        if done % schedule.save_every == 0:
            progress.save(done)
    trained.gather()
    module.eval()
    return sum(tail) / max(1, len(tail))


def shards(rows: Dataset, size: int) -> Iterator[Tensor]:
    """Yield the vectors of a dataset, for a baseline."""
    for part in rows.batches(size):
        yield part.vectors
