"""The verbalizer as a module to train: texts that follow an injected vector, and their logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core.injection import conversation_ids, scaled
from nla_core.verbalizer import Verbalizer


@dataclass(frozen=True, slots=True)
class Texts:
    """Responses, padded on the right."""

    ids: Tensor
    """`[row, token]` int64."""
    mask: Tensor
    """`[row, token]` bool, True at real tokens."""


def collate(rows: Sequence[Sequence[int]], device: torch.device) -> Texts:
    """Pad responses on the right."""
    longest = max((len(row) for row in rows), default=0)
    padded = [[*row, *[0] * (longest - len(row))] for row in rows]
    ids = torch.tensor(padded, dtype=torch.long, device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return Texts(ids, torch.arange(longest, device=device) < lengths[:, None])


class InjectedModel(nn.Module):
    """A causal model that continues the verbalizer's prompt, with gradients everywhere."""

    def __init__(self, verbalizer: Verbalizer) -> None:
        super().__init__()
        self.model = verbalizer.model
        self.affine: nn.Module | None = verbalizer.affine
        self._prompt = verbalizer.prompt
        self._scale = verbalizer.injection_scale
        # What `accelerate` asks a network about how to shard it.
        self._no_split_modules = arch.block_classes(self.model)

    def forward(self, vectors: Tensor, texts: Texts) -> Tensor:
        """Return the log-probabilities (nats) of the texts' tokens.

        Args:
            vectors: `[row, d_model]` activations, raw.
            texts: One response a row. Padding on the right needs no mask under causal attention.

        Returns:
            `[row, token]` float32, 0 at padding.
        """
        logits = self.logits(vectors, texts)
        chosen = logits.gather(-1, texts.ids[..., None]).squeeze(-1)
        logprobs = chosen - logits.logsumexp(-1)
        return logprobs.masked_fill(~texts.mask, 0.0)

    def logits(self, vectors: Tensor, texts: Texts) -> Tensor:
        """Return `[row, token, vocab]` float32: what was expected at each token of the texts."""
        model: Any = self.model
        prompt = torch.tensor(self._prompt.ids, device=texts.ids.device)
        ids = torch.cat([prompt.expand(len(texts.ids), -1), texts.ids], dim=1)
        embedded: Tensor = model.get_input_embeddings()(ids)
        injected = scaled(vectors.to(embedded.device), self._scale)
        if self.affine is not None:
            injected = self.affine(injected)
        site = torch.arange(ids.shape[1], device=ids.device) == self._prompt.position
        embedded = torch.where(site[:, None], injected.to(embedded.dtype)[:, None], embedded)
        n_tokens = texts.ids.shape[1]
        output = model(inputs_embeds=embedded, use_cache=False, logits_to_keep=n_tokens + 1)
        logits: Tensor = output.logits[:, :-1]
        return logits.float()


def response_ids(
    tokenizer: Any, message: str, response: str, stop_ids: frozenset[int]
) -> list[int]:
    """Tokenize a response as the chat template would, up to and with its first stop token.

    Raises:
        ValueError: When the template writes the prompt otherwise once there is a response.
    """
    turns = [{"role": "user", "content": message}]
    before = conversation_ids(tokenizer, turns, header=True)
    answered = [*turns, {"role": "assistant", "content": response}]
    whole = conversation_ids(tokenizer, answered, header=False)
    if whole[: len(before)] != before:
        raise ValueError("the chat template changes the prompt when a response follows it")
    ids = whole[len(before) :]
    end = next((i for i, token in enumerate(ids) if token in stop_ids), None)
    return ids if end is None else ids[: end + 1]
