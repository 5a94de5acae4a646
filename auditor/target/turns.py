"""Where the turns of a rendered conversation lie, in token positions.

The content of a turn is replaced by a word of its own and the conversation rendered again: what
stands before that word is what stands before the content, whatever the content says.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.target.template import ChatTemplate
from tools.protocols import ChatMessage, Prompt, Role, ToolError

if TYPE_CHECKING:
    from nla_core.positions import Turn

_Content = tuple[Role, int, int]
"""Role, and the first character and one past the last one of what the template kept."""


def turns_of(
    prompt: Prompt, *, template: ChatTemplate, tokenizer: Any, system: str | None
) -> tuple["Turn", ...]:
    """Return the turns of a conversation, the assistant's reply the last of them.

    System texts in front are one turn, the model's own among them; where the template puts them
    into the user's turn, they are part of its header, and so is what a template adds by itself. A
    turn ends with its closing special token, unless the next header would then have no token.
    Turns that the template drops are left out.

    Args:
        prompt: The conversation; the last turn's content is its prefill, which may be empty.
        template: How it is rendered.
        tokenizer: A fast Transformers tokenizer.
        system: System text that comes before any of the prompt's.

    Raises:
        TemplateRefusal: When the template does not accept the turns.
        ToolError: When the tokenizer cannot tell where its tokens lie.
    """
    if not tokenizer.is_fast:
        raise ToolError("this model's tokenizer cannot tell where turns begin; choose by position")
    messages = _merged(prompt.messages, system)
    rendered = template.reply_text(messages, prompt.prefill, None)
    contents = _contents(messages, prompt.prefill, rendered, template)
    found = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    ends = {
        "assistant": template.reply_end.token_id,
        "user": template.user_end.token_id,
        "system": template.user_end.token_id,
    }
    return _placed(contents, found["input_ids"], found["offset_mapping"], ends)


def _merged(messages: Sequence[ChatMessage], system: str | None) -> list[ChatMessage]:
    """Make one message of the system texts in front, as the template does."""
    own = [system] if system else []
    n_system = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    merged = "\n\n".join(own + [m.content for m in messages[:n_system]])
    front = [ChatMessage("system", merged)] if merged else []
    return [*front, *messages[n_system:]]


def _contents(
    messages: Sequence[ChatMessage], prefill: str, rendered: str, template: ChatTemplate
) -> list[_Content]:
    """Find the contents in the rendered text, in the order of their places."""
    word = "QzTurnContentZq"
    while word in rendered:
        word += "q"
    found: list[_Content] = []
    for index, message in enumerate(messages):
        if message.role == "system" and template.folds_system:
            continue
        probe = [*messages[:index], ChatMessage(message.role, word), *messages[index + 1 :]]
        before, seen, after = template.reply_text(probe, prefill, None).partition(word)
        end = len(rendered) - len(after)
        # Templates that look into a content may write something else around it.
        same = rendered.startswith(before) and rendered.endswith(after)
        if seen and same and len(before) <= end:
            found.append((message.role, len(before), end))
    reply = len(rendered) - len(prefill)
    return [*sorted(found, key=lambda content: content[1:]), ("assistant", reply, len(rendered))]


def _placed(
    contents: Sequence[_Content],
    ids: Sequence[int],
    spans: Sequence[tuple[int, int]],
    closing: dict[str, int | None],
) -> tuple["Turn", ...]:
    """Turn places of contents into turns; one without a token of its own is left out."""
    from nla_core.positions import Turn

    # A token that holds the content's first character belongs to the content.
    firsts = [
        next((i for i, (_, stop) in enumerate(spans) if stop > at), len(ids))
        for _, at, _ in contents
    ]
    turns: list[Turn] = []
    start = 0
    for index, (role, _, content_end) in enumerate(contents):
        first, end = firsts[index], len(ids)
        following = firsts[index + 1] if index + 1 < len(contents) else None
        if first == 0 or first == following:
            continue
        if following is not None:
            beyond = (i for i in range(first, following - 1) if spans[i][0] >= content_end)
            end = next(beyond, following - 1)
            close = closing[role]
            if close is not None and close in ids[end : following - 1]:
                end = list(ids).index(close, end) + 1
        turns.append(Turn(role=role, start=start, content_start=first, end=end))
        start = end
    return tuple(turns)
