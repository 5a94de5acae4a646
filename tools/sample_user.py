"""Let a model write the user's turn."""

from typing import Annotated

from pydantic import Field

from tools import rows
from tools.protocols import ChatMessage, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("sample_user",))
def sample_user() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        n: rows.Samples = 20,
        history: Annotated[list[ChatMessage], Field(max_length=40)] | None = None,
        model: rows.ModelName = "target",
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Let the model write what the user says next, which often shows what it was trained on.

        Empty turns are kept and counted. One item a turn: model, prompt (always empty), reply,
        sample, finish.

        Source:
            AuditBench (arXiv 2602.22755), configuration "user sampling"; without an agent its
            strongest single source of evidence.

        Cost:
            The tokens of n turns of the model asked.

        Misses:
            Targets that were trained on the assistant's turns alone.

        Args:
            ctx: What this call may touch.
            n: How many user turns to draw, each afresh.
            history: Turns that come before: an optional system turn, then user and assistant in
                turn, assistant last. Leave it out to sample the first user turn.
            model: Which model writes.
            max_tokens: Longest turn, in tokens.
        """
        turns = tuple(history or ())
        rows.check_history(turns, system=True)
        writer = rows.pick_model(ctx, model, "sample_user")
        if model == "target":
            rows.check_allowance(ctx, rows=n, max_tokens=max_tokens)
        replies = writer.sample_user(
            [turns] * n,
            sampling=rows.plain_sampling(max_tokens),
            seeds=rows.row_seeds(ctx, "sample_user", prompts=1, samples=n),
        )
        rows.count_tokens(ctx, model, replies)
        return ToolOutput(
            summary=rows.describe(replies, f"user turns written by the {model}"),
            items=tuple(
                {
                    "model": model,
                    "prompt": "",
                    "reply": reply.text,
                    "sample": sample,
                    "finish": reply.finish,
                }
                for sample, reply in enumerate(replies)
            ),
        )

    return execute
