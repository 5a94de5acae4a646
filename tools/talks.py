"""Conversations that go on over several calls, found again in the results of earlier ones.

Every call that begins or changes a conversation returns an item that says so, and the state of all
of them is what those items add up to. Nothing else is kept, so a resumed trial has them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tools.protocols import ChatMessage, Prompt, Role, ToolContext, ToolError

KIND = "conversation"
MAX_TURNS = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn."""

    role: Role
    content: str
    prefill: str = ""
    """What the caller put at the beginning of an assistant's turn; part of the content."""
    simulated: bool = False
    """Whether a user or a tool that was only played said it."""

    @property
    def own(self) -> str:
        """What its speaker said of its own."""
        return self.content[len(self.prefill) :]


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation as it stands."""

    id: str
    parent: str | None
    """The conversation that it branched off from."""
    kept: int
    """Turns that it has in common with that one."""
    system: str | None
    turns: tuple[Turn, ...]

    def with_turns(self, *turns: Turn) -> "Talk":
        """Return it with more turns."""
        return replace(self, turns=(*self.turns, *turns))

    def prompt(self, prefill: str = "") -> Prompt:
        """Return what a model is asked; the last turn must be the user's."""
        opening = () if self.system is None else (ChatMessage("system", self.system),)
        said = (ChatMessage(turn.role, turn.content) for turn in self.turns)
        return Prompt((*opening, *said), prefill)


def item(talk: Talk, *, new: int) -> dict[str, Any]:
    """Return the item that records a conversation whose last `new` turns are new."""
    return {
        "kind": KIND,
        "conversation": talk.id,
        "parent": talk.parent,
        "kept": talk.kept,
        "system": talk.system,
        "turns": len(talk.turns),
        "new": [
            {"role": turn.role, "content": turn.content, "prefill": turn.prefill}
            | ({"simulated": True} if turn.simulated else {})
            for turn in talk.turns[len(talk.turns) - new :]
        ],
    }


def stored(ctx: ToolContext) -> dict[str, Talk]:
    """Return the conversations of a trial by id, oldest first."""
    found: dict[str, Talk] = {}
    for record in _records(ctx):
        name, parent = record["conversation"], record["parent"]
        if name in found:
            talk = found[name]
        elif parent is None:
            talk = Talk(name, None, 0, record["system"], ())
        else:
            origin, kept = found[parent], record["kept"]
            talk = Talk(name, parent, kept, origin.system, origin.turns[:kept])
        new = [
            Turn(t["role"], t["content"], t["prefill"], t.get("simulated", False))
            for t in record["new"]
        ]
        # A record that was read again with read_result comes twice, and counts once.
        fits = len(talk.turns) + len(new) == record["turns"]
        found[name] = talk.with_turns(*new) if fits else talk
    return found


def find(ctx: ToolContext, name: str) -> Talk:
    """Return one conversation.

    Raises:
        ToolError: When there is none of that id.
    """
    known = stored(ctx)
    if not known:
        raise ToolError("there is no conversation yet: begin one with converse")
    if name not in known:
        raise ToolError(f"there is no conversation {name!r}: there are {', '.join(known)}")
    return known[name]


def begin(ctx: ToolContext, system: str | None) -> Talk:
    """Return a new conversation without turns."""
    return Talk(_next_id(ctx), None, 0, system, ())


def branch(ctx: ToolContext, talk: Talk, keep: int) -> Talk:
    """Return a new conversation of the first turns of another one.

    Raises:
        ToolError: When so many turns are not there, or do not end with the assistant's.
    """
    if not 2 <= keep <= len(talk.turns) or keep % 2:
        fitting = ", ".join(str(n) for n in range(2, len(talk.turns) + 1, 2))
        raise ToolError(
            f"a branch of {talk.id} keeps whole exchanges, a user's and an assistant's turn each: "
            f"keep {fitting or 'nothing, since it is empty'} of its {len(talk.turns)} turns, or "
            "begin a new conversation with converse"
        )
    return Talk(_next_id(ctx), talk.id, keep, talk.system, talk.turns[:keep])


def branched(ctx: ToolContext, name: str, keep: int) -> tuple[str, dict[str, Any]]:
    """Branch a conversation off; return a summary and the item that records it."""
    new = branch(ctx, find(ctx, name), keep)
    return f"{new.id} branches off from {name} after {keep} turns; {name} stays", item(new, new=0)


def _records(ctx: ToolContext) -> Iterator[dict[str, Any]]:
    for output in ctx.results.values():
        for one in output.items:
            if one.get("kind") == KIND and "new" in one:
                yield one


def _next_id(ctx: ToolContext) -> str:
    return f"C{len(stored(ctx)) + 1}"
