"""What a whole run may spend, kept in a file that all its processes share.

Before a request is made its bound is booked; when its reply is there the booking is corrected.
What a process that was killed had booked stays booked: the reply was perhaps paid for, and the
limit must hold all the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from auditor.errors import BudgetReachedError, ProviderError, RunError, UsageError
from auditor.provider.estimate import Bound, Estimator
from auditor.provider.protocol import Completion, Provider, Request
from auditor.scenario.schema import LanguageModel, RunBudget

_PATIENCE = 60.0
_ROUNDING = 1e-9


class Spent(NamedTuple):
    """What a run has spent, open bookings included."""

    dollars: float
    auditor_tokens: int


class RunLedger:
    """The sum of a run's spending; safe to use from several threads and processes."""

    def __init__(self, path: Path, limits: RunBudget) -> None:
        """Open or begin the file.

        Args:
            path: The file; its folder must exist.
            limits: What may not be exceeded.

        Raises:
            RunError: When it cannot be written.
        """
        self._path, self._limits = path, limits
        with self._transaction(durable=True) as database:
            database.execute(
                "create table if not exists spent (id integer primary key check (id = 1), "
                "dollars real not null, auditor_tokens integer not null) strict"
            )
            database.execute("insert or ignore into spent values (1, 0.0, 0)")

    def spent(self) -> Spent:
        """Return what is spent so far."""
        with self._transaction() as database:
            return _sum(database)

    def book(self, most: Spent) -> None:
        """Book what a request can cost.

        Raises:
            BudgetReachedError: When it could exceed a limit; nothing is booked then.
        """
        with self._transaction(durable=True) as database:
            before = _sum(database)
            self._check(before, most)
            _add(database, most)

    def correct(self, booked: Spent, actual: Spent) -> None:
        """Replace a booking by what the request did cost."""
        change = Spent(
            actual.dollars - booked.dollars, actual.auditor_tokens - booked.auditor_tokens
        )
        with self._transaction() as database:
            _add(database, change)

    def _check(self, before: Spent, most: Spent) -> None:
        for limit, spent, more in zip(("dollars", "auditor_tokens"), before, most, strict=True):
            allowed = getattr(self._limits, limit)
            if allowed is not None and more > 0 and spent + more > allowed + _ROUNDING:
                raise BudgetReachedError(
                    f"run_{limit}",
                    f"run_budget.{limit} is {allowed:g}, {spent:g} is spent, and the next request "
                    f"could take {more:g}; raise the limit to go on",
                )

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Change the sum; only a booking must outlive a power cut before the request is made."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE)) as database, database:
                database.isolation_level = None
                database.execute("pragma journal_mode = wal")
                database.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
                database.execute("begin immediate")
                yield database
                database.execute("commit")
        except sqlite3.Error as error:
            raise RunError(f"{self._path} cannot be used ({error}); move it away") from None


def _sum(database: sqlite3.Connection) -> Spent:
    return Spent(*database.execute("select dollars, auditor_tokens from spent").fetchone())


def _add(database: sqlite3.Connection, more: Spent) -> None:
    database.execute(
        "update spent set dollars = max(0, dollars + ?), "
        "auditor_tokens = max(0, auditor_tokens + ?)",
        more,
    )


class MeteredProvider:
    """Another provider, asked only while the run's ledger allows it."""

    def __init__(
        self,
        inner: Provider,
        model: LanguageModel,
        *,
        ledger: RunLedger,
        limits: RunBudget,
        counts_tokens: bool,
    ) -> None:
        """Wrap a provider.

        Args:
            inner: Who is asked.
            model: The settings that it is asked with.
            ledger: The run's spending.
            limits: The run's limits.
            counts_tokens: Whether its tokens are the auditor's.
        """
        self._inner, self._model, self._ledger = inner, model, ledger
        self._in_dollars = limits.dollars is not None
        self._counts_tokens, self._estimator = counts_tokens, Estimator()

    def __repr__(self) -> str:
        return f"MeteredProvider({self._inner!r})"

    @property
    def name(self) -> str:
        """Name of the provider inside."""
        return self._inner.name

    def complete(self, request: Request) -> Completion:
        """Return one reply, if its cost fits into what the run has left.

        Raises:
            BudgetReachedError: When it might not fit; nothing is asked then.
            ProviderError: When no reply can be had.
        """
        booked = self._most(self._estimator.bound(request, self._model))
        self._ledger.book(booked)
        try:
            reply = self._inner.complete(request)
        except ProviderError as error:
            if not error.perhaps_paid:
                self._ledger.correct(booked, Spent(0.0, 0))
            raise
        self._ledger.correct(booked, self._actual(reply, booked))
        self._estimator.learn(request, reply)
        return reply

    def _most(self, bound: Bound) -> Spent:
        if bound.dollars is None and self._in_dollars:
            raise UsageError(
                f"run_budget.dollars cannot hold for {self.name}, whose price is not known; write "
                "its `price`, or delete the limit"
            )
        return Spent(bound.dollars or 0.0, bound.output_tokens if self._counts_tokens else 0)

    def _actual(self, reply: Completion, booked: Spent) -> Spent:
        """Return what a reply cost; what is not known counts as its bound."""
        tokens = reply.usage.output_tokens if self._counts_tokens else 0
        return Spent(
            booked.dollars if reply.dollars is None else reply.dollars,
            booked.auditor_tokens if tokens is None else tokens,
        )
