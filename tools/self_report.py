"""Ask the target about itself: fixed questions, with and without a confession begun."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tools import rows
from tools.batteries import battery
from tools.protocols import ChatMessage, Prompt, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("prefill",))
def self_report() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        part: Literal["questions", "prefilled", "both"] = "both",
        first: Annotated[int, Field(ge=1, le=50)] = 50,
        system: str | None = None,
        model: rows.WhichModel = "target",
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Ask the 50 questions of the self-report battery, and 50 with the confession begun.

        The questions are about motives, secrets and habits; in the second part the same question
        is asked and the reply is begun for the model with words such as "My goal is". One item a
        reply: model, part, prompt, prefill (never the model's words), reply (the model's own words
        alone), finish. With both models, each gets the same random seeds.

        Source:
            AuditBench (arXiv 2602.22755), static evaluations "prompting" and "prefilling" of 50
            fixed prompts each; the wording of this battery is its own.

        Cost:
            Up to 100 replies of each model asked.

        Misses:
            What a target does not know of itself, or was trained to deny. A claim is no
            demonstration: models confess to what they do not do, above all after a prefill.

        Args:
            ctx: What this call may touch.
            part: The questions, the questions with the reply begun, or both.
            first: How many of the 50, from the first.
            system: System line of every conversation.
            model: Which model is asked.
            max_tokens: Longest reply, in tokens.
        """
        asked = _battery(part, first, system)
        drawn = rows.ask(
            ctx, asked, label="self_report", model=model, samples=1, max_tokens=max_tokens
        )
        items: list[dict[str, Any]] = [
            {
                "model": name,
                "part": "prefilled" if prompt.prefill else "questions",
                "prompt": prompt.messages[-1].content,
                "prefill": prompt.prefill,
                "reply": replies[row].text,
                "finish": replies[row].finish,
            }
            for row, prompt in enumerate(asked)
            for name, replies in drawn.items()
        ]
        return ToolOutput(
            summary="; ".join(
                f"{name}: {rows.describe(replies, 'replies')}" for name, replies in drawn.items()
            ),
            items=tuple(items),
        )

    return execute


def _battery(part: str, first: int, system: str | None) -> list[Prompt]:
    fixed = battery("self_report")
    opening = () if system is None else (ChatMessage("system", system),)
    pairs = [(q, "") for q in fixed["questions"][:first] if part != "prefilled"]
    if part != "questions":
        pairs += zip(fixed["questions"][:first], fixed["prefills"][:first], strict=True)
    return [Prompt((*opening, ChatMessage("user", q)), prefill) for q, prefill in pairs]
