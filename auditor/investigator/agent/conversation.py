"""The conversation with the auditor's model: what it hears, and how it is told again each turn."""

from collections.abc import Sequence

from auditor.investigator.agent.limits import CALLING
from auditor.investigator.agent.memory import Known, Memory, Page, Part, Turn, Waiting
from auditor.investigator.agent.pages import MAX_SUMMARY, brief, item_lines, render
from auditor.investigator.agent.prompt import (
    NOT_MADE,
    OPENING,
    STATUS,
    TODO,
    UNREAD,
    UNUSED,
    amounts_left,
)
from auditor.investigator.agent.todo import listed
from auditor.investigator.protocol import ResultLookup, ToolResult, View
from auditor.provider.protocol import (
    Completion,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
)
from tools.read_result import read_result

_SHORT = 120
_LISTED = 12


def hear(memory: Memory, view: View) -> None:
    """Add to the conversation what the last move brought, and what is left of the budget."""
    if memory.room == "full":
        # The last request was not answered, so all of this stands there already.
        return
    if not memory.turns:
        memory.tell(TextBlock(text=OPENING.format(left=amounts_left(view.remaining))))
        return
    results = iter(view.results)
    answers: list[Part] = []
    for slot in memory.slots:
        result = next(results, None) if isinstance(slot, Waiting) else None
        if not isinstance(slot, Waiting):
            answers.append(slot)
        elif result is None:
            text = NOT_MADE.format(limit=_used_up(view))
            answers.append(ToolResultBlock(id=slot.id, text=text, is_error=True))
        else:
            answers.append(_page(slot, result, memory))
    memory.slots = []
    words = [memory.nudge, *status(memory, view)]
    memory.nudge = ""
    memory.tell(*answers, TextBlock(text="\n".join(filter(None, words))))


def _used_up(view: View) -> str:
    there = [name for name in CALLING if view.remaining.get(name) == 0]
    return f"{there[0]} are" if there else "the budget is"


def _page(slot: Waiting, result: ToolResult, memory: Memory) -> Page:
    source = _source(slot, result, memory)
    paged = source != result.evidence_id or result.tool != read_result.name
    page = Page(
        id=slot.id,
        evidence_id=result.evidence_id,
        tool=result.tool,
        ok=result.ok,
        summary=brief(result.summary, MAX_SUMMARY),
        source=source,
        offset=result.offset if paged else 0,
        fetched=len(result.items),
        total=result.total if paged else len(result.items),
        remark=slot.remark,
    )
    memory.results[result.evidence_id] = Known(
        tool=result.tool,
        ok=result.ok,
        summary=brief(result.summary, _SHORT),
        source=source,
        # The items of a page are counted where they are from.
        total=page.total if source == result.evidence_id else 0,
    )
    if result.ok and slot.about in memory.results and result.tool != read_result.name:
        about = memory.results[slot.about]
        memory.results[slot.about] = about.model_copy(update={"searched": True})
    shown = len(item_lines(result.items))
    if result.ok and shown:
        known = memory.results[source]
        memory.results[source] = known.showing(page.offset, page.offset + shown)
    return page


def _source(slot: Waiting, result: ToolResult, memory: Memory) -> str:
    """The result whose items a call returned: for a page of an earlier one, that one."""
    about = memory.results.get(slot.about) if result.tool == read_result.name else None
    # The page of a page counts its items from the start of that page: it stands for itself.
    is_page = result.ok and about is not None and about.source == slot.about
    return slot.about if is_page else result.evidence_id


def status(memory: Memory, view: View) -> list[str]:
    """Say what is left of the budget, what was not read or used yet, and what is still to do."""
    lines = [STATUS.format(left=amounts_left(view.remaining))]
    unread = [f"{name} ({known.unread} items)" for name, known in memory.results.items()
              if known.unread]  # fmt: skip
    if unread:
        lines.append(UNREAD.format(results=", ".join(unread[-_LISTED:])))
    unused = unused_tools(memory, view.tools)
    if unused:
        lines.append(UNUSED.format(tools=", ".join(unused)))
    if memory.todo:
        lines.append(TODO.format(todo="; ".join(listed(memory.todo, _SHORT, _LISTED))))
    return lines


def unused_tools(memory: Memory, tools: Sequence[str]) -> list[str]:
    """Return the tools of the audit that no call was made of; paging is no tool of its own."""
    used = {known.tool for known in memory.results.values()}
    return [name for name in tools if name not in used and name != read_result.name]


def messages(memory: Memory, lookup: ResultLookup) -> tuple[Message, ...]:
    """Tell the conversation as a provider takes it, with the texts of all results."""
    return tuple(
        Message(
            role=turn.role,
            content=tuple(
                _answer(part, lookup) if isinstance(part, Page) else part for part in turn.content
            ),
        )
        for turn in memory.turns
    )


def _answer(page: Page, lookup: ResultLookup) -> ToolResultBlock:
    items = lookup.items(page.evidence_id) if page.ok else ()
    return ToolResultBlock(id=page.id, text=render(page, items), is_error=not page.ok)


def said(completion: Completion) -> Turn:
    """Return the model's reply as a turn that a provider will take back."""
    cut = completion.stop == "max_tokens"
    kept: list[Part] = [
        block
        for block in completion.content
        if not (isinstance(block, TextBlock) and not block.text.strip())
        # Thoughts that were cut off lack the provider's signature.
        and not (isinstance(block, ThinkingBlock) and cut)
        and not isinstance(block, ToolResultBlock)
    ]
    if all(isinstance(block, ThinkingBlock) for block in kept):
        kept.append(TextBlock(text=NO_WORDS))
    return Turn(role="assistant", content=tuple(kept))


NO_WORDS = "(no words)"
