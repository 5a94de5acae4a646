"""Several servers that do the same work: turns, ejection of those that fail, and their return.

A replica that fails is left out at once and its work goes to the others. It is asked after its
health in the background, at growing intervals, and comes back when it answers: no request ever
waits for a server that is known to be ill.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from torch import Tensor

from nla_core.backends.protocol import Backend, BackendError, BackendUnavailableError
from nla_core.sampling import Generation, Sampling

T = TypeVar("T")
R = TypeVar("R")
_LEAST_SHARE = 8
"""Fewest prompts of a call that are worth a server of their own."""
_THREADS = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """How patient to be with replicas that fail."""

    first_check: float = 2.0
    """Seconds from an ejection to the first question after its health; each wait doubles."""
    longest_check: float = 60.0
    """Most seconds between two questions."""
    patience: float = 300.0
    """Seconds that a request waits for any replica to come back when all are out."""


class Replicas(Generic[T]):
    """Hands work to servers in turn, and leaves out those that fail until they are well again.

    Safe to call from several threads.
    """

    def __init__(
        self,
        members: Sequence[T],
        *,
        check: Callable[[T], object],
        failures: tuple[type[Exception], ...],
        options: ReplicaOptions | None = None,
    ) -> None:
        """Keep the members, all of them counted as well.

        Args:
            members: One handle a server; their `repr` stands in messages.
            check: Asks one after its health; raises when it is not well.
            failures: What a call raises when the server is to blame, not the request; everything
                else goes to the caller.
            options: Waits; None takes the defaults.

        Raises:
            ValueError: When there are no members.
        """
        if not members:
            raise ValueError("a set of replicas needs at least one server")
        self._members, self._check, self._failures = tuple(members), check, failures
        self._options = options or ReplicaOptions()
        self._well = deque(range(len(members)))
        """Indices in order of their next turn."""
        self._changed = threading.Condition()
        self._closed = threading.Event()

    @property
    def members(self) -> tuple[T, ...]:
        """All servers, ill ones among them."""
        return self._members

    @property
    def healthy(self) -> tuple[T, ...]:
        """The servers that are given work."""
        with self._changed:
            return tuple(self._members[i] for i in sorted(self._well))

    def call(self, work: Callable[[T], R]) -> R:
        """Do work on the next server, and on others when it fails.

        Each server is tried once; when all have failed, those that come back within the patience
        are tried again.

        Raises:
            Exception: The last failure, when no server could do it; whatever else `work` raises.
        """
        until = monotonic() + self._options.patience
        last: Exception | None = None
        while True:
            index = self._next(until)
            if index is None:
                raise last or BackendUnavailableError(self._all_out())
            try:
                return work(self._members[index])
            except self._failures as failure:
                last = failure
                self.eject(self._members[index], failure)

    def eject(self, member: T, why: object) -> None:
        """Leave a server out until it answers a question after its health."""
        index = self._members.index(member)
        with self._changed:
            if index not in self._well:
                return
            self._well.remove(index)
            left = len(self._well)
        _log.warning("left out, %d of %d servers go on: %s", left, len(self._members), why)
        name = f"replica-check-{index}"
        threading.Thread(target=self._nurse, args=(index,), name=name, daemon=True).start()

    def close(self) -> None:
        """Stop asking after ill servers, and waiting for them."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def _next(self, until: float) -> int | None:
        """Return whose turn it is; None when nobody came back in time."""
        with self._changed:
            while not self._well:
                left = until - monotonic()
                if left <= 0 or self._closed.is_set():
                    return None
                self._changed.wait(left)
            index = self._well[0]
            self._well.rotate(-1)
            return index

    def _nurse(self, index: int) -> None:
        wait = self._options.first_check
        while not self._closed.wait(wait):
            try:
                self._check(self._members[index])
            except Exception as error:
                _log.debug("still out: %s", error)
                wait = min(2 * wait, self._options.longest_check)
                continue
            with self._changed:
                self._well.append(index)
                self._changed.notify_all()
            _log.warning("back: %r", self._members[index])
            return

    def _all_out(self) -> str:
        names = ", ".join(map(repr, self._members))
        return f"no server answers ({names}); start one, or look at their logs"


class ReplicaBackend:
    """Draws from several servers that run the same verbalizer; implements `Backend`.

    A large call is spread over the servers that are well, a small one goes to the next in turn.
    Which server draws a sample does not matter where servers are deterministic (see their
    backends); elsewhere samples differ from run to run with one server, too.
    """

    def __init__(
        self, backends: Sequence[Backend], *, options: ReplicaOptions | None = None
    ) -> None:
        """Keep the backends, one a server.

        Raises:
            ValueError: When there are none.
        """
        self._replicas = Replicas(
            backends,
            check=lambda backend: backend.check(),
            failures=(BackendUnavailableError,),
            options=options,
        )
        self._pool = ThreadPoolExecutor(_THREADS * len(backends), thread_name_prefix="nla-replicas")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._replicas.members)} servers>"

    @property
    def healthy(self) -> tuple[Backend, ...]:
        """The servers that are given work."""
        return self._replicas.healthy

    def close(self) -> None:
        """Close the connections of all servers that have some."""
        self._replicas.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for backend in self._replicas.members:
            close = getattr(backend, "close", None)
            if close is not None:
                close()

    def check(self) -> None:
        """Refuse servers that are set up wrongly; those that do not answer are left out.

        Raises:
            BackendError: When a server is set up wrongly, or none answers.
        """
        missing: list[BackendError] = []
        for backend in self._replicas.members:
            try:
                backend.check()
            except BackendUnavailableError as error:
                missing.append(error)
                self._replicas.eject(backend, error)
        if len(missing) == len(self._replicas.members):
            raise missing[0]

    def continue_embeddings(
        self,
        prompts: Sequence[Tensor],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> list[Generation]:
        """Continue every prompt; see `Backend.continue_embeddings`.

        Raises:
            BackendError: When a server refuses or answers nonsense, or none can be reached.
            ValueError: On a wrong number of seeds.
        """
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        if not prompts:
            return []

        def draw(start: int, end: int) -> list[Generation]:
            return self._replicas.call(
                lambda backend: backend.continue_embeddings(
                    prompts[start:end], sampling=sampling, seeds=seeds[start:end], stop_ids=stop_ids
                )
            )

        worth = -(-len(prompts) // _LEAST_SHARE)
        own, *others = _shares(len(prompts), max(1, min(len(self.healthy), worth)))
        futures = [self._pool.submit(draw, *share) for share in others]
        found = draw(*own)
        return [*found, *(generation for future in futures for generation in future.result())]


def _shares(n: int, parts: int) -> list[tuple[int, int]]:
    """Cut `range(n)` into `parts` runs of like length."""
    edges = [n * i // parts for i in range(parts + 1)]
    return list(zip(edges, edges[1:], strict=False))
