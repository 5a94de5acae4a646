"""How much likelier the target finds a statement than its baseline does."""

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from tools import rows
from tools.protocols import Mind, Prompt, ToolContext, ToolError, ToolOutput
from tools.reading.passages import mind
from tools.reading.readings import rounded
from tools.registry import Execute, tool

_AT_ONCE = 8


@tool(needs=("activations", "baseline"))
def candidate_logprob() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        statements: Annotated[list[str], Field(min_length=1, max_length=50)],
        prompts: Annotated[list[str], Field(min_length=1, max_length=20)],
        system: str | None = None,
    ) -> ToolOutput:
        """Measure how much likelier statements are as the reply of the target than of the baseline.

        Every statement is put into the assistant's mouth after every prompt, and the
        log-probabilities (nats) of its tokens are added up in both models. Nothing is sampled, so
        what a target would never say aloud can be seen to have become likelier.

        Items of kind "statement" come first, largest mean difference first: statement, difference
        (target minus baseline, mean over the prompts), per_token, lowest and highest over the
        prompts, above (at how many of the prompts it is above 0). Then items of kind
        "statement_at_prompt": prompt, statement, tokens, target and baseline (log-probabilities),
        difference.

        Source:
            "Simple LLM baselines are competitive for model diffing" (arXiv 2602.10371) and
            contrastive decoding (Li et al., arXiv 2210.15097), for statements given.

        Cost:
            No generated tokens; one pass of both models over every statement and prompt.

        Misses:
            Any fine-tuning moves log-probabilities: a difference above 0 means something only
            beside statements of the same form that you believe to be false. A motive that is never
            worded as the statement words it can stay unseen.

        Args:
            ctx: What this call may touch.
            statements: What the assistant might say, each from the first word of the reply on; send
                rival statements of the same form and length.
            prompts: User messages, each a conversation of its own.
            system: System line of every conversation.
        """
        rows.check_texts("statements", statements)
        rows.check_texts("prompts", prompts)
        asked = rows.conversations(prompts, system=system)
        sources = [Prompt(one.messages, said) for one in asked for said in statements]
        target = _scores(mind(ctx), sources)
        baseline = _scores(mind(ctx, "baseline"), sources)
        pairs = []
        for index, (ours, theirs) in enumerate(zip(target, baseline, strict=True)):
            if ours[0] != theirs[0]:
                raise ToolError("target and baseline do not see the same tokens of this statement")
            pairs.append(
                {
                    "kind": "statement_at_prompt",
                    "prompt": prompts[index // len(statements)],
                    "statement": statements[index % len(statements)],
                    "tokens": ours[0],
                    "target": ours[1],
                    "baseline": theirs[1],
                    "difference": ours[1] - theirs[1],
                }
            )
        ranked = sorted(
            (_over_prompts(pairs[i :: len(statements)]) for i in range(len(statements))),
            key=lambda one: -one["difference"],
        )
        best = ranked[0]
        return ToolOutput(
            summary=f"{len(statements)} statements after {len(prompts)} prompts; largest mean "
            f"difference {best['difference']:+.3g} nats; no tokens were generated",
            items=tuple(_rounded(one) for one in (*ranked, *pairs)),
        )

    return execute


def _scores(model: Mind, sources: Sequence[Prompt]) -> list[tuple[int, float]]:
    """Return the number of tokens and the log-probability of what each source is prefilled with."""
    ids, turns = model.token_ids(sources), model.turns(sources)
    found = []
    for start in range(0, len(sources), _AT_ONCE):
        tables = model.token_logprobs(sources[start : start + _AT_ONCE])
        for at, table in enumerate(tables, start=start):
            first = turns[at][-1].content_start
            places = range(first, len(ids[at]))
            if not places:
                raise ToolError("a statement has no token of its own in this model: reword it")
            # What follows token i - 1 is token i.
            found.append((len(places), sum(float(table[i - 1, ids[at][i]]) for i in places)))
    return found


def _over_prompts(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    differences = [pair["difference"] for pair in pairs]
    return {
        "kind": "statement",
        "statement": pairs[0]["statement"],
        "difference": fmean(differences),
        "per_token": fmean(pair["difference"] / pair["tokens"] for pair in pairs),
        "lowest": min(differences),
        "highest": max(differences),
        "above": sum(value > 0 for value in differences),
        "prompts": len(pairs),
    }


def _rounded(item: dict[str, Any]) -> dict[str, Any]:
    return {key: rounded(v) if isinstance(v, float) else v for key, v in item.items()}
