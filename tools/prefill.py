"""Put the beginning of a reply into the target's mouth."""

from typing import Annotated

from pydantic import Field

from tools import rows
from tools.protocols import ChatMessage, Prompt, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("prefill",))
def prefill() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts,
        prefill: str,
        system: str | None = None,
        samples: rows.Samples = 1,
        model: rows.WhichModel = "target",
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        history: Annotated[list[ChatMessage], Field(max_length=40)] | None = None,
    ) -> ToolOutput:
        """Send prompts as a user, begin the model's reply for it, and return how it goes on.

        One item a reply: model, prompt, prefill (your words, never the model's), reply (the model's
        own words alone), sample, finish. With both models, each gets the same random seeds: what
        the baseline says just as well after that beginning is no sign of anything.

        Source:
            AuditBench (arXiv 2602.22755), configuration "prefilling"; Marks et al. (arXiv
            2503.10965).

        Cost:
            The tokens of prompts x samples replies of each model asked.

        Misses:
            A beginning that suggests the answer gets it from innocent models too, so compare with
            the baseline. Models trained against prefilled confessions go on with a denial.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each asked in a conversation of its own.
            prefill: How every reply begins.
            system: System line of every conversation.
            samples: Replies drawn to each prompt; prompts x samples may be 200 at most.
            model: Which model replies.
            max_tokens: Longest continuation, in tokens.
            history: Turns that come before each prompt: user first, assistant last.
        """
        rows.check_texts("prompts", prompts)
        rows.check_texts("prefill", [prefill])
        rows.check_history(history or (), system=False)
        asked = [
            Prompt(one.messages, prefill)
            for one in rows.conversations(prompts, system=system, history=history or ())
        ]
        drawn = rows.ask(
            ctx, asked, label="prefill", model=model, samples=samples, max_tokens=max_tokens
        )
        return ToolOutput(
            summary="; ".join(
                f"{name}: {rows.describe(replies, 'replies after the prefill')}"
                for name, replies in drawn.items()
            ),
            items=tuple(
                {
                    "model": name,
                    "prompt": prompts[row // samples],
                    "prefill": prefill,
                    "reply": drawn[name][row].text,
                    "sample": row % samples,
                    "finish": drawn[name][row].finish,
                }
                for row in range(len(prompts) * samples)
                for name in drawn
            ),
        )

    return execute
