"""Tool calls and thoughts in the text of a local model, in the forms that chat templates teach.

- Hermes and Qwen: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`
- Qwen3-Coder: `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`
- Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}]` or `[TOOL_CALLS]NAME[ARGS]{…}`
- Llama 3: `<|python_tag|>{"name": …, "parameters": {…}}`, or such an object as the whole reply

A call that is begun and makes no sense is a malformed call; the auditor is told, and may repeat it.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from auditor.provider.protocol import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock

_THOUGHT = re.compile(r"\A\s*(?:<think>)?(.*?)</think>", re.DOTALL)
_OPEN_THOUGHT = re.compile(r"\A\s*<think>(.*)\Z", re.DOTALL)
_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_BRACKETED = re.compile(r"\[TOOL_CALLS\]\s*(.*?)(?=\[TOOL_CALLS\]|\Z)", re.DOTALL)
_NAMED = re.compile(r"\A([\w.-]+)\s*(?:\[CALL_ID\][\w-]*)?\s*\[ARGS\]\s*(.*)\Z", re.DOTALL)
_PYTHON_TAG = "<|python_tag|>"


class Call(NamedTuple):
    """One call as it was found."""

    name: str
    arguments: dict[str, Any] | None
    raw: str


def read_reply(text: str, tools: Collection[str]) -> tuple[ContentBlock, ...]:
    """Take a reply apart.

    Args:
        text: What the model wrote, special tokens that belong to calls among it.
        tools: Names of the tools that it was told of; without any, calls are not looked for.
    """
    thought, text = _thought(text)
    blocks: list[ContentBlock] = [ThinkingBlock(text=thought)] if thought else []
    calls, words = _calls(text, tools) if tools else ([], text)
    if words.strip():
        blocks.append(TextBlock(text=words.strip()))
    for index, call in enumerate(calls):
        raw = "" if call.arguments is not None else call.raw
        block = ToolUseBlock(id=f"call_{index}", name=call.name, arguments=call.arguments, raw=raw)
        blocks.append(block)
    return tuple(blocks)


def _thought(text: str) -> tuple[str, str]:
    # Many templates open the thought themselves, so that only its end is in the reply.
    for pattern in (_THOUGHT, _OPEN_THOUGHT):
        match = pattern.match(text)
        if match:
            return match[1].strip(), text[match.end() :]
    return "", text


def _calls(text: str, tools: Collection[str]) -> tuple[list[Call], str]:
    """Return the calls of a text, and the words outside them."""
    for pattern, read in ((_TAGGED, _tagged), (_BRACKETED, _bracketed)):
        found = [call for match in pattern.finditer(text) for call in read(match[1].strip())]
        if found:
            return found, pattern.sub("", text)
    before, tag, after = text.partition(_PYTHON_TAG)
    if tag:
        return list(_objects(after.strip())), before
    whole = [call for call in _objects(text.strip()) if call.name in tools]
    return (whole, "") if whole else ([], text)


def _tagged(body: str) -> Iterator[Call]:
    functions = list(_FUNCTION.finditer(body))
    if not functions:
        yield from _objects(body)
    for match in functions:
        written = dict(_PARAMETER.findall(match[2]))
        # A parameter that is opened and not closed was cut off.
        whole = match[2].count("<parameter=") == len(written)
        arguments = {key: _value(value) for key, value in written.items()}
        yield Call(match[1], arguments if whole else None, body)


def _bracketed(body: str) -> Iterator[Call]:
    named = _NAMED.match(body)
    if named:
        arguments = _loads(named[2])
        yield Call(named[1], arguments if isinstance(arguments, dict) else None, body)
    else:
        yield from _objects(body)


def _objects(body: str) -> Iterator[Call]:
    """Read one call or a list of calls, or several objects with semicolons or space between."""
    value = _loads(body)
    if value is None:
        parts = [_loads(part) for part in re.split(r"(?<=\})\s*;?\s*(?=\{)", body)]
        value = parts if len(parts) > 1 and all(isinstance(p, dict) for p in parts) else body
    for item in value if isinstance(value, list) else [value]:
        yield _call(item, body)


def _call(item: Any, raw: str) -> Call:
    if not isinstance(item, dict):
        return Call("", None, raw)
    function = item.get("function")
    inner = function if isinstance(function, dict) else item
    name = inner.get("name")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _loads(arguments)
    sound = isinstance(name, str) and isinstance(arguments, dict)
    return Call(name if isinstance(name, str) else "", arguments if sound else None, raw)


def _value(text: str) -> Any:
    """Return a parameter's value, which is JSON unless it is plain words."""
    value = _loads(text)
    return text if value is None and text.strip() != "null" else value


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
