"""What a trial needs of its record, wherever the record is kept."""

from collections.abc import Callable, Sequence
from typing import Protocol

from auditor.records import TrialEvent


class Journal(Protocol):
    """The record of one trial, while the trial runs."""

    def past(self) -> Sequence[TrialEvent]:
        """Return what earlier attempts recorded, without a last line that was cut short.

        Raises:
            RunError: When the record is damaged or cannot be read.
        """
        ...

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        """Go on after the first `n_events` events of the past; drop what came after them.

        A trial calls it once, before it writes.

        Args:
            n_events: Events that stay; with 0 the trial begins anew.
            why_anew: Why an interrupted trial could not be gone on with, for the operator.
        """
        ...

    def write(self, event: TrialEvent) -> None:
        """Append one event."""
        ...

    def sync(self, *, paid: bool = True) -> None:
        """Return once all that was written would survive a power cut.

        Args:
            paid: Whether something was paid for since the last call; nothing has to happen
                otherwise.
        """
        ...


class ListenerJournal:
    """Hands events to a function and keeps nothing: every trial begins anew."""

    def __init__(self, listen: Callable[[TrialEvent], None]) -> None:
        self._listen = listen

    def past(self) -> Sequence[TrialEvent]:
        """Return nothing."""
        return ()

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        """Do nothing."""

    def write(self, event: TrialEvent) -> None:
        """Pass an event on."""
        self._listen(event)

    def sync(self, *, paid: bool = True) -> None:
        """Do nothing."""
