"""Requests and replies in the words of Anthropic's Messages API."""

import json
from collections.abc import Mapping
from typing import Any

from auditor.provider._attempts import Trouble
from auditor.provider.protocol import (
    ContentBlock,
    Message,
    Request,
    StopReason,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolUseBlock,
)
from auditor.scenario.schema import LanguageModel

MALFORMED = "INVALID_JSON"
"""Key under which a call's malformed arguments are sent back, as Anthropic's guide asks."""
_STOPS: dict[str, StopReason] = {
    "end_turn": "end",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_full",
    "pause_turn": "pause",
}
_CUT_SHORT = frozenset({"max_tokens", "context_full", "refusal"})


def request_body(request: Request, model: LanguageModel, called: str) -> dict[str, Any]:
    """Return the arguments of `messages.create`.

    Three cache breakpoints are set: after tools and system text, after the user turn before the
    last one, and after the last. The API looks back only some 20 blocks from a breakpoint for what
    an earlier request wrote; the middle one stands exactly where that request ended, so the history
    is read from the cache however many blocks a turn adds.
    """
    cached = {"cache_control": {"type": "ephemeral", "ttl": model.cache_ttl}}
    turns = [turn for m in request.messages if (turn := _turn(m))["content"]]
    for turn in [turn for turn in turns if turn["role"] == "user"][-2:]:
        turn["content"][-1] |= cached
    body: dict[str, Any] = {
        "model": called,
        "max_tokens": request.reply_limit(model.max_tokens),
        "messages": turns,
    }
    if request.system:
        body["system"] = [{"type": "text", "text": request.system, **cached}]
    if request.tools:
        body["tools"] = [
            {"name": t.name, "description": t.description, "input_schema": t.parameters}
            for t in request.tools
        ]
        if not request.system:
            body["tools"][-1] |= cached
    output: dict[str, Any] = {}
    if model.effort is not None:
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        output["effort"] = model.effort
    if request.output_schema is not None:
        from anthropic import transform_schema

        output["format"] = {
            "type": "json_schema",
            "schema": transform_schema(request.output_schema),
        }
    if output:
        body["output_config"] = output
    extra = dict(model.extra_body)
    if model.temperature is not None:
        extra.setdefault("temperature", model.temperature)
    return body | ({"extra_body": extra} if extra else {})


def _turn(message: Message) -> dict[str, Any]:
    blocks = [block for b in message.content if (block := _block(b)) is not None]
    return {"role": message.role, "content": blocks}


def _block(block: ContentBlock) -> dict[str, Any] | None:
    if isinstance(block, TextBlock):
        # The API refuses empty texts.
        return {"type": "text", "text": block.text} if block.text.strip() else None
    if isinstance(block, ThinkingBlock):
        return dict(block.opaque) if "type" in block.opaque else None
    if isinstance(block, ToolUseBlock):
        arguments = {MALFORMED: block.raw} if block.arguments is None else block.arguments
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": arguments}
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": block.id}
    if block.text.strip():
        result["content"] = block.text
    return result | ({"is_error": True} if block.is_error else {})


def stop_reason(value: Any) -> StopReason:
    """Return why a reply ended.

    Raises:
        Trouble: When it is not said, or the word is not known.
    """
    if not isinstance(value, str):
        raise Trouble("answered without a stop reason")
    if value not in _STOPS:
        raise Trouble(
            f"stopped for the reason {value[:40]!r}, which is not known here",
            advice="update auditor",
            passing=False,
        )
    return _STOPS[value]


def content_of(blocks: Any, stop: StopReason) -> tuple[ContentBlock, ...]:
    """Translate the blocks of a reply.

    A call at the very end of a reply that was cut short may lack some of its arguments, although
    they can be parsed; it counts as malformed.

    Raises:
        Trouble: When they are not blocks.
    """
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise Trouble("answered without content")
    found = [_read(block) for block in blocks]
    if found and stop in _CUT_SHORT and isinstance(found[-1], ToolUseBlock):
        last = found[-1]
        raw = last.raw or json.dumps(last.arguments)
        found[-1] = last.model_copy(update={"arguments": None, "raw": raw})
    return tuple(found)


def _read(block: Mapping[str, Any]) -> ContentBlock:
    kind = block.get("type")
    if kind == "text":
        return TextBlock(text=str(block.get("text") or ""))
    if kind == "tool_use":
        arguments = block.get("input")
        sound = isinstance(arguments, dict)
        return ToolUseBlock(
            id=str(block.get("id") or ""),
            name=str(block.get("name") or ""),
            arguments=arguments if sound else None,
            raw="" if sound else arguments if isinstance(arguments, str) else json.dumps(arguments),
        )
    # Whatever else comes, hidden thinking among it, goes back as it came.
    return ThinkingBlock(text=str(block.get("thinking") or ""), opaque=dict(block))


def usage_of(usage: Any) -> TokenUsage:
    """Translate token counts; the API counts cached input apart, as our records do."""
    if not isinstance(usage, dict):
        return TokenUsage()

    def count(key: str) -> int | None:
        value = usage.get(key)
        return value if isinstance(value, int) and value >= 0 else None

    return TokenUsage(
        input_tokens=count("input_tokens"),
        cache_read_tokens=count("cache_read_input_tokens"),
        cache_write_tokens=count("cache_creation_input_tokens"),
        output_tokens=count("output_tokens"),
    )


class StreamedMessage:
    """A reply that comes in events, put together.

    The SDK's own accumulator raises on malformed tool input, for which the reply is lost though it
    is paid; here it becomes a malformed call.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._input: dict[int, str] = {}
        self._ended = False

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one event; unknown kinds are passed over, as the API asks."""
        kind = event.get("type")
        if kind == "message_start":
            self._message = dict(event["message"])
        elif kind == "content_block_start":
            self._blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            self._grow(event["index"], event["delta"])
        elif kind == "message_delta":
            self._message |= event["delta"]
            usage = {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
            self._message["usage"] = (self._message.get("usage") or {}) | usage
        elif kind == "message_stop":
            self._ended = True

    def _grow(self, index: int, delta: Mapping[str, Any]) -> None:
        block, kind = self._blocks[index], delta.get("type")
        if kind == "input_json_delta":
            self._input[index] = self._input.get(index, "") + delta["partial_json"]
            return
        for key in ("text", "thinking", "signature"):
            if kind == f"{key}_delta":
                block[key] = (block.get(key) or "") + delta[key]

    def finish(self) -> dict[str, Any]:
        """Return the message as a request without streaming would have brought it.

        Raises:
            Trouble: When its end has not come.
        """
        if not self._ended:
            raise Trouble("broke off in the middle of a reply")
        for index, raw in self._input.items():
            self._blocks[index]["input"] = _parsed(raw)
        return self._message | {"content": [self._blocks[i] for i in sorted(self._blocks)]}


def _parsed(raw: str) -> Any:
    """Return what a text says as JSON, or the text itself when it is none."""
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw
