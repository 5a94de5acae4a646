"""Say in plain words what is wrong with the arguments of a tool call."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_SHOWN = 60


def explain(tool: str, schema: Mapping[str, Any], error: ValidationError) -> str:
    """Turn a validation error into one line that says what to send instead.

    Args:
        tool: Name of the tool.
        schema: JSON Schema of its arguments.
        error: What pydantic found.

    Returns:
        Every mistake, then the parameters that the tool takes.
    """
    known = list(schema.get("properties", {}))
    found = []
    for mistake in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in mistake["loc"]) or "arguments"
        if mistake["type"] == "missing":
            found.append(f"{where} is missing")
        elif mistake["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, known, n=1)
            found.append(f"there is no {where}" + (f" (did you mean {near[0]}?)" if near else ""))
        else:
            found.append(f"{where}: {mistake['msg']} (got {_shorten(mistake['input'])})")
    return f"{tool}: {'; '.join(dict.fromkeys(found))}. Send {signature(schema)}"


def signature(schema: Mapping[str, Any]) -> str:
    """Describe the parameters of a schema on one line, `name: type` each, optional ones marked."""
    required = schema.get("required", [])
    parts = [
        f"{name}{'' if name in required else '?'}: {type_name(part, schema)}"
        for name, part in schema.get("properties", {}).items()
    ]
    return "{" + ", ".join(parts) + "}"


def type_name(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Name the type of one node of a JSON Schema as a person would."""
    if "$ref" in part:
        return signature(schema["$defs"][part["$ref"].rsplit("/", 1)[-1]])
    if "anyOf" in part:
        return " or ".join(type_name(option, schema) for option in part["anyOf"])
    if "enum" in part:
        return " or ".join(repr(value) for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {type_name(part.get('items', {}), schema)}"
    return str(part.get("type", "any"))


def _shorten(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
