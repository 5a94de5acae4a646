"""Any server of Chat Completions, through the OpenAI SDK: OpenAI's, vLLM, SGLang, OpenRouter."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from auditor.provider._attempts import Caller, Persistence, Trouble, persist
from auditor.provider._http import SENSELESS, broken, http_client, refusal, said_in, sound
from auditor.provider._openai_wire import reply_of, request_body, text_of, usage_of
from auditor.provider.clock import Clock
from auditor.provider.gate import gate_of
from auditor.provider.names import ModelName, key_from
from auditor.provider.prices import dollars_of
from auditor.provider.protocol import (
    Completion,
    ContentBlock,
    Request,
    StopReason,
    TextBlock,
    TokenUsage,
)
from auditor.scenario.schema import LanguageModel

if TYPE_CHECKING:
    from openai import OpenAI

Read: TypeAlias = tuple[tuple[ContentBlock, ...], StopReason]
_OWN_ADDRESS = "https://api.openai.com/v1"
_NO_MONEY = "insufficient_quota"
_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context length",
    "longer than the model's",
    "context window",
)


class OpenAIProvider:
    """A model of one server; safe to call from several threads."""

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
        # The address is always given: the SDK would take another from the environment.
        address = name.base_url or _OWN_ADDRESS
        self._client = _client(address, self._secret, model.timeout)
        self._caller = Caller(
            name=self.name,
            gate=gate_of(f"openai {address}", clock),
            most=model.concurrency,
            clock=clock,
            persistence=persistence,
            secret=self._secret,
        )

    def __repr__(self) -> str:
        return f"OpenAIProvider({self.name!r})"

    @property
    def name(self) -> str:
        """`openai/MODEL`, with the address of a server that is not OpenAI's."""
        return str(self._name)

    def complete(self, request: Request) -> Completion:
        """Return one reply; see `Provider`."""
        body = request_body(request, self._model, self._name)
        create = self._client.chat.completions.with_raw_response.create
        return self._ask(lambda: create(**body).http_response, reply_of)

    def _ask(self, send: Callable[[], Any], read: Callable[[Any], Read]) -> Completion:
        def once() -> Completion:
            return self._completion(sound(send().json()), read)

        return persist(lambda: self._guarded(once), self._caller)

    def _completion(self, reply: Any, read: Callable[[Any], Read]) -> Completion:
        if isinstance(reply, dict) and reply.get("error"):
            said = said_in(reply)
            raise Trouble(f"answered with an error ({said[:200]})")
        content, stop = read(reply)
        usage = usage_of(reply.get("usage"))
        called = str(reply.get("model") or "")
        return Completion(
            content=content,
            stop=stop,
            usage=usage,
            dollars=dollars_of(self._model, usage, called=called),
            model=called or self._name.model,
        )

    def _context_full(self) -> Completion:
        nothing = TokenUsage(input_tokens=0, output_tokens=0)
        return Completion(
            content=(),
            stop="context_full",
            usage=nothing,
            dollars=dollars_of(self._model, nothing),
            model=self._name.model,
        )

    def _guarded(self, once: Callable[[], Completion]) -> Completion:
        """Exchange once, and turn what goes wrong into trouble of one kind."""
        import httpx2
        import openai

        try:
            return once()
        except openai.APIStatusError as error:
            said = said_in(error.body) or str(error.message)
            told = f"{error.code} {said}".lower()
            if error.status_code in (400, 413) and any(words in told for words in _TOO_LONG):
                return self._context_full()
            trouble = refusal(error.response, said, key=self._key_variable, secret=self._secret)
            if error.code == _NO_MONEY:
                trouble.passing, trouble.crowded = False, False
                trouble.advice = "see to the account's billing"
            raise trouble from None
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ if isinstance(error, openai.APIError) else error
            shown = cause if isinstance(cause, Exception) else error
            timeout = self._model.timeout
            raise broken(shown, timeout=timeout, secret=self._secret) from None
        except (openai.OpenAIError, *SENSELESS) as error:
            raise Trouble(f"answered what makes no sense ({type(error).__name__})") from None


class RawTextProvider(OpenAIProvider):
    """Continues the one text of each request, without a chat template."""

    @property
    def name(self) -> str:
        """Another name than that of chat, since the replies are others."""
        return f"{super().name} (raw text)"

    def complete(self, request: Request) -> Completion:
        """Return the continuation; see `Provider`."""
        prompt = "".join(
            block.text
            for message in request.messages
            for block in message.content
            if isinstance(block, TextBlock)
        )
        body: dict[str, Any] = {"model": self._name.model, "prompt": prompt}
        body["max_tokens"] = request.reply_limit(self._model.max_tokens)
        body["extra_body"] = dict(self._model.extra_body)
        if self._model.temperature is not None:
            body["temperature"] = self._model.temperature
        create = self._client.completions.with_raw_response.create
        return self._ask(lambda: create(**body).http_response, text_of)


@cache
def _client(address: str, key: str | None, timeout: float) -> "OpenAI":
    """Return the one client for an address, whose connections all models share."""
    import openai

    return openai.OpenAI(
        # The SDK asks for a key; servers without keys do not look at it.
        api_key=key or "none",
        base_url=address,
        timeout=timeout,
        max_retries=0,
        http_client=http_client(openai.DefaultHttpxClient, timeout),
    )
