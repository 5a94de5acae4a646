"""What an executor is: trials go in, what happens to them comes out, in one thread."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from auditor.errors import AuditStoppedError
from auditor.records import TrialEvent, TrialKey
from auditor.run.plan import PlannedTrial
from auditor.run.workers import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """An event that is already recorded, for whoever listens."""

    key: TrialKey
    event: TrialEvent


@dataclass(frozen=True, slots=True)
class Saved:
    """A trial's checkpoint file, as another machine wrote it; its events came before it."""

    trial: PlannedTrial
    content: bytes


class Executor(Protocol):
    """Carries trials out, several at a time."""

    def run(self, trials: Sequence[PlannedTrial]) -> Iterator[Message | Told | Saved]:
        """Yield what happens, trials mixed, until all have ended or a stop is asked for.

        What a message asks for is done when the next one is taken.

        Raises:
            RunError: When trials cannot run at all.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None:
        """Stop what still runs; nothing that it does matters to the records any more."""
        ...


@dataclass(slots=True, eq=False)
class _Said(Generic[T]):
    what: T
    settled: threading.Event = field(default_factory=threading.Event)
    taken: bool = False


class Mailbox(Generic[T]):
    """Takes messages from many threads to one; each waits until its message was dealt with."""

    def __init__(self) -> None:
        """Open it."""
        self._messages: queue.SimpleQueue[_Said[T] | BaseException | None] = queue.SimpleQueue()
        self._closed = threading.Event()

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._closed.is_set()

    def put(self, message: T) -> None:
        """Hand a message over and wait until the reader comes back for the next one.

        Raises:
            AuditStoppedError: When nobody reads any more.
        """
        said = _Said(message)
        self._messages.put(said)
        while not (said.settled.wait(0.1) or self._closed.is_set()):
            pass
        if not said.taken:
            raise AuditStoppedError("the run is over")

    def fail(self, error: BaseException) -> None:
        """Let the reader raise an error."""
        self._messages.put(error)

    def leave(self) -> None:
        """Say that one of the threads has ended."""
        self._messages.put(None)

    def read(self, threads: int) -> Iterator[T]:
        """Yield messages until so many threads have left.

        Raises:
            BaseException: What a thread failed with.
        """
        while threads:
            said = self._messages.get()
            if said is None:
                threads -= 1
            elif isinstance(said, BaseException):
                raise said
            else:
                yield said.what
                said.taken = True
                said.settled.set()

    def close(self) -> None:
        """Turn away those who wait to be read, and who come later."""
        self._closed.set()
