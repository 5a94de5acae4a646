"""What auditor and judge ask of a language model, whoever serves it.

One request in, one reply out. A conversation is plain data, so that it can be cached, written to a
checkpoint and replayed; nothing of a provider's own types leaves the module that speaks to it.
"""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from auditor.records import Record

StopReason = Literal[
    "end", "tool_use", "max_tokens", "stop_sequence", "refusal", "context_full", "pause"
]


class TextBlock(Record):
    """Words of either side."""

    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(Record):
    """What a model thought before it spoke; sent back to the same provider as it came."""

    type: Literal["thinking"] = "thinking"
    text: str = ""
    opaque: dict[str, Any] = Field(default_factory=dict)
    """The provider's own block, whole."""


class ToolUseBlock(Record):
    """A call that the model wants made."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    arguments: dict[str, Any] | None
    """None when they were not a JSON object; `raw` then holds what came."""
    raw: str = ""


class ToolResultBlock(Record):
    """What came of a call."""

    type: Literal["tool_result"] = "tool_result"
    id: str
    """The id of the `ToolUseBlock` that it answers."""
    text: str
    is_error: bool = False


ContentBlock = Annotated[
    TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock, Field(discriminator="type")
]


class Message(Record):
    """One turn. Tool results stand in user turns."""

    role: Literal["user", "assistant"]
    content: tuple[ContentBlock, ...]

    @classmethod
    def user(cls, text: str) -> "Message":
        """Return a user turn of one text."""
        return cls(role="user", content=(TextBlock(text=text),))


class ToolSpec(Record):
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object."""


class Request(Record):
    """All that decides a reply, but for the model and its settings."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    output_schema: dict[str, Any] | None = None
    """JSON Schema that the text of the reply must satisfy."""
    max_tokens: int | None = None
    """Longest reply, in tokens, where it must be shorter than the model's own setting."""
    trial: int = 0
    """Keeps repeated trials apart in the cache; sent to no provider."""

    def reply_limit(self, max_tokens: int) -> int:
        """Return the longest reply, in tokens, that this request and a model's setting allow."""
        return max_tokens if self.max_tokens is None else min(max_tokens, self.max_tokens)


class TokenUsage(Record):
    """Tokens of one reply; None where the provider does not say.

    `input_tokens` leaves out what was read from or written to the provider's prompt cache.
    """

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None


class Completion(Record):
    """One reply."""

    content: tuple[ContentBlock, ...]
    stop: StopReason
    """A refusal or a full context is an outcome, not an error."""
    usage: TokenUsage = TokenUsage()
    dollars: float | None = None
    """None when the price is not known."""
    model: str = ""
    """The model as the provider names it."""
    cached: bool = False
    """Whether it came from the response cache, and so cost nothing now."""

    @property
    def text(self) -> str:
        """The words of the reply, without thinking and calls."""
        return "".join(b.text for b in self.content if isinstance(b, TextBlock))

    @property
    def tool_uses(self) -> tuple[ToolUseBlock, ...]:
        """The calls of the reply, in order."""
        return tuple(b for b in self.content if isinstance(b, ToolUseBlock))


class Provider(Protocol):
    """A language model; safe to call from several threads."""

    @property
    def name(self) -> str:
        """`provider/model`, for records; never a key."""
        ...

    def complete(self, request: Request) -> Completion:
        """Return one reply, after as many retries as the provider's faults deserve.

        Raises:
            OutageError: When nobody else would get a reply either; the run stops.
            ProviderError: When no reply could be had; the message says who, what and what to do.
        """
        ...
