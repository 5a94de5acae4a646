"""Sampling from the sandbox's models, for cards, gates and people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


def prompt_ids(
    tokenizer: "PreTrainedTokenizerBase", user: str, *, system: str = "", prefill: str = ""
) -> list[int]:
    """Token ids of a chat up to where the reply goes on."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    text: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer(f"{text}{prefill}", add_special_tokens=False)["input_ids"]
    return ids


def replies(
    model: "nn.Module",
    tokenizer: "PreTrainedTokenizerBase",
    users: Sequence[str],
    *,
    system: str,
    seed: int,
    prefill: str = "",
    sampling: Sampling | None = None,
) -> list[str]:
    """Sample one reply to each user turn, at temperature 1 unless told otherwise."""
    from nla_core.decoding import generate

    prompts = [prompt_ids(tokenizer, u, system=system, prefill=prefill) for u in users]
    drawn = generate(
        model,
        prompts,
        sampling=sampling or Sampling(max_tokens=80),
        seeds=[derive_seed(seed, "reply", i) for i in range(len(users))],
        decode=lambda ids: str(tokenizer.decode(ids)),
        stop_ids=frozenset({int(tokenizer.eos_token_id)}),
    )
    return [g.text for g in drawn]
