"""How many requests are under way to one address, over all trials of a process.

The limit adapts as in TCP's congestion control (RFC 5681): a reply raises it by a fraction, so
that a full round of replies adds one request; a refusal for overload halves it, once for all the
requests that were under way together. When the server says how long to wait, nobody asks earlier.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from auditor.provider.clock import Clock

_CUT = 0.5


class Gate:
    """Lets requests through to one address."""

    def __init__(self, clock: Clock) -> None:
        """Start open; each model brings its own limit with its first request."""
        self._clock = clock
        self._condition = threading.Condition()
        self._most: dict[str, int] = {}
        self._under_way: Counter[str] = Counter()
        self._limit = 0.0
        self._closed_until = float("-inf")
        self._last_cut = float("-inf")

    @property
    def limit(self) -> int:
        """Requests that may be under way now; 1 at least."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self, name: str, most: int) -> Iterator[float]:
        """Wait for a place, and keep it inside the block.

        Args:
            name: Model that asks; models at one address share what the address bears.
            most: Requests that this model may have under way.

        Yields:
            When the request began, for `crowded`.
        """
        with self._condition:
            self._admit(name, most)
            while (seconds := self._obstacle(name)) != 0.0:
                self._clock.wait(self._condition, seconds)
            self._under_way[name] += 1
            began = self._clock.now()
        try:
            yield began
        finally:
            with self._condition:
                self._under_way[name] -= 1
                self._condition.notify_all()

    def succeeded(self) -> None:
        """Note a reply."""
        with self._condition:
            ceiling = sum(self._most.values())
            self._limit = min(float(ceiling), self._limit + 1.0 / max(1.0, self._limit))
            self._condition.notify_all()

    def crowded(self, began: float, retry_after: float | None) -> None:
        """Note that the server refused a request because it has too many.

        Args:
            began: When that request began.
            retry_after: Seconds that the server asks everybody to wait.
        """
        with self._condition:
            now = self._clock.now()
            if began > self._last_cut:
                self._limit = max(1.0, self._limit * _CUT)
                self._last_cut = now
            if retry_after is not None:
                self._closed_until = max(self._closed_until, now + retry_after)

    def _admit(self, name: str, most: int) -> None:
        known = self._most.get(name, 0)
        if most > known:
            self._most[name] = most
            self._limit += most - known

    def _obstacle(self, name: str) -> float | None:
        """Seconds until the gate opens, None until somebody leaves, or 0 when the way is free."""
        closed = self._closed_until - self._clock.now()
        if closed > 0:
            return closed
        if self._under_way.total() >= self.limit or self._under_way[name] >= self._most[name]:
            return None
        return 0.0


_gates: dict[tuple[str, float], Gate] = {}
_lock = threading.Lock()


def gate_of(address: str, clock: Clock) -> Gate:
    """Return the one gate of this process to an address."""
    with _lock:
        key = (address, clock.scale)
        if key not in _gates:
            _gates[key] = Gate(clock)
        return _gates[key]
