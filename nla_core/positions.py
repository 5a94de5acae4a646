"""Where in a text to read: named policies over token positions.

Every policy returns ascending positions without repeats. `eligible` masks, one flag per token, say
which tokens may be chosen (not special ones, not the system prompt); None allows all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a rendered conversation, in token positions."""

    role: str
    start: int
    """First token of the turn's header."""
    content_start: int
    """First token after the header."""
    end: int
    """One past the turn's last token, its closing token included."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.content_start <= self.end:
            raise ValueError(
                f"a turn needs 0 <= start < content_start <= end, got {self.start}, "
                f"{self.content_start}, {self.end}"
            )


def last_token(n_tokens: int, *, eligible: Sequence[bool] | None = None) -> list[int]:
    """Return the last eligible position, if there is one."""
    return every_token(n_tokens, eligible=eligible)[-1:]


def every_token(
    n_tokens: int, *, eligible: Sequence[bool] | None = None, first: int = 0
) -> list[int]:
    """Return all eligible positions from `first` on.

    Raises:
        ValueError: When the mask is of another length.
    """
    if eligible is not None and len(eligible) != n_tokens:
        raise ValueError(f"{n_tokens} tokens need as many flags, got {len(eligible)}")
    return [i for i in range(max(first, 0), n_tokens) if eligible is None or eligible[i]]


def assistant_header(turns: Iterable[Turn], *, role: str = "assistant") -> list[int]:
    """Return the last header token of every turn of a role: where its reply is about to begin."""
    return sorted({turn.content_start - 1 for turn in turns if turn.role == role})


def turn_ends(turns: Iterable[Turn], *, role: str | None = None) -> list[int]:
    """Return the last token of every turn that has content, of one role or of all."""
    return sorted(
        {
            turn.end - 1
            for turn in turns
            if turn.end > turn.content_start and role in (None, turn.role)
        }
    )


def random_k(
    n_tokens: int,
    k: int,
    *,
    seed: int | bytes,
    eligible: Sequence[bool] | None = None,
    first: int = 0,
) -> list[int]:
    """Return `k` eligible positions at random from `first` on, all of them when there are fewer.

    Released autoencoders were trained on positions from 50 on, and read poorly before 10.
    """
    candidates = every_token(n_tokens, eligible=eligible, first=first)
    return sorted(Random(seed).sample(candidates, min(_count(k), len(candidates))))


def highest_divergence(
    divergences: Tensor | Sequence[float], k: int, *, eligible: Sequence[bool] | None = None
) -> list[int]:
    """Return the `k` positions at which target and baseline differ most.

    Args:
        divergences: `[token]`, see `kl_divergence`.
        k: Positions wanted.
        eligible: Which may be chosen.

    Raises:
        ValueError: When a divergence is not a number.
    """
    return _extreme(divergences, k, eligible, largest=True)


def worst_reconstructed(
    scores: Sequence[float | None], k: int, *, eligible: Sequence[bool] | None = None
) -> list[int]:
    """Return the `k` positions of lowest score (FVE or cosine); unknown scores are passed over."""
    known, mask = _known(scores, eligible)
    return _extreme(known, k, mask, largest=False)


def best_reconstructed(
    scores: Sequence[float | None], k: int, *, eligible: Sequence[bool] | None = None
) -> list[int]:
    """Return the `k` positions of highest score (FVE or cosine); unknown scores are passed over."""
    known, mask = _known(scores, eligible)
    return _extreme(known, k, mask, largest=True)


def kl_divergence(target: Tensor, baseline: Tensor) -> Tensor:
    """Return `[...]` KL(target || baseline) in nats, float32.

    Args:
        target: `[..., vocab]` logits or log-probabilities of the target's next token.
        baseline: The same of its baseline.

    Raises:
        ValueError: When the shapes differ.
    """
    if target.shape != baseline.shape:
        raise ValueError(f"shapes differ: {list(target.shape)} and {list(baseline.shape)}")
    ours, theirs = target.float().log_softmax(-1), baseline.float().log_softmax(-1)
    # A token that the target gives no probability counts nothing.
    terms = torch.where(ours.exp() > 0, ours.exp() * (ours - theirs), 0.0)
    return terms.sum(-1).clamp_min(0)


def _extreme(
    values: Tensor | Sequence[float], k: int, eligible: Sequence[bool] | None, *, largest: bool
) -> list[int]:
    """Return the `k` eligible positions of extreme value; the earlier one wins a tie."""
    numbers = torch.as_tensor(values, dtype=torch.float64).tolist()
    candidates = every_token(len(numbers), eligible=eligible)
    bad = next((i for i in candidates if numbers[i] != numbers[i]), None)
    if bad is not None:
        raise ValueError(f"the value at position {bad} is not a number")
    sign = -1 if largest else 1
    return sorted(sorted(candidates, key=lambda i: sign * numbers[i])[: _count(k)])


def _known(
    scores: Sequence[float | None], eligible: Sequence[bool] | None
) -> tuple[list[float], list[bool]]:
    mask = [score is not None and score == score for score in scores]
    allowed = set(every_token(len(scores), eligible=eligible))
    return (
        [0.0 if score is None else score for score in scores],
        [known and i in allowed for i, known in enumerate(mask)],
    )


def _count(k: int) -> int:
    if k < 0:
        raise ValueError(f"k must be 0 or more, got {k}")
    return k
