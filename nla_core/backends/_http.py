"""JSON over HTTP to one model server that may be slow, busy or broken.

A request is tried again after whatever may pass: no connection, no answer in time, 429, 5xx, a
body that is cut off or makes no sense. Everything else is an error at once.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import monotonic
from typing import Any, TypeVar

import httpx
import tenacity
from torch import Tensor

from nla_core.backends.protocol import (
    BackendClosedError,
    BackendError,
    BackendUnavailableError,
)
from nla_core.sampling import FinishReason

T = TypeVar("T")

_LARGEST_REPLY = 64 * 2**20
_LONGEST_QUOTE = 200
_SEE_LOG = "look at the server's log"
_CORRECT = "correct what it names"
_CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN)
_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "give the right API key",
    HTTPStatus.FORBIDDEN: "give the right API key",
    HTTPStatus.NOT_FOUND: "is the address that of such a server?",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "raise the limit of the proxy before the server",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How long to wait for a server, how often, and with how many requests at once."""

    timeout: float = 120.0
    """Seconds that one request may take, from the connection to the last byte."""
    attempts: int = 5
    """Times that a request is sent before giving up, the first included."""
    max_requests: int = 8
    """Requests under way at once, over all callers of one backend."""
    first_wait: float = 0.5
    """Seconds before the second attempt; each wait doubles the one before, with some jitter."""
    longest_wait: float = 60.0
    """Most seconds between two attempts, also where the server asks for more."""

    def __post_init__(self) -> None:
        for name in ("timeout", "attempts", "max_requests"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)!r}")
        for name in ("first_wait", "longest_wait"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)!r}")


class PassingError(Exception):
    """A failure that another attempt may not meet."""

    def __init__(
        self, what: str, *, advice: str = _SEE_LOG, retry_after: float | None = None
    ) -> None:
        super().__init__(what)
        self.advice = advice
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class NotFoundError(BackendClosedError):
    """A server does not know a path."""


