"""Where in a text features of the sparse autoencoder are active, in target and baseline."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from tools import rows
from tools.protocols import ToolContext, ToolOutput
from tools.reading import features, parameters, readings
from tools.reading.passages import Passage, check_given, target_passages
from tools.reading.readings import rounded
from tools.registry import Execute, tool


@tool(needs=("sae", "activations"))
def sae_trace() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        numbers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=20)],
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 0,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
    ) -> ToolOutput:
        """Show the activation of chosen features at every token of texts.

        One item for every token on which one of the features is active in target or baseline, text
        by text: text, position, before, token, target and baseline (activation by the feature's
        number; baseline is null where there is none). Items of kind "text" follow.

        Source:
            Bricken et al. 2025, "Building and evaluating alignment auditing agents", tool
            "per-token activations of a feature".

        Cost:
            The target tokens of the replies, if any are asked for.

        Misses:
            Every feature that you did not choose.

        Args:
            ctx: What this call may touch.
            numbers: Numbers of features.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations.
            texts: Raw texts.
            system: System line of prompts and conversations that have none.
            replies: Replies of the target to each open conversation; 0 reads what is given.
            max_tokens: Longest reply, in tokens.
        """
        sae = features.autoencoder(ctx)
        wanted = [features.check_feature(sae, one) for one in dict.fromkeys(numbers)]
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        passages = target_passages(ctx, given)
        items = tuple(_active(ctx, passages, wanted))
        return ToolOutput(
            summary=f"{len(items)} tokens of {len(passages)} texts with one of {len(wanted)} "
            f"features active; {readings.cost(ctx)}",
            items=(*items, *(passage.item() for passage in passages)),
        )

    return execute


def _active(
    ctx: ToolContext, passages: Sequence[Passage], wanted: Sequence[int]
) -> Iterator[dict[str, Any]]:
    places = [list(range(len(passage.ids))) for passage in passages]
    ours = features.captured(ctx, passages, places, "target")
    theirs = None
    if ctx.baseline_mind is not None:
        theirs = features.captured(ctx, passages, places, "baseline")
    for index, passage in enumerate(passages):
        target = features.encoded(ctx, ours[index])[:, list(wanted)]
        baseline = None
        if theirs is not None:
            baseline = features.encoded(ctx, theirs[index])[:, list(wanted)]
        for position in range(len(passage.ids)):
            rows_ = [target[position]] + ([] if baseline is None else [baseline[position]])
            if not any(bool((row > 0).any()) for row in rows_):
                continue
            values = [
                {str(f): rounded(float(v)) for f, v in zip(wanted, row, strict=True)}
                for row in rows_
            ]
            yield {
                "kind": "token",
                "text": passage.index,
                "position": position,
                "before": passage.before(position),
                "token": passage.tokens[position],
                "target": values[0],
                "baseline": values[1] if len(values) > 1 else None,
            }
