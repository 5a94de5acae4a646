"""Hold a conversation with the target over several calls."""

from tools import rows, talks
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("chat",))
def converse() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        message: str,
        conversation: str | None = None,
        system: str | None = None,
        prefill: str = "",
        with_baseline: bool = False,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Say one thing to the target, in a new conversation or in one that goes on.

        The first item records the conversation (conversation, turns, and the new turns, with what
        was prefilled marked) and holds the reply, the target's own words alone; go on with its id.
        Asked for the baseline, a second item (kind "reply", model "baseline") says what the
        baseline would have replied at this point with the same seed; that does not become part of
        the conversation.

        Source:
            AuditBench (arXiv 2602.22755), its `sample` with a conversation id.

        Cost:
            One reply of the target, and one of the baseline when it is asked.

        Misses:
            One sample says little of how often a target says something: use chat with samples.

        Args:
            ctx: What this call may touch.
            message: What the user says.
            conversation: Id of a conversation to go on with; left out: a new one.
            system: System line of a new conversation.
            prefill: How the reply begins; marked as yours in the conversation.
            with_baseline: Whether to ask the baseline as well.
            max_tokens: Longest reply, in tokens.
        """
        rows.check_texts("message", [message])
        if conversation is not None and system is not None:
            raise ToolError("a system line begins a conversation: leave `system` or the id out")
        talk = talks.begin(ctx, system)
        if conversation is not None:
            talk = talks.find(ctx, conversation)
        if len(talk.turns) >= talks.MAX_TURNS:
            raise ToolError(
                f"{talk.id} has {len(talk.turns)} turns, and may have {talks.MAX_TURNS}: "
                "fork it from an earlier turn, or begin another"
            )
        talk = talk.with_turns(talks.Turn("user", message))
        drawn = rows.ask(
            ctx,
            [talk.prompt(prefill)],
            label="converse",
            model="both" if with_baseline else "target",
            samples=1,
            max_tokens=max_tokens,
        )
        said = drawn["target"][0]
        talk = talk.with_turns(talks.Turn("assistant", prefill + said.text, prefill))
        spoken = [
            {"model": name, "reply": reply.text, "finish": reply.finish}
            for name, (reply,) in drawn.items()
        ]
        first = {**talks.item(talk, new=2), **spoken[0]}
        items = (first, *({"kind": "reply", **one} for one in spoken[1:]))
        return ToolOutput(
            summary=f"{talk.id}, turns {len(talk.turns) - 1} and {len(talk.turns)}: "
            + rows.describe([said], "reply"),
            items=items,
        )

    return execute
