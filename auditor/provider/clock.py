"""The clock that retries and limits go by, so that tests need not wait.

Waits are asked for in seconds; a clock of scale 0.001 makes each last a millisecond. Timeouts of
sockets are the operating system's and are not scaled.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Tells the time and waits, both in seconds."""

    def __init__(self, scale: float = 1.0) -> None:
        """Take how many real seconds one second of this clock lasts."""
        self.scale = scale

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic() / self.scale

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds * self.scale)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait for a condition that the caller holds, at most so long."""
        condition.wait(None if seconds is None else seconds * self.scale)


_clock = Clock()


def default_clock() -> Clock:
    """Return the clock of providers that were given none."""
    return _clock


@contextmanager
def scaled_clock(scale: float) -> Iterator[Clock]:
    """Let providers that are made inside the block wait on another scale; for tests."""
    global _clock
    before, _clock = _clock, Clock(scale)
    try:
        yield _clock
    finally:
        _clock = before
