"""Search the whole output of an earlier call."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading.patterns import compile_pattern, find
from tools.registry import Execute, tool

MAX_PATTERN = 200
_SHOWN_COUNTS = 5


@tool(needs=("reader",))
def nla_grep() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        evidence_id: str,
        pattern: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)],
        match: Literal["phrase", "words"] = "phrase",
        field: str | None = None,
        count_by: str = "whose",
    ) -> ToolOutput:
        """Search every item of an earlier result for words, and count how many hold them.

        All items are searched, not only the page that was shown. A pattern is plain words: casing
        and spacing do not matter, `*` stands for any letters within a word, and `|` separates
        alternatives, as in "wants approv* | pleas*". It is no regular expression.

        One item for each that matches: all its own fields, with `row` (its place in the result,
        from 0) and `matched` (the words found).

        Source:
            None.

        Cost:
            Nothing.

        Misses:
            Wordings that the pattern does not hold.

        Args:
            ctx: What this call may touch.
            evidence_id: Which result, such as E3.
            pattern: Words to look for.
            match: "phrase" finds the words next to each other; "words" finds items that hold all of
                them anywhere, in any order.
            field: Only search this field of the items, such as explanation; left out: all fields.
            count_by: Field by whose values the summary counts.
        """
        if evidence_id not in ctx.results:
            known = ", ".join(ctx.results) or "none yet"
            raise ToolError(f"there is no result {evidence_id!r}; results are: {known}")
        items = ctx.results[evidence_id].items
        if field is not None and items and not any(field in item for item in items):
            fields = ", ".join(dict.fromkeys(key for item in items for key in item))
            raise ToolError(f"no item of {evidence_id} has a field {field!r}; there are: {fields}")
        compiled = compile_pattern(pattern, match)
        found = []
        for row, item in enumerate(items):
            matched = find(compiled, item if field is None else {field: item.get(field)})
            if matched is not None:
                found.append({"row": row, "matched": matched, **item})
        return ToolOutput(
            summary=f"{len(found)} of {len(items)} items of {evidence_id} hold {pattern!r}"
            + _counts(items, found, count_by),
            items=tuple(found),
        )

    return execute


def _counts(items: tuple[dict[str, Any], ...], found: list[dict[str, Any]], key: str) -> str:
    """Say how many items match for each value of a field; nothing when no item has it."""
    total = Counter(str(item[key]) for item in items if item.get(key) is not None)
    hits = Counter(str(item[key]) for item in found if item.get(key) is not None)
    if not total:
        return ""
    shown = sorted(total, key=lambda value: (-hits[value], value))[:_SHOWN_COUNTS]
    listed = ", ".join(f"{value} {hits[value]} of {total[value]}" for value in shown)
    more = len(total) - len(shown)
    return f"; by {key}: {listed}" + (f" and {more} more" if more else "")
