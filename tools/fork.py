"""Branch a conversation off at one of its turns."""

from typing import Annotated

from pydantic import Field

from tools import talks
from tools.protocols import ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool()
def fork() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext, *, conversation: str, turns: Annotated[int, Field(ge=1)]
    ) -> ToolOutput:
        """Begin a new conversation with the first turns of another one, which stays as it is.

        One item, which records the new conversation: conversation (its id), parent, kept.

        Source:
            Petri (Anthropic, 2025), whose auditor rolls conversations back; branches are kept here.

        Cost:
            Nothing.

        Misses:
            Nothing: the conversation that it branches off from stays as it is.

        Args:
            ctx: What this call may touch.
            conversation: Id of the conversation to branch off from.
            turns: How many of its turns to keep; the last one must be the assistant's.
        """
        summary, item = talks.branched(ctx, conversation, turns)
        return ToolOutput(summary=summary, items=(item,))

    return execute
