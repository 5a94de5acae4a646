"""Asking again: which faults deserve it, how often, and what is said in the end."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import tenacity

from auditor.errors import OutageError, ProviderError
from auditor.provider.clock import Clock
from auditor.provider.gate import Gate

T = TypeVar("T")
LONGEST_QUOTE = 300
_OVERLOADED = 529
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
_CROWDED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, _OVERLOADED)
_FOR_ALL = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
)
_LATER = "try again later"
BILLING = "see to the account's billing"
_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "set the right key in {key}",
    HTTPStatus.PAYMENT_REQUIRED: BILLING,
    HTTPStatus.FORBIDDEN: "set a key in {key} that may use this model",
    HTTPStatus.NOT_FOUND: "correct the model's name or the address",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "ask for less at a time",
    HTTPStatus.TOO_MANY_REQUESTS: f"lower `concurrency`, raise the account's limits, or {_LATER}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How often a request is sent, and how long to wait in between."""

    attempts: int = 8
    """Times that a request is sent, the first included."""
    timeouts: int = 3
    """Attempts that may end without an answer in time; each of them may have been paid for."""
    first_wait: float = 0.5
    """Seconds before the second attempt; each wait doubles the one before, with some jitter."""
    longest_wait: float = 60.0
    """Most seconds between two attempts of our own choice."""
    longest_asked: float = 900.0
    """Most seconds that are waited because the server asks for it; for more, it is an error."""


class Trouble(Exception):
    """One attempt failed."""

    def __init__(
        self,
        what: str,
        *,
        advice: str = _LATER,
        passing: bool = True,
        for_all: bool | None = None,
        crowded: bool = False,
        timed_out: bool = False,
        perhaps_paid: bool = True,
        retry_after: float | None = None,
    ) -> None:
        """Tell what went wrong.

        Args:
            what: In words that follow the provider's name.
            advice: What to do about it.
            passing: Whether another attempt may go well.
            for_all: Whether every other request would meet the same; None: when it may pass.
            crowded: Whether too many ask at once.
            timed_out: Whether there was no answer in time.
            perhaps_paid: Whether the provider may have charged for it.
            retry_after: Seconds that the server asks to wait.
        """
        super().__init__(what)
        self.advice, self.passing, self.crowded = advice, passing, crowded
        self.for_all = passing if for_all is None else for_all
        self.timed_out, self.retry_after = timed_out, retry_after
        self.perhaps_paid = perhaps_paid


class Caller(NamedTuple):
    """Who asks, through which gate."""

    name: str
    """`provider/model`, for messages."""
    gate: Gate
    most: int
    """Requests of this model under way at once."""
    clock: Clock
    persistence: Persistence
    secret: str | None
    """What must never be printed."""


def persist(call: Callable[[], T], caller: Caller) -> T:
    """Call until there is a reply or no more attempt is due.

    A place at the gate is held while an attempt is under way, and given up between attempts.

    Raises:
        OutageError: When no other request would get one either, as far as the fault tells.
        ProviderError: When this request gets no reply; one line, without the key.
    """
    rule, n_timeouts, perhaps_paid = caller.persistence, 0, False

    def attempt() -> T:
        nonlocal n_timeouts, perhaps_paid
        with caller.gate.slot(caller.name, caller.most) as began:
            try:
                value = call()
            except Trouble as trouble:
                n_timeouts += trouble.timed_out
                perhaps_paid |= trouble.perhaps_paid
                if trouble.crowded:
                    caller.gate.crowded(began, _bearable(trouble, rule))
                raise
        caller.gate.succeeded()
        return value

    backoff = tenacity.wait_exponential(multiplier=rule.first_wait, max=rule.longest_wait)
    jitter = tenacity.wait_random(0, rule.first_wait)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, Trouble) and e.passing),
        wait=lambda state: max(backoff(state) + jitter(state), _trouble(state).retry_after or 0.0),
        stop=lambda state: (
            state.attempt_number >= rule.attempts
            or n_timeouts >= rule.timeouts
            or (_trouble(state).retry_after or 0.0) > rule.longest_asked
        ),
        sleep=caller.clock.sleep,
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Trouble as trouble:
        times = retrying.statistics.get("attempt_number", 1)
        often = f", {times} times" if times > 1 else ""
        asked = trouble.retry_after or 0.0
        long = f" and asks to wait {asked:.0f} s" if asked > rule.longest_asked else ""
        message = f"{caller.name} {trouble}{long}{often}; {trouble.advice}"
        kind = OutageError if trouble.for_all else ProviderError
        failure = kind(plain(message, caller.secret))
        failure.perhaps_paid = perhaps_paid
        raise failure from None


def _trouble(state: tenacity.RetryCallState) -> Trouble:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, Trouble)
    return error


def _bearable(trouble: Trouble, rule: Persistence) -> float | None:
    asked = trouble.retry_after
    # A wait that ends this request must not hold up everybody else for hours.
    return asked if asked is None or asked <= rule.longest_asked else None


def refused(status: int, said: str, *, key: str | None, retry_after: float | None) -> Trouble:
    """Return the trouble that an HTTP status stands for.

    Args:
        status: The status.
        said: What the server says of it, fit to print.
        key: Environment variable that holds the key.
        retry_after: Seconds that the server asks to wait.
    """
    passing = status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    default = _LATER if passing else "correct what it names"
    return Trouble(
        f"answered {status}" + (f" ({said})" if said else ""),
        advice=_ADVICE.get(status, default).format(key=key or "`key_env`"),
        passing=passing,
        for_all=passing or status in _FOR_ALL,
        crowded=status in _CROWDED,
        perhaps_paid=False,
        retry_after=retry_after if passing else None,
    )


def plain(text: str, secret: str | None, *, most: int | None = None) -> str:
    """Make text fit to print: one line, no control characters, no key."""
    if secret:
        text = text.replace(secret, "[key]")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]
