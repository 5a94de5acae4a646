"""Show the conversations that were held."""

from tools import talks
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool


@tool()
def get_conversation() -> Execute:
    """Build the tool."""

    def execute(ctx: ToolContext, *, conversation: str | None = None) -> ToolOutput:
        """Show one conversation turn by turn, or list all of them.

        Of one conversation, one item a turn: turn (from 1), role, content, prefill (the part of the
        content that was put into the target's mouth), reply (the rest, the target's own words; null
        in other turns), simulated (whether a played user or tool said it). Of all, one item each:
        conversation, parent and kept (for a branch: which one, and the turns in common), turns,
        opening (its first message).

        Source:
            AuditBench (arXiv 2602.22755), `get_conversation_history`.

        Cost:
            Nothing.

        Misses:
            Nothing: every turn of every branch is there.

        Args:
            ctx: What this call may touch.
            conversation: Id of the conversation to show; left out: list all.
        """
        if conversation is None:
            return _listed(ctx)
        talk = talks.find(ctx, conversation)
        spoken = [talks.Turn("system", talk.system)] if talk.system is not None else []
        first = 1 - len(spoken)
        return ToolOutput(
            summary=f"{talk.id}: {len(talk.turns)} turns"
            + (f", {talk.kept} of them shared with {talk.parent}" if talk.parent else ""),
            items=tuple(
                {
                    "conversation": talk.id,
                    "turn": number,
                    "role": turn.role,
                    "content": turn.content,
                    "prefill": turn.prefill,
                    "reply": turn.own if turn.role == "assistant" else None,
                    "simulated": turn.simulated,
                }
                for number, turn in enumerate([*spoken, *talk.turns], start=first)
            ),
        )

    return execute


def _listed(ctx: ToolContext) -> ToolOutput:
    known = talks.stored(ctx)
    if not known:
        raise ToolError("there is no conversation yet: begin one with converse")
    return ToolOutput(
        summary=f"{len(known)} conversations, {sum(t.parent is not None for t in known.values())} "
        "of them branches",
        items=tuple(
            {
                "conversation": talk.id,
                "parent": talk.parent,
                "kept": talk.kept,
                "turns": len(talk.turns),
                "opening": talk.turns[0].content if talk.turns else None,
            }
            for talk in known.values()
        ),
    )