class JsonServer:
    """A connection pool to one server, with retries and a bounded number of requests."""

    def __init__(self, url: str, *, kind: str, api_key: str | None, options: HttpOptions) -> None:
        """Prepare, without connecting.

        Args:
            url: Such as `http://127.0.0.1:30000`.
            kind: What the server is, for messages.
            api_key: Sent as a bearer token and shown nowhere; None sends none.
            options: Limits.

        Raises:
            ValueError: When the address or the key cannot be one.
        """
        self._url, self._kind, self._options = _address(url), kind, options
        self._api_key = _checked_key(api_key)
        headers = {"Content-Type": "application/json"}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        self._client = httpx.Client(headers=headers, timeout=options.timeout)
        self._pool = ThreadPoolExecutor(options.max_requests, thread_name_prefix="nla-backend")

    def __repr__(self) -> str:
        return f"{self._kind} at {self._url}"

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def error(self, what: str, advice: str) -> BackendError:
        """Return an error about this server."""
        return BackendError(self._plain(f"{self} {what}; {advice}"))

    def _unavailable(self, what: str, advice: str) -> BackendUnavailableError:
        return BackendUnavailableError(self._plain(f"{self} {what}; {advice}"))

    def get(self, *paths: str) -> Any:
        """Return the JSON under the first path that the server knows; tried once.

        Raises:
            BackendError: When it cannot be had.
        """
        try:
            return self._exchange("GET", paths[0])
        except NotFoundError:
            if len(paths) == 1:
                raise
            return self.get(*paths[1:])
        except PassingError as trouble:
            raise self._unavailable(str(trouble), trouble.advice) from None

    def post_all(
        self, path: str, bodies: Sequence[Callable[[], bytes]], parse: Callable[[Any], T]
    ) -> list[T]:
        """Send every body, some at once, and return the parsed replies in order.

        Args:
            path: Under the server's address.
            bodies: Each makes its JSON when its turn comes, so that few are in memory.
            parse: Turns a reply into a value; raises `PassingError` for one that makes no sense.

        Raises:
            BackendError: When one of them fails for good; those not sent yet are dropped.
        """
        over = threading.Event()
        futures = [self._pool.submit(self._persist, path, body, parse, over) for body in bodies]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            _raise_first(futures)
            return [future.result() for future in futures]
        finally:
            over.set()
            for future in futures:
                future.cancel()

    def _persist(
        self,
        path: str,
        make_body: Callable[[], bytes],
        parse: Callable[[Any], T],
        over: threading.Event,
    ) -> T:
        """Send one body until it is answered, the attempts are used up or the call is over."""
        options, body = self._options, make_body()
        first, longest = options.first_wait, options.longest_wait
        backoff = tenacity.wait_exponential(multiplier=first) + tenacity.wait_random(0, first)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PassingError),
            wait=lambda state: min(max(backoff(state), _asked(state)), longest),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(options.attempts), tenacity.stop_when_event_set(over)
            ),
            sleep=tenacity.sleep_using_event(over),
            reraise=True,
        )
        try:
            return retrying(lambda: parse(self._exchange("POST", path, body)))
        except PassingError as trouble:
            times = retrying.statistics["attempt_number"]
            often = f", {times} times" if times > 1 else ""
            raise self._unavailable(f"{trouble}{often}", trouble.advice) from None

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send one request and return the JSON that comes back."""
        until = monotonic() + self._options.timeout
        try:
            with self._client.stream(method, self._url + path, content=body) as response:
                content = _read(response, until)
        except (httpx.TimeoutException, TimeoutError):
            raise PassingError(
                f"gave no answer within {self._options.timeout:g} s",
                advice="is it overloaded, or the timeout too short?",
            ) from None
        except httpx.ConnectError as error:
            raise PassingError(
                f"cannot be reached ({self._quote(str(error))})",
                advice="start it, or correct the address",
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise PassingError(f"broke off ({self._quote(str(error))})") from None
        if not response.is_success:
            raise self._refusal(response, content, path)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            start = self._quote(content.decode(errors="replace"))
            raise PassingError(f"answered what is not JSON ({start})") from None

    def _refusal(self, response: httpx.Response, content: bytes, path: str) -> Exception:
        status, said = response.status_code, self._quote(_message(content))
        what = f"answered {status}" + (f" ({said})" if said else "")
        if status >= 500:
            return PassingError(what, retry_after=_retry_after(response))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            after = _retry_after(response)
            return PassingError(what, advice="send fewer requests at once", retry_after=after)
        if status == HTTPStatus.NOT_FOUND:
            what = f"{what} to {path}"
            return NotFoundError(self._plain(f"{self} {what}; {_ADVICE[status]}"))
        told = self._plain(f"{self} {what}; {_ADVICE.get(status, _CORRECT)}")
        return BackendClosedError(told) if status in _CLOSED else BackendError(told)

    def _quote(self, text: str) -> str:
        """Return the beginning of what came over the wire, fit to print."""
        return self._plain(text)[:_LONGEST_QUOTE]

    def _plain(self, text: str) -> str:
        """Make text fit to print: one line, no control characters, no key."""
        if self._api_key is not None:
            text = text.replace(self._api_key, "[API key]")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def paired(prompts: Sequence[Tensor], seeds: Sequence[int]) -> list[tuple[Tensor, int]]:
    """Return each prompt with its seed.

    Raises:
        ValueError: When there are not as many of both.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
    return list(zip(prompts, seeds, strict=True))


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a part of a reply that must be an object.

    Raises:
        PassingError: When it is something else.
    """
    if not isinstance(value, dict):
        raise PassingError(f"answered without {what}")
    return value


def token_ids(value: Any, ends: Iterable[Any], finish: FinishReason) -> tuple[int, ...]:
    """Return generated ids without the stop token; none when the server does not give them."""
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        return ()
    stopped = finish == "stop" and bool(value) and value[-1] in list(ends)
    return tuple(value[:-1] if stopped else value)


def finish_reason(value: Any) -> FinishReason:
    """Return why a row ended.

    Raises:
        PassingError: When it did not end of itself.
    """
    if value == "stop":
        return "stop"
    if value == "length":
        return "length"
    raise PassingError(f"cut the text off (finish reason {str(value)[:40]!r})")


def _raise_first(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        if future.done() and (error := future.exception()) is not None:
            raise error


def _read(response: httpx.Response, until: float) -> bytes:
    """Read a body; a server that drips it out is stopped, too, when the time is up."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if monotonic() > until:
            raise TimeoutError
        if len(content) > _LARGEST_REPLY:
            raise PassingError(f"answered with more than {_LARGEST_REPLY} bytes")
    return bytes(content)


def _message(content: bytes) -> str:
    """Return the words in the body of an error, whichever of the usual forms it has."""
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found if isinstance(found, str) else text


def _asked(state: tenacity.RetryCallState) -> float:
    """Return the seconds that the server asked to wait before the next attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    return (isinstance(error, PassingError) and error.retry_after) or 0.0


def _retry_after(response: httpx.Response) -> float | None:
    """Read the header of RFC 9110, section 10.2.3: seconds or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal() and value.isascii():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _address(url: str) -> str:
    """Check a server's address; it is shown in messages, so it must hold no secret."""
    wanted = "the server's address must be like http://HOST:PORT"
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError, TypeError):
        raise ValueError(wanted) from None
    if "%" in parsed.host or not 0 <= (parsed.port or 0) < 2**16:
        raise ValueError(wanted)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{wanted}, with http:// or https:// before it")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError(f"{wanted}, with no user, password or query in it; pass a key as api_key")
    return str(parsed).rstrip("/")


def _checked_key(api_key: str | None) -> str | None:
    if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ValueError("the API key holds a space or a character that no header may hold")
    return api_key or None
