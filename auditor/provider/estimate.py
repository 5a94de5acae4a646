"""What a request can cost at most, before it is made.

Input is bounded by its bytes: a byte-level vocabulary never has more tokens than bytes. That is
some four times what English text takes, so of a conversation that goes on only the new part is
bounded so; the tokens of its beginning are known from the reply before. Output is bounded by
`max_tokens`. All input is priced as fresh or as written to the cache, whichever is dearer: what a
cache will hold is not known beforehand.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditor.errors import BudgetReachedError
from auditor.provider.prices import most_dollars
from auditor.provider.protocol import Completion, Message, Request
from auditor.scenario.schema import LanguageModel

_PER_MESSAGE = 16
"""Tokens that a template may put around a message."""
_AROUND = 1024
"""Tokens that a provider may add of its own, instructions for tool use among them."""
_REMEMBERED = 4096


class Bound(NamedTuple):
    """What one request can cost at most."""

    input_tokens: int
    output_tokens: int
    dollars: float | None
    """None when the price is not known."""


class Estimator:
    """Bounds requests, and learns from replies; safe to call from several threads."""

    def __init__(self) -> None:
        """Start without any knowledge."""
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def bound(self, request: Request, model: LanguageModel) -> Bound:
        """Return what a request can cost at most."""
        prefixes = list(_prefixes(request))
        with self._lock:
            found = next(
                ((n, self._known[key]) for n, key in reversed(prefixes) if key in self._known), None
            )
        n_known, tokens = (0, _AROUND + _head_size(request)) if found is None else found
        new = request.messages[n_known:]
        tokens += sum(_PER_MESSAGE + _size(message) for message in new)
        longest = request.reply_limit(model.max_tokens)
        dollars = most_dollars(model, input_tokens=tokens, output_tokens=longest)
        return Bound(tokens, longest, dollars)

    def require(
        self, request: Request, model: LanguageModel, left: Mapping[str, float | None]
    ) -> None:
        """Check that a request cannot exceed what a trial has left.

        Args:
            request: The request.
            model: Who is asked.
            left: What is left of each limit, as in `View.remaining`.

        Raises:
            BudgetReachedError: When it could; it ends the trial with that limit.
        """
        bound = self.bound(request, model)
        limit = limit_at_risk(bound, left)
        if limit is not None:
            most = bound.output_tokens if limit == "auditor_tokens" else bound.dollars
            could = "an unknown sum" if most is None else f"{most:g}"
            what = f"the next request could take {could} of budget.{limit}"
            raise BudgetReachedError(limit, f"{what}, of which {left[limit]:g} is left")

    def learn(self, request: Request, reply: Completion) -> None:
        """Remember how many tokens a request had, as its reply tells."""
        usage = reply.usage
        if usage.input_tokens is None or not request.messages:
            return
        total = usage.input_tokens + (usage.cache_read_tokens or 0)
        total += usage.cache_write_tokens or 0
        *_, (_, key) = _prefixes(request)
        with self._lock:
            self._known[key] = total
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def limit_at_risk(bound: Bound, left: Mapping[str, float | None]) -> str | None:
    """Return the limit of a trial that a request could exceed, or None.

    Args:
        bound: What the request can cost.
        left: What is left of "auditor_tokens" and "dollars" (see `View.remaining`); None is no
            limit. With a limit of dollars and no known price, nothing is safe.
    """
    tokens, dollars = left.get("auditor_tokens"), left.get("dollars")
    if tokens is not None and bound.output_tokens > tokens:
        return "auditor_tokens"
    if dollars is not None and (bound.dollars is None or bound.dollars > dollars):
        return "dollars"
    return None


def _prefixes(request: Request) -> Iterator[tuple[int, str]]:
    """Yield, for every number of messages, a digest of the request up to there."""
    digest = hashlib.sha256(_head(request).encode())
    for number, message in enumerate(request.messages, start=1):
        digest.update(hashlib.sha256(message.model_dump_json().encode()).digest())
        yield number, digest.hexdigest()


def _head(request: Request) -> str:
    return request.model_dump_json(include={"system", "tools", "output_schema"})


def _head_size(request: Request) -> int:
    head = [tool.model_dump(mode="json") for tool in request.tools]
    schema = request.output_schema or {}
    text = json.dumps([head, schema], ensure_ascii=False)
    return len(text.encode()) + len(request.system.encode())


def _size(message: Message) -> int:
    blocks = message.model_dump(mode="json")["content"]
    return sum(len(json.dumps(block, ensure_ascii=False).encode()) for block in blocks)
