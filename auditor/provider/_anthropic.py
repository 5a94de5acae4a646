"""Claude, through the Anthropic SDK.

The SDK's own retries are off: one policy (`_attempts`) holds for every provider, so that a wait
that one request is told of holds back all, and no client error is sent twice.
"""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from auditor.provider._anthropic_wire import (
    StreamedMessage,
    content_of,
    request_body,
    stop_reason,
    usage_of,
)
from auditor.provider._attempts import Trouble
from auditor.provider._http import http_client, sound
from auditor.provider._sdk import SdkProvider
from auditor.provider.protocol import Completion, Request

if TYPE_CHECKING:
    from anthropic import Anthropic

LONG_REPLY = 4096
"""Replies that may be longer than so many tokens are streamed, so that no proxy cuts them off."""
_PASSING_TYPES = ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")
_ONE_REQUEST_TYPES = ("invalid_request_error", "request_too_large")


class AnthropicProvider(SdkProvider):
    """A model of the Messages API."""

    _too_long = ("prompt is too long", "exceed context limit", "context window")
    _no_money = ("credit balance is too low", "specified api usage limits")

    @property
    def name(self) -> str:
        """`anthropic/MODEL`, without any address."""
        return f"anthropic/{self._name.model}"

    def complete(self, request: Request) -> Completion:
        """Return one reply; see `Provider`."""
        body = request_body(request, self._model, self._name.model)
        return self._persist(lambda: self._once(body))

    def _sdk(self) -> Any:
        import anthropic

        return anthropic

    def _connect(self) -> Any:
        address = self._name.base_url or os.environ.get("ANTHROPIC_BASE_URL") or None
        return _client(address, self._secret, self._model.timeout)

    def _once(self, body: dict[str, Any]) -> Completion:
        message = sound(self._exchange(body))
        stop = stop_reason(message.get("stop_reason"))
        return self._completion(
            content_of(message.get("content"), stop),
            stop,
            usage_of(message.get("usage")),
            str(message.get("model") or ""),
        )

    def _exchange(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["max_tokens"] <= LONG_REPLY:
            raw = self._client.messages.with_raw_response.create(**body)
            message = raw.http_response.json()
            if not isinstance(message, dict):
                raise ValueError("no object")
            return message
        streamed = StreamedMessage()
        with self._client.messages.create(**body, stream=True) as events:
            for event in events:
                streamed.add(event.model_dump(mode="json", exclude_unset=True, warnings=False))
        return streamed.finish()

    def _trouble(self, error: Any, said: str) -> Trouble:
        if error.status_code >= 400 or error.type is None:
            return super()._trouble(error, said)
        # An error in the middle of a stream, whose status was sent before it came up.
        return Trouble(
            f"broke off with {error.type} ({said[:200]})",
            passing=error.type in _PASSING_TYPES,
            for_all=error.type not in _ONE_REQUEST_TYPES,
            crowded=error.type in ("overloaded_error", "rate_limit_error"),
        )


@cache
def _client(address: str | None, key: str | None, timeout: float) -> "Anthropic":
    """Return the one client for an address, whose connections all models share."""
    import anthropic

    return anthropic.Anthropic(
        # Without a key the SDK would look for other credentials in files of the user's.
        api_key=key or "none",
        base_url=address,
        timeout=timeout,
        max_retries=0,
        http_client=http_client(anthropic.DefaultHttpxClient, timeout),
        open_telemetry=False,
    )
