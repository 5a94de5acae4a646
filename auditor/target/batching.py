"""One queue for the model work of all trials: requests that are alike run as one batch.

Trials are threads that wait for their own requests. A device has one thread that works: it takes
the request that has waited longest and with it all that may share its batch, in order of arrival.
So nobody waits for ever, hooks and adapters are never changed under a running pass, and batches
grow by themselves while a device is busy.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from auditor.errors import AuditStoppedError

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes rows, returns one result a row, in order."""
DEFAULT_WINDOW = 0.004


class QueueClosedError(AuditStoppedError):
    """The run is over; the trial that waited can be gone on with."""

    def __init__(self) -> None:
        super().__init__("the run is over")


@dataclass(slots=True, eq=False)
class _Request:
    key: Hashable
    rows: Sequence[Any]
    work: Work
    max_rows: int
    future: "Future[Sequence[Any]]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a queue has done so far."""

    requests: int = 0
    batches: int = 0
    rows: int = 0
    alone: int = 0
    """Requests that ran once more, alone, because their batch failed."""

    @property
    def mean_requests(self) -> float | None:
        """Requests per batch; None before the first one."""
        return self.requests / self.batches if self.batches else None


class BatchQueue:
    """Runs the requests of many threads in one thread, alike ones together."""

    def __init__(self, *, window: float = DEFAULT_WINDOW, name: str = "models") -> None:
        """Make an idle queue; its thread starts with the first request.

        Args:
            window: Seconds that an idle queue waits for company after a request has come. A busy
                one does not wait: what came meanwhile is company enough.
            name: Of the thread.
        """
        self._window, self._name = window, name
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._counts = BatchCounts()

    @property
    def counts(self) -> BatchCounts:
        """What was done so far."""
        return self._counts

    def submit(
        self, key: Hashable, rows: Sequence[Any], work: Work, *, max_rows: int = 64
    ) -> "Future[Sequence[Any]]":
        """Ask for rows to be worked on; a future that is cancelled in time never runs.

        Args:
            key: Requests of equal keys may be given to either one's `work` together.
            rows: What to work on.
            work: What does it, called in the queue's thread.
            max_rows: Rows up to which others are let in; a larger request runs alone.

        Raises:
            QueueClosedError: When the queue is closed.
        """
        request = _Request(key, rows, work, max_rows)
        with self._changed:
            if self._closed:
                raise QueueClosedError
            self._waiting.append(request)
            if self._thread is None:
                # A daemon: a pass that hangs must not keep the process alive.
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return request.future

    def run(
        self, key: Hashable, rows: Sequence[Any], work: Work, *, max_rows: int = 64
    ) -> Sequence[Any]:
        """Have rows worked on and wait for the results; see `submit`.

        Raises:
            QueueClosedError: When the queue is closed before the request has begun.
            Exception: What `work` raises for these rows.
        """
        if not rows:
            return work(rows)
        return self.submit(key, rows, work, max_rows=max_rows).result()

    def close(self) -> None:
        """Refuse new requests and those that wait; the batch that runs is finished."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for request in waiting:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(QueueClosedError())

    def _loop(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            self._perform(batch)

    def _next_batch(self) -> list[_Request] | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            while not self._closed and not self._ready():
                self._changed.wait(max(0.0, self._patience()))
            return None if self._closed else self._taken()

    def _patience(self) -> float:
        return self._waiting[0].since + self._window - time.monotonic()

    def _ready(self) -> bool:
        first = self._waiting[0]
        alike = sum(len(r.rows) for r in self._waiting if r.key == first.key)
        return alike >= first.max_rows or self._patience() <= 0

    def _taken(self) -> list[_Request]:
        """Take the oldest request and those that fit beside it, in order of arrival."""
        first = self._waiting.popleft()
        batch, rows, left = [first], len(first.rows), deque[_Request]()
        for request in self._waiting:
            if request.key == first.key and rows + len(request.rows) <= first.max_rows:
                batch.append(request)
                rows += len(request.rows)
            else:
                left.append(request)
        self._waiting = left
        return batch

    def _perform(self, batch: list[_Request]) -> None:
        live = [request for request in batch if request.future.set_running_or_notify_cancel()]
        if not live:
            return
        rows = [row for request in live for row in request.rows]
        self._count(requests=len(live), batches=1, rows=len(rows))
        try:
            results = _checked(live[0].work(rows), rows)
        except Exception as error:
            self._alone(live, error)
            return
        start = 0
        for request in live:
            end = start + len(request.rows)
            request.future.set_result(results[start:end])
            start = end

    def _alone(self, batch: list[_Request], error: Exception) -> None:
        """Run each request by itself, so that an error reaches only the one that caused it."""
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for request in batch:
            self._count(alone=1)
            try:
                request.future.set_result(_checked(request.work(request.rows), request.rows))
            except Exception as own:
                request.future.set_exception(own)

    def _count(self, *, requests: int = 0, batches: int = 0, rows: int = 0, alone: int = 0) -> None:
        # Only the queue's own thread counts, and readers get a whole value.
        old = self._counts
        self._counts = BatchCounts(
            requests=old.requests + requests,
            batches=old.batches + batches,
            rows=old.rows + rows,
            alone=old.alone + alone,
        )


def _checked(results: Sequence[Any], rows: Sequence[Any]) -> Sequence[Any]:
    if len(results) != len(rows):
        raise RuntimeError(f"{len(rows)} rows gave {len(results)} results")
    return results
