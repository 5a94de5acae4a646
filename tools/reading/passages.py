"""The texts of one call: what was given, and what the models say to it when asked first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ChatMessage, Mind, Prompt, Reader, Reply, ToolContext, ToolError

if TYPE_CHECKING:
    from nla_core.positions import Turn

Against = Literal["own_replies", "same_text", "both"]
_SHOWN_BEFORE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One text as the models see it."""

    index: int
    """Number of the text within the call."""
    source: Prompt | str
    author: rows.ModelName | None
    """Whose reply it ends with; None where the caller wrote it all."""
    given: int
    """Which of the conversations and texts that were given it comes from."""
    sample: int | None
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    turns: tuple["Turn", ...]

    def context(self, position: int) -> str:
        """Return the text up to a token, that one included."""
        return "".join(self.tokens[: position + 1])

    def before(self, position: int) -> str:
        """Return the few words before a token."""
        start = max(position - _SHOWN_BEFORE, 0)
        return ("…" if start else "") + "".join(self.tokens[start:position])

    def item(self) -> dict[str, object]:
        """Return the text as an item of a result."""
        spoken = isinstance(self.source, Prompt)
        return {
            "kind": "text",
            "text": self.index,
            "author": self.author,
            "given": self.given,
            "sample": self.sample,
            "prompt": self.source.messages[-1].content if isinstance(self.source, Prompt) else None,
            "words": self.source.prefill if isinstance(self.source, Prompt) else self.source,
            "conversation": spoken,
            "tokens": len(self.ids),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller wants read, before anybody replied."""

    sources: tuple[Prompt | str, ...]
    """Prompts without a prefill are open: the model may be asked to reply."""
    replies: int
    max_tokens: int

    def is_open(self, index: int) -> bool:
        """Tell whether a source is a conversation that waits for a reply."""
        source = self.sources[index]
        return isinstance(source, Prompt) and not source.prefill

    @property
    def open(self) -> tuple[int, ...]:
        """Sources that wait for a reply."""
        return tuple(index for index in range(len(self.sources)) if self.is_open(index))


def check_given(
    *,
    prompts: Sequence[str] | None,
    conversations: Sequence[Sequence[ChatMessage]] | None,
    texts: Sequence[str] | None,
    system: str | None,
    replies: int,
    max_tokens: int,
) -> Given:
    """Put what was given into one list: prompts, then conversations, then raw texts.

    Raises:
        ToolError: When there is nothing, a text is blank or too long, turns are out of place, or
            there would be too many replies.
    """
    rows.check_texts("prompts", prompts or ())
    rows.check_texts("texts", texts or ())
    found: list[Prompt | str] = [*rows.conversations(prompts or (), system=system)]
    for index, turns in enumerate(conversations or ()):
        found.append(_conversation(f"conversations[{index}]", turns, system))
    found += texts or ()
    if not found:
        raise ToolError("there is nothing to read: send prompts, conversations or texts")
    given = Given(sources=tuple(found), replies=replies, max_tokens=max_tokens)
    rows.check_rows(len(found), max(replies, 1))
    return given


def check_against(given: Given, against: Against | None) -> Against:
    """Resolve what the baseline is read on; None is replies of its own where it can reply.

    Raises:
        ToolError: When it shall reply and there is nothing to reply to.
    """
    may_reply = given.replies > 0 and len(given.open) == len(given.sources)
    if against is None:
        return "own_replies" if may_reply else "same_text"
    if against != "same_text" and not may_reply:
        raise ToolError(
            "the baseline can have replies of its own only to prompts and to conversations that "
            'end in a user turn, with replies of 1 or more: send against "same_text"'
        )
    return against


def _conversation(name: str, turns: Sequence[ChatMessage], system: str | None) -> Prompt:
    rows.check_texts(name, [turn.content for turn in turns])
    said = list(turns)
    if said[0].role == "system" and system is not None:
        raise ToolError(f"{name} begins with a system turn: leave `system` out")
    opening = [said.pop(0)] if said[0].role == "system" else []
    if system is not None:
        opening = [ChatMessage("system", system)]
    for index, turn in enumerate(said):
        if turn.role != ("user", "assistant")[index % 2]:
            raise ToolError(
                f"{name} must alternate user and assistant turns, user first, after at most one "
                f"system turn; turn {index} is {turn.role!r}"
            )
    if not said:
        raise ToolError(f"{name} has no user turn: add one")
    prefill = said.pop().content if said[-1].role == "assistant" else ""
    return Prompt((*opening, *said), prefill)


def target_passages(ctx: ToolContext, given: Given) -> list[Passage]:
    """Let the target reply where it is asked to, and lay out everything that is to be read.

    With no replies wanted, open conversations are read up to where the reply would begin.

    Raises:
        ToolError: When the budget does not allow it, or a text is too long for the model.
    """
    open_ = given.open if given.replies else ()
    said = _replies(ctx, "target", given, open_)
    drafts: list[tuple[Prompt | str, rows.ModelName | None, int, int | None]] = []
    for index, source in enumerate(given.sources):
        if index not in said:
            drafts.append((source, None, index, None))
            continue
        assert isinstance(source, Prompt)
        for sample, reply in enumerate(said[index]):
            drafts.append((Prompt(source.messages, reply.text), "target", index, sample))
    return _laid_out(ctx, drafts, start=0)


def baseline_passages(ctx: ToolContext, given: Given, *, start: int) -> list[Passage]:
    """Let the baseline reply to all open conversations, numbered from `start`."""
    said = _replies(ctx, "baseline", given, given.open)
    drafts: list[tuple[Prompt | str, rows.ModelName | None, int, int | None]] = []
    for index, replies in said.items():
        source = given.sources[index]
        assert isinstance(source, Prompt)
        for sample, reply in enumerate(replies):
            drafts.append((Prompt(source.messages, reply.text), "baseline", index, sample))
    return _laid_out(ctx, drafts, start=start)


def mind(ctx: ToolContext, name: rows.ModelName = "target") -> Mind:
    """Return the model whose activations are read.

    Raises:
        ToolError: When there is none.
    """
    found = ctx.mind if name == "target" else ctx.baseline_mind
    if found is None:
        what = "there is no baseline whose" if name == "baseline" else "the target's"
        raise ToolError(f"{what} activations can be read in this audit: use another tool")
    return found


def reader(ctx: ToolContext) -> Reader:
    """Return what puts activations into words.

    Raises:
        ToolError: When there is none.
    """
    if ctx.reader is None:
        raise ToolError("there is no reader of activations in this audit: use another tool")
    return ctx.reader


def _replies(
    ctx: ToolContext, name: rows.ModelName, given: Given, indices: Sequence[int]
) -> dict[int, list[Reply]]:
    """Sample replies of one model, by source. Models get seeds of their own.

    Equal seeds would make the two sides of a comparison dependent, and a permutation of texts
    takes them to be independent.
    """
    if not indices:
        return {}
    model, n = rows.pick_model(ctx, name, "chat"), given.replies
    if name == "target":
        rows.check_allowance(ctx, rows=len(indices) * n, max_tokens=given.max_tokens)
    said = model.chat(
        [
            source
            for i in indices
            for source in [given.sources[i]] * n
            if isinstance(source, Prompt)
        ],
        sampling=rows.plain_sampling(given.max_tokens),
        seeds=[derive_seed(ctx.seed, "reply", name, i, s) for i in indices for s in range(n)],
    )
    rows.count_tokens(ctx, name, said)
    return {index: said[at * n : (at + 1) * n] for at, index in enumerate(indices)}


def _laid_out(
    ctx: ToolContext,
    drafts: Sequence[tuple[Prompt | str, rows.ModelName | None, int, int | None]],
    *,
    start: int,
) -> list[Passage]:
    sources = [draft[0] for draft in drafts]
    model = mind(ctx)
    every_ids, turns = model.token_ids(sources), model.turns(sources)
    if ctx.baseline_mind is not None and ctx.baseline_mind.token_ids(sources) != every_ids:
        raise ToolError(
            "target and baseline do not see the same tokens of these texts, so that their "
            "activations cannot be compared"
        )
    return [
        Passage(
            index=start + at,
            source=source,
            author=author,
            given=given,
            sample=sample,
            ids=tuple(ids),
            tokens=tuple(model.tokens(ids)),
            turns=tuple(spoken),
        )
        for at, ((source, author, given, sample), ids, spoken) in enumerate(
            zip(drafts, every_ids, turns, strict=True)
        )
    ]
