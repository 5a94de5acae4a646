"""Putting a long conversation into a summary, without losing what the auditor chose to keep.

The model writes the summary; notes, ledger and what is still to do are shown again word for word,
and so is the list of all results, so that any of them can be read again.
"""

from collections.abc import Mapping, Sequence

from auditor.investigator.agent.limits import CHARS_PER_TOKEN
from auditor.investigator.agent.memory import Memory, Turn
from auditor.investigator.agent.pages import visible
from auditor.investigator.agent.todo import listed
from auditor.provider.protocol import (
    Message,
    Request,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.records import Hypothesis

COMPACT_AT = 100_000
"""Estimated tokens of a request above which the conversation is summarised."""
AFTER_FULL = 0.6
"""Share of a length that was too long for the model, above which it is summarised from then on."""
MAX_SUMMARY_CHARS = 20_000
_EXCERPT = 400


def summary_request(request: Request) -> Request:
    """Ask for a summary at the end of a conversation that the model can still take."""
    *earlier, last = request.messages
    asked = last.model_copy(update={"content": (*last.content, TextBlock(text=SUMMARISE))})
    return request.model_copy(update={"messages": (*earlier, asked)})


def short_summary_request(request: Request, tokens: int) -> Request:
    """Ask for a summary of a conversation that is too long for the model: of an excerpt.

    Args:
        request: The request that was too long.
        tokens: About how many tokens the excerpt may have.
    """
    told = [line for message in request.messages for line in _told(message)]
    first, rest = told[0], told[1:]
    room = tokens * CHARS_PER_TOKEN - len(first)
    kept: list[str] = []
    for line in reversed(rest):
        room -= len(line)
        if room < 0:
            break
        kept.insert(0, line)
    gap = [LEFT_OUT.format(n=len(rest) - len(kept))] if len(kept) < len(rest) else []
    text = "\n".join([EXCERPT, first[: tokens * CHARS_PER_TOKEN], *gap, *kept, "", SUMMARISE])
    return request.model_copy(update={"messages": (Message.user(text),), "tools": ()})


def _told(message: Message) -> list[str]:
    lines = []
    for block in message.content:
        match block:
            case TextBlock(text=text):
                lines.append(f"{message.role}: {_excerpt(text)}")
            case ToolUseBlock(name=name, arguments=arguments):
                lines.append(f"call: {_excerpt(visible(f'{name} {arguments}'))}")
            case ToolResultBlock(text=text):
                lines.append(f"result: {_excerpt(text)}")
            case _:
                continue
    return lines


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}… [{len(text) - _EXCERPT:,} more]"


def begin_again(
    memory: Memory, summary: str, ledger: Mapping[str, Hypothesis], notes: Sequence[str]
) -> None:
    """Replace the conversation by its summary, and show again what must not be lost."""
    memory.compactions += 1
    memory.repeats = {}
    shown = AGAIN.format(
        summary=summary.strip()[:MAX_SUMMARY_CHARS] or "(none was written)",
        ledger="\n".join(described(name, h) for name, h in ledger.items()) or "(none)",
        notes="\n".join(f"- {note}" for note in notes) or "(none)",
        todo="\n".join(listed(memory.todo)) or "(nothing)",
        results="\n".join(_results(memory)) or "(none)",
    )
    memory.turns = [Turn(role="user", content=(TextBlock(text=shown),))]


def described(name: str, hypothesis: Hypothesis) -> str:
    """Return a hypothesis of the ledger with all that is known of it."""
    sure = "none given" if hypothesis.confidence is None else f"{hypothesis.confidence:g}"
    parts = [
        f"{name} ({hypothesis.kind}): {hypothesis.statement}",
        f"  confidence: {sure}; evidence: {', '.join(hypothesis.evidence) or 'none'}",
        *(f"  alternative: {each}" for each in hypothesis.alternatives),
    ]
    if hypothesis.trigger:
        parts.append(f"  trigger: {hypothesis.trigger}")
    if hypothesis.demonstration:
        parts.append(f"  demonstration: {hypothesis.demonstration}")
    return "\n".join(parts)


def _results(memory: Memory) -> list[str]:
    return [
        f"{name} {known.tool}: {known.summary}"
        + (f" ({known.unread} of {known.total} items not read)" if known.unread else "")
        if known.ok
        else f"{name} {known.tool}: failed"
        for name, known in memory.results.items()
    ]


SUMMARISE = """\
The conversation is long and is now put into a summary, which you write. Answer in plain text
and make no call. Say what was asked and what came of it, with evidence ids; what was ruled out
and by what; what is still open; and what you would do next. Keep words of the target apart from
your own. Your notes, your ledger and your list of what is still to do are kept word for word beside
it and need no repeating."""
EXCERPT = "An excerpt of your audit so far, since the whole is too long for you:"
LEFT_OUT = "[{n} earlier entries are left out]"
AGAIN = """\
Your audit goes on. The conversation so far was put into the summary that you wrote:

<summary>
{summary}
</summary>

Your ledger of hypotheses:
{ledger}

Your notes:
{notes}

Still to do:
{todo}

All results so far, which read_result shows again:
{results}"""
