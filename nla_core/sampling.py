"""How text is drawn from a model, and what comes back."""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling parameters of one call; every row of a batch shares them."""

    temperature: float = 1.0
    """Softmax temperature; 0 is greedy."""
    top_p: float = 1.0
    """Nucleus mass kept before sampling, in (0, 1]."""
    max_tokens: int = 64
    """Most tokens generated per row, stop tokens not counted."""
    stop: tuple[str, ...] = ()
    """Strings that end a row; the text is cut before the first one."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 or more, got {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p!r}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be 1 or more, got {self.max_tokens!r}")


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled continuation."""

    text: str
    """Decoded continuation, without stop tokens or stop strings."""
    token_ids: tuple[int, ...]
    """Generated ids, without the stop token."""
    finish: FinishReason
