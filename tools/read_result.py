"""Read on in an earlier result."""

from typing import Annotated

from pydantic import Field

from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool

PAGE = 20
MAX_PAGE = 100


@tool()
def read_result() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        evidence_id: str,
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE,
    ) -> ToolOutput:
        """Show another page of an earlier result, whose first page you have seen.

        Always available, in every tool set. The items are those of the earlier result.

        Source:
            None.

        Cost:
            Nothing.

        Misses:
            Nothing: every item of every earlier result can be read.

        Args:
            ctx: What this call may touch.
            evidence_id: Which result, such as E3.
            offset: How many of its items to skip.
            limit: Most items to show.
        """
        if evidence_id not in ctx.results:
            known = ", ".join(ctx.results) or "none yet"
            raise ToolError(f"there is no result {evidence_id!r}; results are: {known}")
        items = ctx.results[evidence_id].items
        if offset and offset >= len(items):
            raise ToolError(f"{evidence_id} has {len(items)} items: send a smaller offset")
        page = items[offset : offset + limit]
        shown = (
            f"items {offset + 1} to {offset + len(page)} of {len(items)}" if page else "no items"
        )
        return ToolOutput(summary=f"{evidence_id}: {shown}", items=page)

    return execute
