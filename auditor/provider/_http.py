"""What both SDKs' connections have in common: a deadline, a largest reply, no redirects."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

import httpx2

from auditor.provider._attempts import LONGEST_QUOTE, Trouble, plain, refused

SENSELESS = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a reply of another form than the API's may raise."""
_LARGEST_REPLY = 64 * 2**20
_CONNECT = 20.0
_MOST_CONNECTIONS = 1000


def http_client(kind: Callable[..., httpx2.Client], timeout: float) -> httpx2.Client:
    """Make the client of one SDK.

    A redirect would carry the key elsewhere, so none is followed. Proxies of the environment are
    used as the SDK would.

    Args:
        kind: The SDK's own default client.
        timeout: Seconds that one reply may take, from the connection to the last byte.
    """
    return kind(
        timeout=httpx2.Timeout(timeout, connect=min(timeout, _CONNECT)),
        limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=100),
        follow_redirects=False,
        event_hooks={"response": [lambda response: _bound(response, timeout)]},
    )


class _BoundedStream(httpx2.SyncByteStream):
    """A body that must end in time, and be of bearable size."""

    def __init__(self, stream: httpx2.SyncByteStream, timeout: float) -> None:
        self._stream, self._until = stream, monotonic() + timeout

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > _LARGEST_REPLY:
                raise httpx2.ReadError(f"more than {_LARGEST_REPLY} bytes")
            if monotonic() > self._until:
                raise httpx2.ReadTimeout("the reply does not end")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _bound(response: httpx2.Response, timeout: float) -> None:
    if response.is_redirect:
        # Raised through the SDK, which would take it for a reply.
        raise Trouble(
            f"answered {response.status_code} and points to another address",
            advice="write that address, if it is the right one",
            passing=False,
            for_all=True,
            perhaps_paid=False,
        )
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _BoundedStream(response.stream, timeout)


def broken(error: Exception, *, timeout: float, secret: str | None) -> Trouble:
    """Return the trouble that a failed exchange stands for."""
    if isinstance(error, Trouble):
        return error
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Trouble(
            f"gave no answer within {timeout:g} s",
            advice="is it overloaded, or `timeout` too short?",
            timed_out=True,
        )
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    said = plain(str(cause) or type(cause).__name__, secret, most=LONGEST_QUOTE)
    if isinstance(error, httpx2.ConnectError):
        advice = "check the address and the network"
        return Trouble(f"cannot be reached ({said})", advice=advice, perhaps_paid=False)
    return Trouble(f"broke off ({said})")


def refusal(response: Any, said: str, *, key: str | None, secret: str | None) -> Trouble:
    """Return the trouble that an HTTP error stands for.

    Args:
        response: The SDK's `httpx2.Response`.
        said: What the server says of it.
        key: Environment variable that holds the key.
        secret: What must never be printed.
    """
    quoted = plain(said, secret, most=LONGEST_QUOTE)
    after = retry_after(response.headers)
    trouble = refused(response.status_code, quoted, key=key, retry_after=after)
    if response.headers.get("x-should-retry") == "false":
        trouble.passing = False
    return trouble


def retry_after(headers: Any) -> float | None:
    """Read `retry-after-ms`, or `Retry-After` of RFC 9110, section 10.2.3: seconds or a date."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def said_in(body: Any) -> str:
    """Return the words of an error's body, whichever of the usual forms it has."""
    found = body
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found if isinstance(found, str) else "" if found is None else str(found)


def sound(value: Any) -> Any:
    """Return JSON without halves of surrogate pairs, which no file or request can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [sound(item) for item in value]
    if isinstance(value, dict):
        return {sound(key): sound(item) for key, item in value.items()}
    return value
