"""Stopping a run between steps: at Ctrl-C, or because no trial can go on."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from auditor.errors import OutageError, RunStoppedError

Reason = Literal["interrupt", "limit", "outage"]


class Stop:
    """Whether a run should stop. Asked for once; the first reason stands."""

    def __init__(self) -> None:
        self._request: tuple[Reason, str] | None = None
        self._listeners: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Whether the run should stop."""
        return self._request is not None

    @property
    def reason(self) -> Reason | None:
        """Why, as a word for programs."""
        return None if self._request is None else self._request[0]

    @property
    def why(self) -> str:
        """Why, in words."""
        return "" if self._request is None else self._request[1]

    def request(self, reason: Reason, why: str = "") -> None:
        """Ask for it. Safe from any thread, and from a signal handler."""
        if self._request is None:
            self._request = reason, why
            for listener in self._listeners:
                listener()

    def request_for(self, error: RunStoppedError) -> None:
        """Ask for it because a trial could not go on."""
        self.request(reason_of(error), str(error))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when it is asked for; it must be safe where `request` is called."""
        self._listeners.append(listener)


def reason_of(error: RunStoppedError) -> Literal["limit", "outage"]:
    """Return in a word why a trial could not go on."""
    return "outage" if isinstance(error, OutageError) else "limit"


def stopped_for(reason: Literal["limit", "outage"], why: str | None) -> RunStoppedError:
    """Return the error again that a trial elsewhere ended with."""
    return OutageError(why) if reason == "outage" else RunStoppedError(why)


@contextmanager
def interrupts(stop: Stop, on_interrupt: Callable[[], None] | None) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop, and the second raise `KeyboardInterrupt` at once.

    Only where Python's own handling is in place; a program with its own keeps it.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            signal.default_int_handler(number, frame)
        stop.request("interrupt")
        if on_interrupt is not None:
            on_interrupt()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
