"""What a model expects after each token of given texts."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core._prefill import check_rows, input_device

_MAX_LOGITS = 1 << 26
"""Most logits computed at once (256 MiB as float32), unless a single text has more."""


def token_logprobs(
    model: nn.Module, input_ids: Sequence[Sequence[int]], *, batch_size: int = 64
) -> list[Tensor]:
    """Return log-probabilities (nats) of what follows each token.

    The result holds `4 * vocab` bytes per token. Beside it, memory is bounded: texts run together
    only while their logits, padding included, stay below 2^26 values.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        input_ids: Token ids of each text.
        batch_size: Most texts run at once.

    Returns:
        One float32 CPU tensor `[token, vocab]` per text, in order.

    Raises:
        PromptTooLongError: When a text does not fit into the model's context.
        ValueError: When a text is empty.
    """
    check_rows(model, input_ids)
    found: dict[int, Tensor] = {}
    training = model.training
    model.eval()
    try:
        for chunk in _chunks(input_ids, batch_size, int(arch.text_config(model).vocab_size)):
            logits = _logits(model, [input_ids[i] for i in chunk])
            for row, i in enumerate(chunk):
                # Text by text, so that no second copy of the padding is made.
                found[i] = logits[row, : len(input_ids[i])].float().log_softmax(-1).cpu()
    finally:
        model.train(training)
    return [found[i] for i in range(len(input_ids))]


def _logits(model: nn.Module, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return `[row, slot, vocab]`, rows padded on the right, where no token attends to it."""
    longest = max(len(row) for row in rows)
    ids = [[*row, *[0] * (longest - len(row))] for row in rows]
    with torch.no_grad():
        output = model(input_ids=torch.tensor(ids, device=input_device(model)), use_cache=False)
    logits: Tensor = output.logits
    return logits


def _chunks(rows: Sequence[Sequence[int]], batch_size: int, n_vocab: int) -> Iterator[list[int]]:
    """Yield indices of texts of like length whose logits fit into memory together."""
    chunk: list[int] = []
    # Ascending, so that the newest is the longest.
    for index in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        logits = (len(chunk) + 1) * len(rows[index]) * n_vocab
        if chunk and (len(chunk) == batch_size or logits > _MAX_LOGITS):
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
