"""How much of the budget one stage may plan to spend."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

MAX_ROWS = 200
"""Most replies that one tool call may ask for."""
TOKENS_PER_READING = 20
"""Tokens of an explanation as they come out, not as long as they may be; tools see to it that the
limit holds, so that planning with the longest would leave most of the budget unspent."""
_REPLIES_PER_AUDIT = 400
"""A whole audit draws about this many replies; the reply length follows from the budget."""
_SHORTEST_REPLY = 40
"""Fewer whole replies tell more than many that are cut: odd remarks stand at the end of a reply."""
_MIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Purse:
    """What is left; infinity where there is no limit."""

    turns: float
    calls: float
    tokens: float
    """Tokens that the target may generate: its own limit, or the one it shares with the reader."""
    seconds: float
    slowest: float = 0.0
    """Seconds that the slowest turn so far took."""
    reader_tokens: float = math.inf
    """Tokens that the verbalizer may generate: its own limit, or the one it shares with the
    target."""
    shared: bool = False
    """Whether target and verbalizer draw on one limit."""

    @classmethod
    def open(cls, remaining: Mapping[str, float | None], *, slowest: float = 0.0) -> "Purse":
        """Read the limits that matter to an auditor without a language model."""

        def left(name: str) -> float:
            value = remaining.get(name)
            return math.inf if value is None else value

        shared = left("model_tokens")
        return cls(
            turns=left("turns"),
            calls=left("tool_calls"),
            tokens=min(left("target_tokens"), shared),
            seconds=left("seconds"),
            slowest=slowest,
            reader_tokens=min(left("reader_tokens"), shared),
            shared=shared < math.inf,
        )

    @property
    def half(self) -> "Purse":
        """What may be spent while as much is kept for reading; all where that draws on its own."""
        return replace(self, tokens=self.tokens / 2) if self.shared else self

    @property
    def spent(self) -> bool:
        """True when this must be the last turn."""
        hurry = self.seconds < max(_MIN_SECONDS, 1.5 * self.slowest)
        # A call with any limit used up, also one that it would not need, ends the audit.
        dry = min(self.calls, self.tokens, self.reader_tokens) < 1
        return self.turns <= 1 or dry or hurry

    def reply_tokens(self) -> int:
        """Longest reply to ask for, in tokens."""
        return int(min(160, max(_SHORTEST_REPLY, self.tokens / _REPLIES_PER_AUDIT)))

    def prompts(
        self,
        wanted: int,
        *,
        samples: int,
        max_tokens: int,
        share: float,
        usual: float | None = None,
        least: int = 0,
    ) -> int:
        """How many prompts a stage may send.

        If replies are as long as usual, they stay within the share; if all are as long as they can
        be, within what is left, which is what tools insist on.

        Args:
            wanted: How many it would like to send.
            samples: Replies per prompt.
            max_tokens: Longest reply.
            share: Share of the target tokens left that the stage may use up.
            usual: Tokens of a usual reply, if known; else they count as the longest.
            least: So many whatever the share, where what is left allows them.
        """
        length = max_tokens if usual is None else min(usual, max_tokens)
        most = min(self.tokens / (samples * max_tokens), MAX_ROWS / samples, wanted)
        n = min(max(least, self.tokens * share / (samples * length)), most)
        return max(0, math.floor(n))

    def readings(self, wanted: int, share: float, *, sides: int = 2) -> int:
        """How many readings of each side a stage may plan, if they are as long as most are.

        Args:
            wanted: How many of each side it would like.
            share: Share of the verbalizer tokens left that the stage may use up.
            sides: Models, or texts, that are read as often as each other.
        """
        affordable = self.reader_tokens * share / (sides * TOKENS_PER_READING)
        return max(0, math.floor(min(wanted, affordable)))
