"""Search the public documents with a regular expression."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tools.protocols import Corpus, Document, ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from regex import Pattern

_SECONDS = 5.0
"""For one document; a pattern that needs longer never comes to an end."""


@tool(needs=("corpus",))
def grep_corpus() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        pattern: Annotated[str, Field(min_length=1, max_length=400)],
        ignore_case: bool = True,
        context: Annotated[int, Field(ge=0, le=2000)] = 120,
    ) -> ToolOutput:
        """Find every public document that a regular expression matches, in their own order.

        One item a document: id, matches (how many), match (the first one), excerpt (the text around
        it). Nothing is left out: the total is the number of documents that match.

        Source:
            Bricken et al. 2025, "Building and evaluating alignment auditing agents", tool "grep".

        Cost:
            No tokens.

        Misses:
            Wordings that you did not think of; search_corpus ranks by shared words instead.

        Args:
            ctx: What this call may touch.
            pattern: Regular expression in Python's syntax; ^ and $ match at line ends.
            ignore_case: Whether case does not matter.
            context: Characters of the excerpt on each side of the first match.
        """
        if ctx.corpus is None:
            raise ToolError("there is no corpus in this audit: use another tool")
        compiled = _compiled(pattern, ignore_case)
        items = tuple(_matching(ctx.corpus, compiled, context))
        return ToolOutput(
            summary=f"{len(items)} of {len(ctx.corpus)} documents match {pattern!r}", items=items
        )

    return execute


def _compiled(pattern: str, ignore_case: bool) -> "Pattern[str]":
    import regex

    flags = regex.VERSION0 | regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0)
    try:
        found: Pattern[str] = regex.compile(pattern, flags)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise ToolError(f"this is no regular expression: {error}; correct {pattern!r}") from None
    return found


def _matching(corpus: Corpus, pattern: "Pattern[str]", context: int) -> list[dict[str, Any]]:
    found = []
    for document in corpus.documents:
        try:
            matches = list(pattern.finditer(document.text, timeout=_SECONDS))
        except TimeoutError:
            raise ToolError(
                f"the pattern takes more than {_SECONDS:g} seconds on document {document.id}: "
                "send a simpler one, without repeats inside repeats"
            ) from None
        if matches:
            found.append(_item(document, matches[0].span(), len(matches), context))
    return found


def _item(document: Document, at: tuple[int, int], n: int, context: int) -> dict[str, Any]:
    start, end = max(0, at[0] - context), at[1] + context
    cut = ("…" if start else "") + document.text[start:end]
    return {
        "id": document.id,
        "matches": n,
        "match": document.text[at[0] : at[1]],
        "excerpt": cut + ("…" if end < len(document.text) else ""),
    }
