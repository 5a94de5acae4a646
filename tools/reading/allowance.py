"""Readings of one or several sides, within the tokens that the verbalizer may still generate.

How long an explanation gets is known afterwards. Planning with the longest would leave most of the
budget unspent, so places are read in rounds: each is as large as its longest explanations allow,
and what they did not need is there for the next. All sides are read at as many places in a round,
until one has no more, and the places of a side stand in a random order that the seed fixes and
that goes through all texts before it comes back to the first. What the budget cuts off is therefore
no matter of which side or which text comes first. What a place's explanation says does not depend
on the round; its shuffled null is another reading of the same round.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ToolContext, ToolError
from tools.reading.passages import Given, Passage, reader
from tools.reading.places import Chosen, Scores, choose
from tools.reading.readings import (
    How,
    Place,
    Read,
    Whose,
    explain,
    places_of,
    read,
    stacked,
)

if TYPE_CHECKING:
    from torch import Tensor


_CHOICE = 2
"""Where places are chosen by what their readings are worth, this part of the tokens goes into the
choice: 1 / 2."""


class Waiting(Protocol):
    """What is read, or asked about, in rounds."""

    @property
    def waiting(self) -> Sequence[int]:
        """Indices of what is still to be done."""
        ...


AnyQueue = TypeVar("AnyQueue", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Side:
    """Texts, and whose activations on them are read."""

    passages: Sequence[Passage]
    whose: Whose


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was read, by side, and what was not."""

    found: dict[str, list[Read]]
    cut: int
    """Readings that were planned and that the budget had no room for."""

    @property
    def note(self) -> str:
        """Say what the budget cut, or nothing when it cut nothing."""
        return f"the token budget had no room for {self.cut} more readings" if self.cut else ""


def check_room(ctx: ToolContext, given: Given, how: How, *, sides: int = 1) -> None:
    """Refuse a call whose replies could leave no room for a reading of each side.

    Args:
        ctx: Of the call.
        given: What is read, and how many replies the target gives first.
        how: How it is read.
        sides: How many sides there are.

    Raises:
        ToolError: Saying how much is missing.
    """
    if ctx.reader_allowance is None:
        return
    need = sides * how.each * reader(ctx).max_tokens * (_CHOICE if how.by_score else 1)
    check_left(ctx, given, need, less="read fewer samples or layers")


def check_left(ctx: ToolContext, given: Given, need: int, *, less: str) -> None:
    """Refuse a call whose replies could leave fewer than `need` reader tokens.

    Args:
        ctx: Of the call.
        given: What is read, and how many replies the target gives first.
        need: What one place on each side could take.
        less: What to do instead, in words.

    Raises:
        ToolError: Saying how much is missing.
    """
    replies = len(given.open) * given.replies * given.max_tokens
    left = ctx.reader_allowance_after(replies)
    if left is None or need <= left:
        return
    rows.check_allowance(ctx, rows=len(given.open) * given.replies, max_tokens=given.max_tokens)
    without = ctx.reader_allowance or 0
    if without < need:
        raise ToolError(
            f"one place on each side could take {need} reader tokens, and {without} are left in "
            f"the budget: {less}, or submit what you know"
        )
    raise ToolError(
        f"after replies of up to {replies} tokens, {left} tokens would be left in the budget for "
        f"readings, and one place on each side could take {need}: ask for fewer or shorter replies"
    )


def read_sides(ctx: ToolContext, sides: Mapping[str, Side], how: How) -> Drawn:
    """Choose the places of each side and read them, as far as the budget allows.

    Raises:
        ToolError: When there is nothing to read, a model that is needed is not there, or the
            budget has no room for one place of each side.
    """
    cut = 0

    def scores(side: Side) -> Scores:
        def measure(positions: Sequence[Sequence[int]]) -> list[list[float | None]]:
            nonlocal cut
            once = replace(how, layers=how.layers[:1], samples=1)
            pool = [list(at) for at in positions]
            drawn = _read(ctx, {"": side}, {"": pool}, once, part=_CHOICE)
            cut += drawn.cut
            return _worth(drawn.found[""], side.passages, pool)

        return measure

    chosen = {
        name: choose(
            ctx,
            side.passages,
            positions=how.positions,
            span=how.span,
            most=how.most,
            scores=scores(side),
        )
        for name, side in sides.items()
    }
    drawn = _read(ctx, sides, chosen, how)
    return Drawn(drawn.found, drawn.cut + cut)


