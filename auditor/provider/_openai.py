"""Any server of Chat Completions, through the OpenAI SDK: OpenAI's, vLLM, SGLang, OpenRouter."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from auditor.provider._attempts import Trouble
from auditor.provider._http import http_client, said_in, sound
from auditor.provider._openai_wire import reply_of, request_body, text_of, usage_of
from auditor.provider._sdk import SdkProvider
from auditor.provider.protocol import Completion, ContentBlock, Request, StopReason, TextBlock

if TYPE_CHECKING:
    from openai import OpenAI

Read: TypeAlias = tuple[tuple[ContentBlock, ...], StopReason]
_OWN_ADDRESS = "https://api.openai.com/v1"


class OpenAIProvider(SdkProvider):
    """A model of one server.

    Its name has the address of a server that is not OpenAI's.
    """

    _too_long = (
        "context_length_exceeded",
        "maximum context length",
        "context length",
        "longer than the model's",
        "context window",
    )
    _no_money = ("insufficient_quota",)

    def complete(self, request: Request) -> Completion:
        """Return one reply; see `Provider`."""
        body = request_body(request, self._model, self._name)
        create = self._client.chat.completions.with_raw_response.create
        return self._ask(lambda: create(**body).http_response, reply_of)

    def _sdk(self) -> Any:
        import openai

        return openai

    def _connect(self) -> Any:
        # The address is always given: the SDK would take another from the environment.
        return _client(self._name.base_url or _OWN_ADDRESS, self._secret, self._model.timeout)

    def _ask(self, send: Callable[[], Any], read: Callable[[Any], Read]) -> Completion:
        return self._persist(lambda: self._read(sound(send().json()), read))

    def _read(self, reply: Any, read: Callable[[Any], Read]) -> Completion:
        if isinstance(reply, dict) and reply.get("error"):
            said = said_in(reply)
            raise Trouble(f"answered with an error ({said[:200]})")
        content, stop = read(reply)
        called = str(reply.get("model") or "")
        return self._completion(content, stop, usage_of(reply.get("usage")), called)


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
