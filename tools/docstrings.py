"""Read the help of a tool out of its google-style docstring."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Examples?|Notes?):\s*$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


class Help(NamedTuple):
    """What a docstring says."""

    description: str
    """Everything above the first section, paragraphs kept."""
    parameters: dict[str, str]
    """Help of each parameter, on one line."""


def parse_docstring(function: Callable[..., Any]) -> Help:
    """Split a docstring into its description and the help of each parameter.

    Args:
        function: Whose docstring to read; one without a docstring gives empty help.

    Returns:
        The description and the entries of its `Args:` section.
    """
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in (inspect.getdoc(function) or "").splitlines():
        match = _SECTION.match(line)
        if match:
            current = match[1]
            sections.setdefault(current, [])
        else:
            sections[current].append(line)
    described = sections.get("Args", []) + sections.get("Arguments", [])
    return Help(_paragraphs(sections[""]), _entries(described))


def _paragraphs(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))


def _entries(lines: list[str]) -> dict[str, str]:
    """Parse `name: help` entries; deeper-indented lines continue the entry above."""
    depth = min((_indent(line) for line in lines if line.strip()), default=0)
    found: dict[str, list[str]] = {}
    name = None
    for line in lines:
        match = _ENTRY.match(line.strip()) if _indent(line) == depth else None
        if match:
            name = match[1]
            found[name] = [match[2]]
        elif name is not None and line.strip():
            found[name].append(line.strip())
    return {key: " ".join(parts).strip() for key, parts in found.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
