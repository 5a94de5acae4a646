"""A language model that writes inputs for the tools that send many at once."""

import json
from collections.abc import Sequence
from typing import Any

from auditor.provider.protocol import Message, Provider, Request
from tools.instruments import Written
from tools.protocols import ToolError

SYSTEM = """\
You write inputs for a language model that is being studied. You are told what kind of input to
write and how many. Answer with the inputs alone, as the JSON object that you are asked for; a text
that an input does not have is the empty string."""


class ProviderWriter:
    """Asks a provider; implements `tools.protocols.Writer`."""

    def __init__(self, provider: Provider) -> None:
        """Write with this provider."""
        self._provider = provider

    @property
    def name(self) -> str:
        """`provider/model`, without an address or a folder."""
        scheme, _, model = self._provider.name.partition("/")
        return f"{scheme}/{model.partition('@')[0].rstrip('/').rpartition('/')[2]}"

    def write(self, instructions: str, *, fields: Sequence[str], n: int, seed: int) -> Written:
        """Write inputs; those that lack a field, or hold something else, are given as "" there.

        Raises:
            ToolError: When the reply cannot be read, or is none.
        """
        said = self._provider.complete(
            Request(
                system=SYSTEM,
                messages=(Message.user(instructions),),
                output_schema=_schema(fields),
                # Another seed is another request, so that a cache does not give the same inputs.
                trial=seed,
            )
        )
        if said.stop == "refusal":
            raise ToolError("the auxiliary model refused to write: give another hint, or none")
        found = _inputs(said.text)
        if found is None:
            cut = ", because it was cut at its longest reply: ask for fewer (k)"
            why = cut if said.stop == "max_tokens" else ": try again with another hint"
            raise ToolError(f"what the auxiliary model wrote cannot be read{why}")
        return Written(
            tuple({field: _text(one, field) for field in fields} for one in found),
            0.0 if said.cached else said.dollars,
        )


def _schema(fields: Sequence[str]) -> dict[str, Any]:
    texts = {field: {"type": "string"} for field in fields}
    one = {
        "type": "object",
        "properties": texts,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"inputs": {"type": "array", "items": one}},
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _inputs(text: str) -> list[Any] | None:
    """Return the inputs of a reply; None when it holds no such object."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    found = value.get("inputs") if isinstance(value, dict) else None
    return found if isinstance(found, list) else None


def _text(one: Any, field: str) -> str:
    value = one.get(field) if isinstance(one, dict) else None
    return value if isinstance(value, str) else ""
