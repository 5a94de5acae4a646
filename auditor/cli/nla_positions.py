"""`--positions`: which tokens of a text to read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditor.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.positions import Turn

Policy = Literal[
    "every", "last", "header", "turn-ends", "random", "divergent", "worst", "best", "listed"
]

FORMS = (
    "every, last, header, turn-ends, random:K, divergent:K, worst:K, best:K, or numbers such as "
    "0,5,-1"
)
_PLAIN: dict[str, Policy] = {
    "every": "every",
    "last": "last",
    "header": "header",
    "turn-ends": "turn-ends",
}
_COUNTED: dict[str, Policy] = {
    "random": "random",
    "divergent": "divergent",
    "worst": "worst",
    "best": "best",
}
_COUNT = re.compile(r"(random|divergent|worst|best):([0-9]{1,9})", re.ASCII)
_NUMBERS = re.compile(r"-?[0-9]{1,9}(\s*,\s*-?[0-9]{1,9})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Positions:
    """One way of choosing tokens."""

    policy: Policy
    k: int = 0
    """How many, for random, divergent, worst and best."""
    listed: tuple[int, ...] = ()
    """Token numbers, negative ones from the end."""

    @property
    def by_score(self) -> bool:
        """Whether every token must be read first."""
        return self.policy in ("worst", "best")


def parse_positions(text: str) -> Positions:
    """Parse what was written after `--positions`.

    Raises:
        UsageError: When it is none of the forms.
    """
    word = text.strip()
    if word in _PLAIN:
        return Positions(_PLAIN[word])
    counted = _COUNT.fullmatch(word)
    if counted and int(counted[2]) > 0:
        return Positions(_COUNTED[counted[1]], k=int(counted[2]))
    if _NUMBERS.fullmatch(word):
        return Positions("listed", listed=tuple(int(part) for part in word.split(",")))
    raise UsageError(f"these positions mean nothing: {text[:60]!r}; write {FORMS}")


def choose(
    wanted: Positions,
    *,
    eligible: Sequence[bool],
    turns: "Sequence[Turn] | None",
    seed: int,
    divergences: "Callable[[], Tensor] | None" = None,
) -> list[int]:
    """Return the token numbers to read, ascending; for worst and best all that they choose from.

    Args:
        wanted: The policy.
        eligible: Which tokens a policy may choose, one flag each; listed ones may be any.
        turns: Turns of the conversation; None when the text is no conversation.
        seed: Of the random policy.
        divergences: Gives `[token]` how far the next tokens that the model expects are from a
            baseline's, for the divergent policy; None when there is no baseline.

    Raises:
        UsageError: When there is no such token, or nothing to choose from.
    """
    from nla_core import positions
    from nla_core.seeds import derive_seed

    n = len(eligible)
    if wanted.policy == "listed":
        return _listed(wanted.listed, n)
    if wanted.policy in ("header", "turn-ends"):
        if turns is None:
            raise UsageError(f"positions {wanted.policy} need a conversation; add --chat")
        at = positions.assistant_header if wanted.policy == "header" else positions.turn_ends
        found = at(turns)
    elif wanted.policy == "last":
        found = positions.last_token(n, eligible=eligible)
    elif wanted.policy == "random":
        drawn = derive_seed(seed, "positions")
        found = positions.random_k(n, wanted.k, seed=drawn, eligible=eligible)
    elif wanted.policy == "divergent":
        if divergences is None:
            raise UsageError(
                "positions divergent need a model to compare with; name it with --baseline, or the "
                "--adapter that makes the difference"
            )
        found = positions.highest_divergence(divergences(), wanted.k, eligible=eligible)
    else:
        found = positions.every_token(n, eligible=eligible)
    if not found:
        raise UsageError("the text has no token to read; write more of it")
    return found


def _listed(listed: Sequence[int], n: int) -> list[int]:
    for position in listed:
        if not -n <= position < n:
            raise UsageError(
                f"position {position} does not exist; the text has {n} tokens, 0 to {n - 1}"
            )
    return sorted({position % n for position in listed})
