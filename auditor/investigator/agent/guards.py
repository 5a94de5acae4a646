"""Calls that are not passed on: unknown tools, unreadable arguments, the same call once more."""

import difflib
import hashlib
import json
from collections.abc import Mapping

from auditor.investigator.agent.desk import FORMS, Refused
from auditor.investigator.agent.desk import usage as desk_usage
from auditor.investigator.agent.memory import Memory
from auditor.investigator.agent.pages import brief
from auditor.provider.protocol import ToolUseBlock
from tools.arguments import signature
from tools.registry import Tool

TOLD_AT = 3
"""The same call, argument for argument, is remarked on when it is made this often …"""
MOST_REPEATS = 3
"""… and is not made more often than this. Sampling tools draw afresh, so a second time is fair."""


def arguments_of(use: ToolUseBlock, tools: Mapping[str, Tool]) -> dict[str, object]:
    """Return the arguments of a call of a tool that there is.

    Raises:
        Refused: When there is no such tool, or the arguments were not a JSON object.
    """
    names = [*tools, *FORMS]
    if use.name not in names:
        near = difflib.get_close_matches(use.name, names, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise Refused(f"there is no tool {use.name[:80]!r}: {hint}Tools are {', '.join(names)}")
    if use.arguments is None:
        takes = desk_usage(use.name) if use.name in FORMS else signature(tools[use.name].parameters)
        came = f" (got {brief(use.raw, 200)})" if use.raw else ""
        raise Refused(f"{use.name}: the arguments are not a JSON object{came}. Send {takes}")
    return use.arguments


def count_call(use: ToolUseBlock, memory: Memory) -> str:
    """Count a call, and return what is to be told about it.

    Raises:
        Refused: When it was made too often already.
    """
    digest = _digest(use)
    before = memory.repeats.get(digest, 0)
    if before >= MOST_REPEATS:
        raise Refused(BLOCKED.format(times=before))
    memory.repeats[digest] = before + 1
    return REPEATED.format(times=before + 1) if before + 1 >= TOLD_AT else ""


def _digest(use: ToolUseBlock) -> str:
    text = json.dumps([use.name, use.arguments], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


REPEATED = (
    "You have now made this very call {times} times; it will not be made again. Change the "
    "question, or ask for more samples in one call."
)
BLOCKED = (
    "not made: you made this very call {times} times already, and its results are above. Change "
    "the question, test another idea, or submit"
)
