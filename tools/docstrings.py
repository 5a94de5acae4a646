"""Read the help of a tool out of its google-style docstring."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

NOTES = ("Source", "Cost", "Misses")
"""Sections that say where a tool comes from, what a call costs, and what it is known to miss."""
_SECTION = re.compile(
    rf"^(Args|Arguments|Returns|Raises|Yields|Examples?|Notes?|{'|'.join(NOTES)}):\s*$"
)
_ENTRY = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


class Help(NamedTuple):
    """What a docstring says."""

    description: str
    """Everything above the first section, paragraphs kept."""
    parameters: dict[str, str]
    """Help of each parameter, on one line."""
    notes: dict[str, str]
    """Text of each section of `NOTES` that is there, on one line."""


def parse_docstring(function: Callable[..., Any]) -> Help:
    """Split a docstring into its description and the help of each parameter.

    Args:
        function: Whose docstring to read; one without a docstring gives empty help.

    Returns:
        The description, the entries of its `Args:` section, and its notes.
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
    notes = {name: " ".join(" ".join(sections[name]).split()) for name in NOTES if name in sections}
    return Help(_paragraphs(sections[""]), _entries(described), notes)


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