def _read(
    ctx: ToolContext,
    sides: Mapping[str, Side],
    chosen: Mapping[str, Chosen],
    how: How,
    *,
    part: int = 1,
) -> Drawn:
    """Read the chosen places with one of so many parts of what the verbalizer may generate."""
    allowance = ctx.reader_allowance
    each = how.each * reader(ctx).max_tokens if allowance is not None else 0
    n_places = sum(len(at) for positions in chosen.values() for at in positions)
    if allowance is None or n_places * each <= allowance // part:
        found = {
            name: read(ctx, side.passages, chosen[name], how, whose=side.whose)
            for name, side in sides.items()
        }
        return Drawn(found, 0)
    queues = {
        name: _Queue.of(ctx, side, chosen[name], how)
        for name, side in sides.items()
        if any(chosen[name])
    }
    until = allowance - allowance // part
    for queue, n in in_rounds(ctx, list(queues.values()), each, until=until):
        queue.take(ctx, n, how)
    found = {name: queues[name].sorted(how) if name in queues else [] for name in sides}
    return Drawn(found, how.each * n_places - sum(map(len, found.values())))


@dataclass(slots=True)
class _Queue:
    """The places of one side, in the order in which they are read."""

    side: Side
    places: list[Place]
    vectors: "dict[int, Tensor]"
    """`[places, d_model]` by layer."""
    waiting: list[int]
    """Indices of places, the next one first."""
    found: list[Read] = field(default_factory=list)

    @classmethod
    def of(cls, ctx: ToolContext, side: Side, chosen: Chosen, how: How) -> "_Queue":
        vectors = {
            layer: stacked(ctx, side.passages, chosen, how, whose=side.whose, layer=layer)
            for layer in how.layers
        }
        places = places_of(side.passages, chosen)
        return cls(side, places, vectors, reading_order(ctx, places))

    def take(self, ctx: ToolContext, n: int, how: How) -> None:
        """Read the next `n` places, or all that are left."""
        now, self.waiting = self.waiting[:n], self.waiting[n:]
        places = [self.places[index] for index in now]
        for layer, vectors in self.vectors.items():
            self.found += explain(
                ctx, places, vectors[now], how, whose=self.side.whose, layer=layer
            )

    def sorted(self, how: How) -> list[Read]:
        """Return the readings in the order in which they would be without a limit."""
        order = {(passage.index, at): n for n, (passage, at) in enumerate(self.places)}

        def place(one: Read) -> tuple[int, int, int]:
            at = order[one.passage.index, one.position]
            return how.layers.index(one.layer), at, one.reading.explanation.sample

        return sorted(self.found, key=place)


def reading_order(ctx: ToolContext, places: Sequence[Place]) -> list[int]:
    """Return the places' indices in random order, one of each text before the next of any.

    Replies to the same prompt stand at the same place in every side, so that prompts which the
    budget still reaches are the same in all.
    """
    by_text: dict[int, list[int]] = {}
    for index, (passage, _) in enumerate(places):
        by_text.setdefault(passage.index, []).append(index)
    keyed: list[tuple[int, int, int]] = []
    for text, found in by_text.items():
        passage = places[found[0]][0]
        turn = derive_seed(ctx.seed, "turn", passage.given, passage.sample or 0)
        Random(derive_seed(ctx.seed, "cut", text)).shuffle(found)
        keyed += [(rank, turn, index) for rank, index in enumerate(found)]
    return [index for _, _, index in sorted(keyed)]


def in_rounds(
    ctx: ToolContext, queues: Sequence[AnyQueue], each: int, *, until: int = 0
) -> Iterator[tuple[AnyQueue, int]]:
    """Yield each queue with how much of it is next, round after round; whoever asks takes it.

    Args:
        ctx: Of the call.
        queues: One of each side.
        each: Tokens that one item of a queue could take; 0 when nothing is generated.
        until: Tokens of the allowance that even the longest must leave.
    """
    while waiting := [queue for queue in queues if queue.waiting]:
        left = ctx.reader_allowance
        if left is None or not each:
            n = max(len(queue.waiting) for queue in waiting)
        else:
            n = (left - until) // (each * len(waiting))
        if n < 1:
            return
        yield from ((queue, n) for queue in waiting)


def _worth(
    found: Sequence[Read], passages: Sequence[Passage], pool: Chosen
) -> list[list[float | None]]:
    """Return what one reading of each place is worth, its FVE or else its cosine; None: unknown."""
    worth: dict[tuple[int, int], float | None] = {}
    for one in found:
        score = one.reading.fidelity.score
        value = None if score is None else score.cosine if score.fve is None else score.fve
        worth[one.passage.index, one.position] = value
    return [
        [worth.get((passage.index, at)) for at in chosen]
        for passage, chosen in zip(passages, pool, strict=True)
    ]
