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
from auditor.provider._attempts import Caller, Persistence, Trouble, persist
from auditor.provider._http import SENSELESS, broken, http_client, refusal, said_in, sound
from auditor.provider.clock import Clock
from auditor.provider.gate import gate_of
from auditor.provider.names import ModelName, key_from
from auditor.provider.prices import dollars_of
from auditor.provider.protocol import Completion, Request, TokenUsage
from auditor.scenario.schema import LanguageModel

if TYPE_CHECKING:
    from anthropic import Anthropic

LONG_REPLY = 4096
"""Replies that may be longer than so many tokens are streamed, so that no proxy cuts them off."""
_PASSING_TYPES = ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")
_TOO_LONG = ("prompt is too long", "exceed context limit", "context window")


class AnthropicProvider:
    """A model of the Messages API; safe to call from several threads."""

    def __init__(
        self, model: LanguageModel, name: ModelName, *, clock: Clock, persistence: Persistence
    ) -> None:
        """Prepare, without connecting; the key must be in the environment where one is needed.

        Args:
            model: The settings.
            name: The parsed name.
            clock: What waits go by.
            persistence: How often is asked again.
        """
        self._model, self._name = model, name
        self._key_variable = name.key_variable(model.key_env)
        self._secret = key_from(self._key_variable)
        address = name.base_url or os.environ.get("ANTHROPIC_BASE_URL") or None
        self._client = _client(address, self._secret, model.timeout)
        self._caller = Caller(
            name=self.name,
            gate=gate_of(f"anthropic {str(self._client.base_url).rstrip('/')}", clock),
            most=model.concurrency,
            clock=clock,
            persistence=persistence,
            secret=self._secret,
        )

    def __repr__(self) -> str:
        return f"AnthropicProvider({self.name!r})"

    @property
    def name(self) -> str:
        """`anthropic/MODEL`, without any address."""
        return f"anthropic/{self._name.model}"

    def complete(self, request: Request) -> Completion:
        """Return one reply; see `Provider`."""
        body = request_body(request, self._model, self._name.model)
        return persist(lambda: self._once(body), self._caller)

    def _once(self, body: dict[str, Any]) -> Completion:
        import anthropic
        import httpx2

        try:
            message = sound(self._exchange(body))
        except anthropic.APIStatusError as error:
            return self._refused(error)
        except (anthropic.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ if isinstance(error, anthropic.APIError) else error
            shown = cause if isinstance(cause, Exception) else error
            timeout = self._model.timeout
            raise broken(shown, timeout=timeout, secret=self._secret) from None
        except (anthropic.APIError, *SENSELESS) as error:
            raise Trouble(f"answered what makes no sense ({type(error).__name__})") from None
        stop = stop_reason(message.get("stop_reason"))
        usage = usage_of(message.get("usage"))
        called = str(message.get("model") or "")
        return Completion(
            content=content_of(message.get("content"), stop),
            stop=stop,
            usage=usage,
            dollars=dollars_of(self._model, usage, called=called),
            model=called or self._name.model,
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

    def _refused(self, error: Any) -> Completion:
        said = said_in(error.body) or str(error.message)
        if error.status_code == 400 and any(words in said.lower() for words in _TOO_LONG):
            nothing = TokenUsage(input_tokens=0, output_tokens=0)
            return Completion(
                content=(),
                stop="context_full",
                usage=nothing,
                dollars=dollars_of(self._model, nothing),
                model=self._name.model,
            )
        trouble = refusal(error.response, said, key=self._key_variable, secret=self._secret)
        if error.status_code < 400 and error.type is not None:
            # An error in the middle of a stream, whose status was sent before it came up.
            trouble = Trouble(
                f"broke off with {error.type} ({said[:200]})",
                passing=error.type in _PASSING_TYPES,
                crowded=error.type in ("overloaded_error", "rate_limit_error"),
            )
        raise trouble from None


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
