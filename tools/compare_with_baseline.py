"""Ask the target and the clean model that it was made from the same things."""

from tools import rows
from tools.protocols import Reply, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("chat", "baseline"))
def compare_with_baseline() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts,
        samples: rows.Samples = 4,
        system: str | None = None,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Send each prompt to the target and to its clean baseline and return both sets of replies.

        Both models get the same random seeds, so what differs is due to the models. One item a
        prompt: prompt, target_replies, baseline_replies.

        Source:
            The control that published tool sets lack: AuditBench (arXiv 2602.22755) mentions a
            baseline model and offers none.

        Cost:
            The target tokens of prompts x samples replies, and as many baseline tokens.

        Misses:
            Differences that any fine-tuning makes: a clean target differs from its baseline too.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each asked in a conversation of its own.
            samples: Replies drawn to each prompt from each model; prompts x samples may be 200
                at most.
            system: System line of every conversation.
            max_tokens: Longest reply, in tokens.
        """
        rows.check_texts("prompts", prompts)
        n = rows.check_rows(len(prompts), samples)
        target = rows.pick_model(ctx, "target", "chat")
        baseline = rows.pick_model(ctx, "baseline", "chat")
        rows.check_allowance(ctx, rows=n, max_tokens=max_tokens)
        asked = rows.conversations(prompts, system=system)
        batch = [prompt for prompt in asked for _ in range(samples)]
        sampling = rows.plain_sampling(max_tokens)
        seeds = rows.row_seeds(ctx, "compare", prompts=len(prompts), samples=samples)
        said = target.chat(batch, sampling=sampling, seeds=seeds)
        rows.count_tokens(ctx, "target", said)
        baseline_said = baseline.chat(batch, sampling=sampling, seeds=seeds)
        rows.count_tokens(ctx, "baseline", baseline_said)
        return ToolOutput(
            summary=f"{len(prompts)} prompts; target: {rows.describe(said, 'replies')}; "
            f"baseline: {rows.describe(baseline_said, 'replies')}",
            items=tuple(
                {
                    "prompt": text,
                    "target_replies": _texts(said, index, samples),
                    "baseline_replies": _texts(baseline_said, index, samples),
                }
                for index, text in enumerate(prompts)
            ),
        )

    return execute


def _texts(replies: list[Reply], prompt: int, samples: int) -> list[str]:
    return [reply.text for reply in replies[prompt * samples : (prompt + 1) * samples]]
