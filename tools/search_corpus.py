"""Search the documents that the scenario makes public."""

from typing import Annotated

from pydantic import Field

from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool
from tools.rows import MAX_ROWS, check_texts


@tool(needs=("corpus",))
def search_corpus() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        query: str,
        limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20,
    ) -> ToolOutput:
        """Search the public documents by words and return the best, best first.

        Documents that share no word with the query are never returned. One item a document: id,
        text, score, rank (from 1).

        Source:
            BM25, the Lucene variant (Kamphuis et al. 2020); Bricken et al. 2025 offer auditors a
            semantic search.

        Cost:
            No tokens.

        Misses:
            Documents that say it in other words; grep_corpus finds parts of words.

        Args:
            ctx: What this call may touch.
            query: Words to look for.
            limit: Most documents to return.
        """
        if ctx.corpus is None:
            raise ToolError("there is no corpus in this audit: use another tool")
        check_texts("query", [query])
        found = ctx.corpus.search(query, limit=limit)
        return ToolOutput(
            summary=f"{len(found)} documents of {len(ctx.corpus)} for {query!r}",
            items=tuple(
                {"id": document.id, "text": document.text, "score": score, "rank": rank}
                for rank, (document, score) in enumerate(found, start=1)
            ),
        )

    return execute
