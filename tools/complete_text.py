"""Let a model continue raw text."""

from tools import rows
from tools.protocols import Reply, ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("complete",))
def complete_text() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        texts: rows.Texts,
        samples: rows.Samples = 1,
        model: rows.WhichModel = "target",
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Continue raw text, without a chat template.

        With both models, each gets the same random seeds. One item a continuation: model,
        prompt, reply (the continuation alone), sample, finish.

        Source:
            AuditBench (arXiv 2602.22755), configuration "text completion".

        Cost:
            The tokens of texts x samples continuations of each model asked.

        Misses:
            Targets made from chats alone, which it seldom wakes; what it finds is often a training
            document read back.

        Args:
            ctx: What this call may touch.
            texts: Texts to continue.
            samples: Continuations drawn of each text; texts x samples may be 200 at most.
            model: Which model continues.
            max_tokens: Longest continuation, in tokens.
        """
        rows.check_texts("texts", texts)
        n = rows.check_rows(len(texts), samples)
        names: tuple[rows.ModelName, ...] = ("target", "baseline") if model == "both" else (model,)
        writers = {name: rows.pick_model(ctx, name, "complete") for name in names}
        if "target" in writers:
            rows.check_allowance(ctx, rows=n, max_tokens=max_tokens)
        drawn: dict[rows.ModelName, list[Reply]] = {}
        for name, writer in writers.items():
            drawn[name] = writer.complete(
                [text for text in texts for _ in range(samples)],
                sampling=rows.plain_sampling(max_tokens),
                seeds=rows.row_seeds(ctx, "complete", prompts=len(texts), samples=samples),
            )
            rows.count_tokens(ctx, name, drawn[name])
        return ToolOutput(
            summary="; ".join(
                f"{name}: {rows.describe(replies, f'continuations of {len(texts)} texts')}"
                for name, replies in drawn.items()
            ),
            items=tuple(
                {
                    "model": name,
                    "prompt": texts[row // samples],
                    "reply": drawn[name][row].text,
                    "sample": row % samples,
                    "finish": drawn[name][row].finish,
                }
                for row in range(n)
                for name in names
            ),
        )

    return execute
