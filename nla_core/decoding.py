"""The one batched sampler: targets, verbalizers and training rollouts all draw text here.

1. Prompts are sorted by length and cut into batches, so memory does not grow with their number.
2. A batch is prefilled: equal prompts and the common prefix are computed once (`_prefill`).
3. At each step row r draws one token with its own random number (`_draw`), so that a sample
   depends on its own prompt and seed, and on its batch-mates only through float rounding.
4. Rows that are done leave the batch once they are a twentieth of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core._draw import draw, uniforms
from nla_core._prefill import Batch, PromptTooLongError, Row, check_rows, prefill
from nla_core._stopping import Stopper
from nla_core.insertion import Insertions, check_insertions
from nla_core.sampling import FinishReason, Generation, Sampling

__all__ = ["PromptTooLongError", "Row", "generate", "next_token_logprobs"]

_KEEP_WHILE_ACTIVE = 0.95
"""Dropping rows from the cache pays only once this share or less of them is active."""


def generate(
    model: nn.Module,
    prompts: Sequence[Row],
    *,
    sampling: Sampling,
    seeds: Sequence[int],
    decode: Callable[[Sequence[int]], str],
    stop_ids: frozenset[int] = frozenset(),
    batch_size: int = 256,
    insertions: Insertions | None = None,
) -> list[Generation]:
    """Continue every prompt.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        prompts: Token ids, or embeddings `[token, d_model]` as they enter the first block (after
            any embedding multiplier); one kind per call.
        sampling: How to draw; a row also ends where the model's context does.
        seeds: One non-negative seed per prompt. Not used at temperature 0.
        decode: Turns generated ids into text.
        stop_ids: Tokens that end a row; they are not part of the result.
        batch_size: Rows run at once.
        insertions: Vectors that are added to the residual stream at tokens of the prompts.

    Returns:
        One generation per prompt, in order.

    Raises:
        PromptTooLongError: When a prompt leaves no room in the model's context.
        ValueError: On an empty prompt, a wrong number of seeds, insertions that do not fit, or
            logits that are not numbers.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
    check_rows(model, prompts)
    if insertions is not None:
        check_insertions(model, prompts, insertions)
    stopper = Stopper(sampling.stop, decode)
    done: dict[int, Generation] = {}
    with _evaluating(model), torch.inference_mode():
        for chunk in _chunks(prompts, batch_size):
            rows = [prompts[i] for i in chunk]
            here = None if insertions is None else insertions.of(chunk)
            own = [seeds[i] for i in chunk]
            run = _Run(model, rows, sampling, own, stopper, stop_ids, here)
            done.update(zip(chunk, run.finish(), strict=True))
    return [done[i] for i in range(len(prompts))]


def next_token_logprobs(
    model: nn.Module, prompts: Sequence[Row], *, batch_size: int = 256
) -> Tensor:
    """Return `[prompt, vocab]` float32 log-probabilities (nats) of each prompt's next token.

    Raises:
        PromptTooLongError: When a prompt leaves no room in the model's context.
        ValueError: When a prompt is empty.
    """
    check_rows(model, prompts)
    if not prompts:
        return torch.empty(0, int(arch.text_config(model).vocab_size))
    done: dict[int, Tensor] = {}
    with _evaluating(model), torch.no_grad():
        for chunk in _chunks(prompts, batch_size):
            logits = prefill(model, [prompts[i] for i in chunk]).logits
            done.update(zip(chunk, logits.float().log_softmax(-1).cpu(), strict=True))
    return torch.stack([done[i] for i in range(len(prompts))])


class _Run:
    """One batch from prefill to its last row."""

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[Row],
        sampling: Sampling,
        seeds: Sequence[int],
        stopper: Stopper,
        stop_ids: frozenset[int],
        insertions: Insertions | None,
    ) -> None:
        self._model, self._sampling = model, sampling
        self._stopper, self._stop_ids = stopper, stop_ids
        context = arch.context_length(model)
        room = [sampling.max_tokens if context is None else context - len(row) for row in rows]
        self._limits = [min(sampling.max_tokens, n) for n in room]
        self._ids: list[list[int]] = [[] for _ in rows]
        self._finish: list[FinishReason | None] = [None] * len(rows)
        self._batch: Batch = prefill(model, rows, insertions)
        self._members = list(range(len(rows)))
        """Row at each position of the batch; rows that are done stay until they are dropped."""
        n_steps = max(self._limits)
        greedy = sampling.temperature == 0
        table = (
            torch.zeros(len(rows), 1).expand(-1, n_steps) if greedy else uniforms(seeds, n_steps)
        )
        device = self._batch.logits.device
        self._uniforms = table.to(device, torch.float32 if device.type == "mps" else table.dtype)

    def finish(self) -> list[Generation]:
        """Draw until every row is done."""
        step = 0
        while True:
            tokens = draw(self._batch.logits, self._sampling, self._uniforms[:, step])
            active = self._record(tokens.tolist())
            if not active:
                break
            if len(active) <= _KEEP_WHILE_ACTIVE * len(self._members):
                tokens = self._drop_done(tokens, active)
            self._batch.advance(self._model, tokens)
            step += 1
        return [
            self._stopper.generation(ids, finish or "length")
            for ids, finish in zip(self._ids, self._finish, strict=True)
        ]

    def _record(self, tokens: list[int]) -> list[int]:
        """Store one token per batch position; return the positions that go on."""
        active = []
        n_vocab = self._batch.logits.shape[-1]
        for position, (row, token) in enumerate(zip(self._members, tokens, strict=True)):
            if self._finish[row] is not None:
                continue
            if token >= n_vocab:
                raise ValueError("the model's logits are not numbers; check its weights and dtype")
            self._finish[row] = self._after(self._ids[row], token, self._limits[row])
            if self._finish[row] is None:
                active.append(position)
        return active

    def _after(self, ids: list[int], token: int, limit: int) -> FinishReason | None:
        if token in self._stop_ids:
            return "stop"
        ids.append(token)
        if self._stopper.hit(ids):
            return "stop"
        return "length" if len(ids) >= limit else None

    def _drop_done(self, tokens: Tensor, active: list[int]) -> Tensor:
        order = _filled(active)
        self._members = [self._members[position] for position in order]
        self._batch.shrink(order)
        rows = torch.tensor(order, device=tokens.device)
        self._uniforms = self._uniforms.index_select(0, rows)
        return tokens.index_select(0, rows)


def _filled(kept: list[int]) -> list[int]:
    """Order positions (given sorted) so that as many as possible stay where they are.

    The last ones fill the gaps that the others leave below their number.
    """
    n = len(kept)
    low = {position for position in kept if position < n}
    high = iter(kept[len(low) :])
    return [position if position in low else next(high) for position in range(n)]


def _chunks(prompts: Sequence[Row], batch_size: int) -> Iterator[list[int]]:
    """Yield indices of prompts in batches of like length, equal prompts side by side."""

    def key(index: int) -> tuple[int, Sequence[int]]:
        row = prompts[index]
        return len(row), (id(row),) if isinstance(row, Tensor) else tuple(row)

    order = sorted(range(len(prompts)), key=key)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
