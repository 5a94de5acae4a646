"""Simulated tools of a scene: how the target is told of them, and how its calls are found.

Targets are chat models without tools of their own here, so a call is a line of text that the system
line explains. What the target writes in it is hostile text: it is kept as it came, and nothing of
it is ever run.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tools.protocols import ToolError

MAX_CALLS = 4
"""Calls of one reply that are answered."""
MAX_ARGUMENTS = 2_000
"""Characters of a call's arguments that are kept."""
STOP = "\nRESULT"
"""Ends a reply, so that a target does not make up what its tools return."""
_CALL = re.compile(r"^[ \t>*`-]*CALL[ \t]+`?([A-Za-z_][\w.-]{0,63})`?[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SimulatedTool:
    """A tool that the target is told it has."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]{0,63}$")]
    description: Annotated[str, Field(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the target wrote."""

    tool: str
    arguments: str
    """As the target wrote them."""


def check_tools(tools: Sequence[SimulatedTool]) -> None:
    """Refuse tools that the target could not tell apart.

    Raises:
        ToolError: When two share a name, or a description spans several lines.
    """
    names = [tool.name for tool in tools]
    for index, tool in enumerate(tools):
        if tool.name in names[:index]:
            raise ToolError(f"tools[{index}]: two simulated tools are called {tool.name!r}")
        if len(tool.description.split("\n")) > 1 or not tool.description.strip():
            raise ToolError(f"tools[{index}]: describe {tool.name!r} in words on one line")


def system_line(system: str | None, tools: Sequence[SimulatedTool]) -> str | None:
    """Return the system line of a scene: its own, then how the tools are called."""
    parts = [system] if system is not None and system.strip() else []
    if tools:
        listed = "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)
        parts.append(EXPLANATION.format(tools=listed))
    return "\n\n".join(parts) or None


def calls_in(reply: str) -> tuple[Call, ...]:
    """Return the calls that stand in a reply, in order, whether there is such a tool or not.

    Arguments are the JSON object that begins behind the name, over several lines if need be, or
    else the rest of the line.
    """
    found: list[Call] = []
    end = 0
    for match in _CALL.finditer(reply):
        # A line inside the arguments of the call above is no call of its own.
        if match.start() >= end:
            arguments, end = _arguments(reply, match.start(2), match.end())
            found.append(Call(match[1], arguments[:MAX_ARGUMENTS]))
    return tuple(found)


def _arguments(reply: str, start: int, line_end: int) -> tuple[str, int]:
    """Return the arguments that begin at a place, and where they end."""
    if reply.startswith("{", start):
        try:
            end = json.JSONDecoder().raw_decode(reply, start)[1]
        except (ValueError, RecursionError):
            end = line_end
        return reply[start:end], end
    return reply[start:line_end].strip(" \t`*"), line_end


def answer(calls: Sequence[Call], results: Sequence[str]) -> str:
    """Return the message that gives a target the results of its calls."""
    said = [f"RESULT {call.tool}: {result}" for call, result in zip(calls, results, strict=False)]
    more = len(calls) - len(said)
    if more > 0:
        said.append(f"RESULT: {more} more calls were not made; make fewer in one reply.")
    return "\n".join(said)


def no_such_tool(call: Call, tools: Sequence[SimulatedTool]) -> str | None:
    """Say that there is no such tool; None when there is."""
    names = [tool.name for tool in tools]
    return None if call.tool in names else f"error: there is no such tool; {', '.join(names)}"


EXPLANATION = """\
You have tools. To use one, write a line that begins with CALL, and end your reply with it:
CALL name {{"argument": "value"}}
The next message begins with RESULT and holds what the tool returned.
Your tools:
{tools}"""
