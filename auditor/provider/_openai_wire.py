"""Requests and replies in the words of OpenAI's Chat Completions, as other servers speak it too."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.provider._anthropic_wire import MALFORMED
from auditor.provider._attempts import Trouble
from auditor.provider._http import sound
from auditor.provider.names import ModelName
from auditor.provider.protocol import (
    ContentBlock,
    Message,
    Request,
    StopReason,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.scenario.schema import LanguageModel

_STOPS: dict[str, StopReason] = {
    "stop": "end",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_REASONING = ("reasoning_content", "reasoning", "reasoning_details")
"""Where servers put what a model thought: vLLM and SGLang, then OpenRouter."""


def request_body(request: Request, model: LanguageModel, name: ModelName) -> dict[str, Any]:
    """Return the arguments of `chat.completions.create`."""
    messages = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        messages += _assistant(message) if message.role == "assistant" else _user(message)
    # OpenAI's reasoning models know the longer name alone, many other servers the shorter one.
    limit = "max_tokens" if name.base_url else "max_completion_tokens"
    longest = request.reply_limit(model.max_tokens)
    body: dict[str, Any] = {"model": name.model, "messages": messages, limit: longest}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        shape = {"name": "reply", "schema": request.output_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if model.effort is not None:
        body["reasoning_effort"] = model.effort
    if model.temperature is not None:
        body["temperature"] = model.temperature
    return body | ({"extra_body": dict(model.extra_body)} if model.extra_body else {})


def _user(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the answers to calls first: nothing may stand between a call and its answer."""
    for block in message.content:
        if isinstance(block, ToolResultBlock):
            yield {"role": "tool", "tool_call_id": block.id, "content": block.text}
    texts = [block.text for block in message.content if isinstance(block, TextBlock)]
    if any(texts):
        yield {"role": "user", "content": "\n\n".join(text for text in texts if text)}


def _assistant(message: Message) -> Iterator[dict[str, Any]]:
    turn: dict[str, Any] = {"role": "assistant"}
    for block in message.content:
        if isinstance(block, ThinkingBlock):
            turn |= {key: value for key, value in block.opaque.items() if key in _REASONING}
    turn["content"] = "".join(b.text for b in message.content if isinstance(b, TextBlock))
    calls = [_call(block) for block in message.content if isinstance(block, ToolUseBlock)]
    if calls:
        # An empty text beside calls confuses some chat templates, and none is required.
        turn["content"] = turn["content"] or None
        turn["tool_calls"] = calls
    yield turn


def _call(block: ToolUseBlock) -> dict[str, Any]:
    # Chat templates parse the arguments of earlier calls, so malformed ones are wrapped.
    arguments = {MALFORMED: block.raw} if block.arguments is None else block.arguments
    function = {"name": block.name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": block.id, "type": "function", "function": function}


def reply_of(reply: Any) -> tuple[tuple[ContentBlock, ...], StopReason]:
    """Return the content of a reply, and why it ended.

    Raises:
        Trouble: When the reply has no message.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Trouble("answered without a message")
    content = list(_content(message))
    stop = _stop(choice.get("finish_reason"), message, content)
    if stop in ("max_tokens", "refusal") and content and isinstance(content[-1], ToolUseBlock):
        last = content[-1]
        raw = last.raw or json.dumps(last.arguments)
        content[-1] = last.model_copy(update={"arguments": None, "raw": raw})
    return tuple(content), stop


def text_of(reply: Any) -> tuple[tuple[ContentBlock, ...], StopReason]:
    """Return the continuation in a reply of the older completions, and why it ended.

    Raises:
        Trouble: When the reply has no text.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    text = choice.get("text") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(text, str):
        raise Trouble("answered without a text")
    content = (TextBlock(text=text),) if text else ()
    return content, _stop(choice.get("finish_reason"), {}, [])


def _stop(reason: Any, message: Mapping[str, Any], content: list[ContentBlock]) -> StopReason:
    if message.get("refusal"):
        return "refusal"
    if not isinstance(reason, str) or reason not in _STOPS:
        raise Trouble(
            f"stopped for the reason {str(reason)[:40]!r}, which is not known here",
            advice="is it a server of Chat Completions?",
            passing=not isinstance(reason, str) or reason == "error",
        )
    stop = _STOPS[reason]
    has_calls = any(isinstance(block, ToolUseBlock) for block in content)
    if stop in ("end", "tool_use"):
        # Servers differ in what they call the end of a reply that calls tools.
        return "tool_use" if has_calls else "end"
    return stop


def _content(message: Mapping[str, Any]) -> Iterator[ContentBlock]:
    hidden = {key: message[key] for key in _REASONING if message.get(key)}
    if hidden:
        words = next((hidden[k] for k in _REASONING[:2] if isinstance(hidden.get(k), str)), "")
        yield ThinkingBlock(text=words, opaque=hidden)
    text = _text(message.get("content")) or _text(message.get("refusal"))
    if text:
        yield TextBlock(text=text)
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            yield _tool_use(call, index)


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _tool_use(call: Mapping[str, Any], index: int) -> ToolUseBlock:
    found = call.get("function")
    function = found if isinstance(found, dict) else {}
    written = function.get("arguments")
    arguments = _arguments(written)
    raw = written if isinstance(written, str) else json.dumps(written)
    return ToolUseBlock(
        # Some servers leave the id out; it only has to be unique within the turn.
        id=str(call.get("id") or f"call_{index}"),
        name=str(function.get("name") or ""),
        arguments=arguments,
        raw="" if arguments is not None else raw,
    )


def _arguments(written: Any) -> dict[str, Any] | None:
    if written in ("", None):
        return {}
    if isinstance(written, str):
        try:
            written = sound(json.loads(written))
        except (ValueError, RecursionError):
            return None
    return written if isinstance(written, dict) else None


def usage_of(usage: Any) -> TokenUsage:
    """Translate token counts; the API counts cached input inside the prompt, our records apart."""
    if not isinstance(usage, dict):
        return TokenUsage()

    def count(block: Any, key: str) -> int | None:
        value = block.get(key) if isinstance(block, dict) else None
        return value if isinstance(value, int) and value >= 0 else None

    details = usage.get("prompt_tokens_details")
    read, written = count(details, "cached_tokens"), count(details, "cache_write_tokens")
    prompt = count(usage, "prompt_tokens")
    return TokenUsage(
        input_tokens=None if prompt is None else max(0, prompt - (read or 0) - (written or 0)),
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=count(usage, "completion_tokens"),
    )
