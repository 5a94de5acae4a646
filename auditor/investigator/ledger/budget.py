"""How much of the budget one stage may plan to spend."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

MAX_ROWS = 200
"""Most replies that one tool call may ask for."""
_REPLIES_PER_AUDIT = 400
"""A whole audit draws about this many replies; the reply length follows from the budget."""
_MIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Purse:
    """What is left; infinity where there is no limit."""

    turns: float
    calls: float
    tokens: float
    seconds: float
    slowest: float = 0.0
    """Seconds that the slowest turn so far took."""

    @classmethod
    def open(cls, remaining: Mapping[str, float | None], *, slowest: float = 0.0) -> "Purse":
        """Read the limits that matter to an auditor without a language model."""

        def left(name: str) -> float:
            value = remaining.get(name)
            return math.inf if value is None else value

        return cls(
            left("turns"), left("tool_calls"), left("target_tokens"), left("seconds"), slowest
        )

    @property
    def spent(self) -> bool:
        """True when this must be the last turn."""
        hurry = self.seconds < max(_MIN_SECONDS, 1.5 * self.slowest)
        return self.turns <= 1 or self.calls < 1 or self.tokens < 1 or hurry

    def reply_tokens(self) -> int:
        """Longest reply to ask for, in tokens."""
        return int(min(160, max(24, self.tokens / _REPLIES_PER_AUDIT)))

    def prompts(self, wanted: int, *, samples: int, max_tokens: int, share: float) -> int:
        """How many prompts a stage may send if all replies are as long as they can be.

        Args:
            wanted: How many it would like to send.
            samples: Replies per prompt.
            max_tokens: Longest reply.
            share: Share of the target tokens left that the stage may use up.
        """
        affordable = min(self.tokens * share / (samples * max_tokens), MAX_ROWS / samples)
        return max(0, min(wanted, math.floor(min(affordable, wanted))))
