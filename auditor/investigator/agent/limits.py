"""How many tokens and dollars the next request may cost, and whether it must be the last one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from auditor.provider.protocol import Request, ThinkingBlock, ToolUseBlock

CHARS_PER_TOKEN = 3
"""Characters a token, few enough that the estimate of a length is rather too large."""
LAST_REPLY_TOKENS = 1500
"""Tokens of the auditor's own that are kept for its last turn."""
LEAST_REPLY_TOKENS = 500
"""Tokens below which an ordinary turn is not worth while."""
CALLING = ("tool_calls", "target_tokens", "reader_tokens", "model_tokens")
"""Limits that forbid further calls once they are used up, while the auditor may still think."""
_TWO_REQUESTS = 2.25
"""The next request is longer than this one."""


class Bound(NamedTuple):
    """What a request costs at most."""

    tokens: int
    """Tokens of the reply."""
    dollars: float | None
    """None when the price is not known."""


Estimate = Callable[[Request], Bound]


class Outlook(NamedTuple):
    """Whether there may be another request after the next one."""

    over: str | None = None
    """The limit that even the next request might exceed."""
    last: str | None = None
    """The limit that leaves room for one request, and for none after it."""


def plain_estimate(max_tokens: int) -> Estimate:
    """Return an estimate that knows no prices.

    Args:
        max_tokens: Longest reply of the model.
    """

    def estimate(request: Request) -> Bound:
        return Bound(request.reply_limit(max_tokens), None)

    return estimate


def length(request: Request) -> int:
    """Estimate the tokens of a request, rather too high, from its characters."""
    chars = len(request.system) + sum(len(tool.model_dump_json()) for tool in request.tools)
    for message in request.messages:
        for block in message.content:
            if isinstance(block, ToolUseBlock | ThinkingBlock):
                chars += len(block.model_dump_json())
            else:
                chars += len(block.text)
    return chars // CHARS_PER_TOKEN


def reply_cap(remaining: Mapping[str, float | None], max_tokens: int, *, last: bool) -> int | None:
    """Return the longest reply that the budget allows, None where that is the model's own limit.

    All but the last reply leave enough for a last one.
    """
    left = remaining.get("auditor_tokens")
    if left is None:
        return None
    kept = 0 if last else min(LAST_REPLY_TOKENS, max_tokens)
    allowed = int(left) - kept
    return None if allowed >= max_tokens else max(1, allowed)


def outlook(
    remaining: Mapping[str, float | None],
    bound: Bound,
    *,
    max_tokens: int,
    slowest: float,
) -> Outlook:
    """Say whether the next request fits the budget, and whether another one would.

    Args:
        remaining: What is left of each limit.
        bound: What the next request costs at most. Under a limit of dollars nothing is safe whose
            price is not known.
        max_tokens: Longest reply of the model.
        slowest: Seconds that the slowest turn took so far.
    """
    tokens, dollars = remaining.get("auditor_tokens"), remaining.get("dollars")
    if dollars is not None and (bound.dollars is None or bound.dollars > dollars):
        return Outlook(over="dollars")
    if tokens is not None and bound.tokens > tokens:
        return Outlook(over="auditor_tokens")
    tight = []
    if tokens is not None:
        wanted = min(LAST_REPLY_TOKENS, max_tokens) + min(LEAST_REPLY_TOKENS, max_tokens)
        tight.append(("auditor_tokens", tokens < wanted))
    if dollars is not None and bound.dollars is not None:
        tight.append(("dollars", dollars < _TWO_REQUESTS * bound.dollars))
    turns, seconds = remaining.get("turns"), remaining.get("seconds")
    tight.append(("turns", turns is not None and turns <= 1))
    tight.append(("seconds", seconds is not None and seconds < 2 * slowest))
    tight += [(name, remaining.get(name) == 0) for name in CALLING]
    return Outlook(last=next((name for name, is_tight in tight if is_tight), None))
