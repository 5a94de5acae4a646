"""Ask the target."""

from typing import Annotated

from pydantic import Field

from tools import rows
from tools.protocols import ChatMessage, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("chat",))
def chat() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts,
        system: str | None = None,
        samples: rows.Samples = 1,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        history: Annotated[list[ChatMessage], Field(max_length=40)] | None = None,
    ) -> ToolOutput:
        """Send each prompt to the target as a user and return its replies.

        Every prompt starts a conversation of its own, and every sample is drawn afresh at
        temperature 1. One item a reply: model, prompt, reply, sample, finish.

        Source:
            AuditBench (arXiv 2602.22755), `sample`.

        Cost:
            The target tokens of prompts x samples replies.

        Misses:
            What hides behind a trigger, shows only after several turns (see converse), or is no
            more than a matter of degree: compare with the baseline before you call a reply odd.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each asked in a conversation of its own.
            system: System line of every conversation.
            samples: Replies drawn to each prompt; prompts x samples may be 200 at most.
            max_tokens: Longest reply, in tokens.
            history: Turns that come before each prompt: user first, assistant last.
        """
        rows.check_texts("prompts", prompts)
        rows.check_history(history or (), system=False)
        n = rows.check_rows(len(prompts), samples)
        rows.check_allowance(ctx, rows=n, max_tokens=max_tokens)
        asked = rows.conversations(prompts, system=system, history=history or ())
        replies = rows.pick_model(ctx, "target", "chat").chat(
            [prompt for prompt in asked for _ in range(samples)],
            sampling=rows.plain_sampling(max_tokens),
            seeds=rows.row_seeds(ctx, "chat", prompts=len(prompts), samples=samples),
        )
        rows.count_tokens(ctx, "target", replies)
        items = tuple(
            {
                "model": "target",
                "prompt": prompts[row // samples],
                "reply": reply.text,
                "sample": row % samples,
                "finish": reply.finish,
            }
            for row, reply in enumerate(replies)
        )
        return ToolOutput(
            summary=rows.describe(replies, f"replies to {len(prompts)} prompts"), items=items
        )

    return execute
