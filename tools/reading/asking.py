"""Questions to an activation oracle, within the tokens that it may still generate.

As readings are (see `tools.reading.allowance`), questions are put in rounds, as many on each side
and about as many of each text: an answer of six tokens must not cost the longest one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nla_core.oracle import MAX_SEGMENT, OracleAnswer
from nla_core.seeds import derive_seed
from tools.protocols import Oracle, ToolContext, ToolError
from tools.reading.allowance import check_left, in_rounds, reading_order
from tools.reading.passages import Given, Passage, mind
from tools.reading.places import choose

if TYPE_CHECKING:
    from torch import Tensor

Cut = Literal["token", "last", "all"]
Asked = Literal["target", "baseline", "difference", "reversed"]
"""Whose activations: "difference" is target - baseline, "reversed" is baseline - target."""
_EVERY = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of what, and how; checked."""

    words: str
    layer: int
    positions: str | None
    span: str | None
    cut: Cut
    width: int
    samples: int
    temperature: float
    top_p: float
    most: int
    """Segments of each side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens of one text that one question is about."""

    passage: Passage
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer about one segment."""

    segment: Segment
    whose: Asked
    answer: OracleAnswer

    def item(self) -> dict[str, Any]:
        """Return the answer as an item of a result."""
        passage, last = self.segment.passage, self.segment.positions[-1]
        return {
            "kind": "answer",
            "text": passage.index,
            "position": last,
            "tokens": len(self.segment.positions),
            "before": passage.before(last),
            "token": passage.tokens[last],
            "whose": self.whose,
            "sample": self.answer.sample,
            "answer": self.answer.text,
        }


@dataclass(frozen=True, slots=True)
class Side:
    """Texts, and whose activations on them are asked about."""

    passages: Sequence[Passage]
    whose: Asked


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was answered, by side, and what was not asked."""

    found: dict[str, list[Answered]]
    cut: int
    """Answers that were planned and that the budget had no room for."""

    @property
    def note(self) -> str:
        """Say what the budget cut, or nothing when it cut nothing."""
        return f"the token budget had no room for {self.cut} more answers" if self.cut else ""


def oracle(ctx: ToolContext) -> Oracle:
    """Return what answers questions about activations.

    Raises:
        ToolError: When there is none.
    """
    if ctx.oracle is None:
        raise ToolError("there is no activation oracle in this audit: use another tool")
    return ctx.oracle


def check_room(ctx: ToolContext, given: Given, question: Question) -> None:
    """Refuse a call whose replies could leave no room for a segment of each side.

    Raises:
        ToolError: Saying how much is missing.
    """
    need = 2 * question.samples * oracle(ctx).max_tokens
    check_left(ctx, given, need, less="ask for fewer samples")


def ask_sides(ctx: ToolContext, sides: Mapping[str, Side], question: Question) -> Drawn:
    """Choose the segments of each side and ask about them, as far as the budget allows.

    Raises:
        ToolError: When there is nothing to ask about, a model that is needed is not there, or the
            oracle does not fit the model.
    """
    queues = {name: _Queue.of(ctx, side, question) for name, side in sides.items()}
    planned = sum(len(queue.waiting) for queue in queues.values())
    each = question.samples * oracle(ctx).max_tokens
    for queue, n in in_rounds(ctx, list(queues.values()), each):
        queue.take(ctx, n, question)
    found = {name: queue.sorted() for name, queue in queues.items()}
    asked = sum(map(len, found.values()))
    return Drawn(found, planned * question.samples - asked)


@dataclass(slots=True)
class _Queue:
    """The segments of one side, in the order in which they are asked about."""

    side: Side
    segments: list[Segment]
    vectors: "list[Tensor]"
    """`[n, d_model]` of each segment."""
    waiting: list[int]
    """Indices of segments, the next one first."""
    found: list[tuple[int, Answered]] = field(default_factory=list)

    @classmethod
    def of(cls, ctx: ToolContext, side: Side, question: Question) -> "_Queue":
        most = question.most if question.cut == "token" else _EVERY
        chosen = choose(
            ctx, side.passages, positions=question.positions, span=question.span, most=most
        )
        segments, rows = [], []
        stacked = _activations(ctx, side, chosen, question.layer)
        for passage, at, table in zip(side.passages, chosen, stacked, strict=True):
            for start, stop in _cuts(len(at), question):
                segments.append(Segment(passage=passage, positions=tuple(at[start:stop])))
                rows.append(table[start:stop])
        order = reading_order(ctx, [(one.passage, one.positions[-1]) for one in segments])
        return cls(side, segments, rows, order[: question.most])

    def take(self, ctx: ToolContext, n: int, question: Question) -> None:
        """Ask about the next `n` segments, or all that are left."""
        now, self.waiting = self.waiting[:n], self.waiting[n:]
        segments = [self.segments[index] for index in now]
        # The seed depends on the text and the token alone, so that the same place is asked about
        # with the same random numbers in target and baseline.
        ends = [(one.passage, one.positions[-1]) for one in segments]
        try:
            said = oracle(ctx).answer(
                [self.vectors[index] for index in now],
                question.words,
                layer=question.layer,
                samples=question.samples,
                temperature=question.temperature,
                top_p=question.top_p,
                seeds=[derive_seed(ctx.seed, "ask", passage.index, at) for passage, at in ends],
                contexts=[passage.context(at) for passage, at in ends],
            )
        except ValueError as error:
            raise ToolError(str(error)) from None
        ctx.usage.reader_tokens += sum(one.n_tokens for one in said)
        for one in said:
            answered = Answered(segment=segments[one.segment], whose=self.side.whose, answer=one)
            self.found.append((now[one.segment], answered))

    def sorted(self) -> list[Answered]:
        """Return the answers text by text."""
        ordered = sorted(self.found, key=lambda pair: (pair[0], pair[1].answer.sample))
        return [answered for _, answered in ordered]


def _cuts(n: int, question: Question) -> Iterator[tuple[int, int]]:
    """Yield where the segments of a text with `n` chosen tokens begin and end."""
    if question.cut == "token":
        yield from ((at, at + 1) for at in range(n))
    elif n:
        longest = question.width if question.cut == "last" else MAX_SEGMENT
        yield max(0, n - longest), n


def _activations(
    ctx: ToolContext, side: Side, chosen: Sequence[Sequence[int]], layer: int
) -> "list[Tensor]":
    """Return activations `[n_positions, d_model]` by text."""
    sources = [passage.source for passage in side.passages]

    def captured(name: Literal["target", "baseline"]) -> "list[Tensor]":
        return mind(ctx, name).activations(sources, layer=layer, positions=chosen)

    match side.whose:
        case "target" | "baseline":
            return captured(side.whose)
        case _:
            pairs = zip(captured("target"), captured("baseline"), strict=True)
            sign = 1.0 if side.whose == "difference" else -1.0
            return [sign * (ours - theirs) for ours, theirs in pairs]
