"""Putting an activation into the verbalizer's prompt, in the place of one token's embedding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core.sidecar import SidecarError, TokenIds

PLACEHOLDER = "<INJECT>"
"""Stands for the marker in prompts that people write."""
_SMALLEST_NORM = 1e-12
NOISE_NORM = 1e-6
"""Below this norm a vector has no direction to speak of: scaling it up scales up rounding."""


@dataclass(frozen=True, slots=True)
class InjectionPrompt:
    """A tokenized prompt with one place for a vector."""

    ids: tuple[int, ...]
    position: int
    """Index of the marker."""


def canonical_prompt(tokenizer: Any, av_template: str, tokens: TokenIds) -> InjectionPrompt:
    """Tokenize the verbalizer's own prompt.

    Raises:
        SidecarError: When the marker is not there exactly once, between its two neighbours.
    """
    return _prompt(tokenizer, av_template.format(injection_char=tokens.injection_char), tokens)


def custom_prompt(tokenizer: Any, message: str, tokens: TokenIds) -> InjectionPrompt:
    """Tokenize a user message of one's own, with `<INJECT>` where the vector goes.

    Raises:
        SidecarError: When the marker is not there exactly once, between its two neighbours.
    """
    return _prompt(tokenizer, message.replace(PLACEHOLDER, tokens.injection_char), tokens)


def chat_ids(tokenizer: Any, message: str) -> list[int]:
    """Tokenize one user message and the assistant's header, in one step.

    Chat templates write the beginning-of-sequence token themselves; rendering to text and encoding
    that with special tokens would add another.

    Raises:
        SidecarError: When the tokenizer has no chat template.
    """
    turns = [{"role": "user", "content": message}]
    try:
        return conversation_ids(tokenizer, turns, header=True)
    except ValueError as error:
        what = " ".join(str(error).split())
        raise SidecarError(f"the tokenizer cannot render a chat: {what[:200]}") from None


def conversation_ids(
    tokenizer: Any, turns: Sequence[Mapping[str, Any]], *, header: bool, **settings: Any
) -> list[int]:
    """Tokenize turns in one step, with the header of the assistant's next one when asked for.

    Settings are those of the chat template; one that it does not know changes nothing.
    """
    found = tokenizer.apply_chat_template(
        turns, tokenize=True, add_generation_prompt=header, **settings
    )
    # A BatchEncoding since Transformers 5, where iteration yields its keys.
    ids = found["input_ids"] if hasattr(found, "keys") else found
    return [int(i) for i in (ids[0] if ids and isinstance(ids[0], list) else ids)]


def find_site(ids: Sequence[int], tokens: TokenIds) -> int:
    """Return where the marker stands between its two neighbours.

    Raises:
        SidecarError: When there is no such place or more than one.
    """
    marker = tokens.injection_token_id
    places = [i for i, token in enumerate(ids) if token == marker]
    wanted = (tokens.injection_left_neighbor_id, tokens.injection_right_neighbor_id)
    found = {i: (ids[i - 1], ids[i + 1]) for i in places if 0 < i < len(ids) - 1}
    sites = [i for i, around in found.items() if around == wanted]
    if len(sites) == 1:
        return sites[0]
    if sites:
        raise SidecarError(
            f"the prompt has {len(sites)} places for a vector, at tokens "
            f"{', '.join(map(str, sites))}; it must have one"
        )
    if found:
        (left, right), (want_left, want_right) = next(iter(found.values())), wanted
        raise SidecarError(
            f"the marker (id {marker}) stands between ids {left} and {right}, "
            f"the sidecar says {want_left} and {want_right}"
        )
    raise SidecarError(f"the prompt does not hold the marker (id {marker}) inside its text")


def prompt_embeddings(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """Return `[token, d_model]` float32 embeddings of ids as they enter the first block.

    Rows of the embedding table, multiplied by sqrt(d_model) in float32 for the Gemma family.
    """
    table = arch.unwrap(model).get_input_embeddings().weight
    rows: Tensor = table[torch.tensor(list(ids), device=table.device)].detach().float()
    return rows * arch.embedding_multiplier(model)


def scaled(vectors: Tensor, scale: float) -> Tensor:
    """Return vectors `[n, d_model]` in float32, scaled to a norm: v * scale / max(|v|, 1e-12).

    Zero vectors stay zero. The formula is the reference implementation's.
    """
    wide = vectors.float()
    norms: Tensor = wide.norm(dim=-1, keepdim=True)
    return wide * (scale / norms.clamp_min(_SMALLEST_NORM))


def inject(
    embeddings: Tensor,
    position: int,
    vectors: Tensor,
    *,
    scale: float,
    affine: nn.Module | None = None,
) -> Tensor:
    """Replace one row of a prompt by each vector, scaled.

    Args:
        embeddings: `[token, d_model]`, any embedding multiplier already applied.
        position: The row to replace.
        vectors: `[n, d_model]` activations, raw.
        scale: L2 norm of the injected row; it is not multiplied by the embedding multiplier.
        affine: A learned map of the scaled vectors, or none.

    Returns:
        `[n, token, d_model]` in the dtype of the embeddings.

    Raises:
        ValueError: When a vector is not finite or of another width.
    """
    check_vectors(vectors, embeddings.shape[-1])
    prompts = embeddings.repeat(len(vectors), 1, 1)
    rows = scaled(vectors.to(embeddings.device), scale)
    if affine is not None:
        with torch.no_grad():
            rows = affine(rows)
    prompts[:, position] = rows.to(embeddings.dtype)
    return prompts


def check_vectors(vectors: Tensor, d_model: int) -> None:
    """Refuse activations that cannot be injected.

    Raises:
        ValueError: When they are not `[n, d_model]`, or one is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[-1] != d_model:
        raise ValueError(
            f"activations must be [n, {d_model}], got {list(vectors.shape)}; "
            "were they captured from the model this verbalizer is for?"
        )
    bad = ~torch.isfinite(vectors).all(dim=-1)
    if bool(bad.any()):
        raise ValueError(
            f"activation {int(bad.nonzero()[0])} is not finite ({int(bad.sum())} of {len(vectors)})"
        )


def _prompt(tokenizer: Any, message: str, tokens: TokenIds) -> InjectionPrompt:
    ids = chat_ids(tokenizer, message)
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise SidecarError(f"the prompt begins with the beginning-of-sequence id {bos} twice")
    return InjectionPrompt(tuple(ids), find_site(ids, tokens))
