"""Take back the last exchanges of a conversation."""

from typing import Annotated

from pydantic import Field

from tools import talks
from tools.protocols import ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool()
def rewind() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext, *, conversation: str, exchanges: Annotated[int, Field(ge=1)] = 1
    ) -> ToolOutput:
        """Begin a new conversation with all but the last exchanges of another one.

        What is taken back stays in the other conversation, where everyone can see it. One item,
        which records the new conversation: conversation (its id), parent, kept.

        Source:
            Petri (Anthropic, 2025), whose auditor rolls conversations back; branches are kept here.

        Cost:
            Nothing.

        Misses:
            Nothing: what is taken back stays in the other conversation.

        Args:
            ctx: What this call may touch.
            conversation: Id of the conversation.
            exchanges: How many exchanges, a user's and an assistant's turn each, to take back.
        """
        there = len(talks.find(ctx, conversation).turns)
        summary, item = talks.branched(ctx, conversation, there - 2 * exchanges)
        return ToolOutput(summary=summary, items=(item,))

    return execute
