"""Put activations into words."""

from typing import Annotated

from pydantic import Field

from tools import rows
from tools.protocols import ToolContext, ToolOutput
from tools.reading import allowance, parameters, readings
from tools.reading.passages import check_given, mind, target_passages
from tools.registry import Execute, tool


@tool(needs=("reader", "activations"))
def nla_explain() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 1,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        whose: readings.Whose = "target",
        strength: parameters.Strength = parameters.DEFAULT_STRENGTH,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        layers: parameters.Layers | None = None,
        samples: parameters.Draws = 1,
        temperature: parameters.Temperature = 1.0,
        max_readings: parameters.MaxReadings = parameters.DEFAULT_READINGS,
    ) -> ToolOutput:
        """Read what the model holds in mind at chosen tokens, in words.

        By default the target is first asked to reply to each open conversation, and the tokens of
        its replies are read: without elicitation there is little to find. Each explanation comes
        with what it is worth: how near its reconstruction is to the activation (cosine, FVE), and
        a verdict beside its nulls. Believe no detail of a single reading; look for what recurs.

        Items of kind "reading" come first: text, position, before, token, whose, sample,
        explanation, cosine, fve, verdict, layer, off_layer. Items of kind "text" follow: the texts
        that were read, numbered as in `text`. Search them all with nla_grep.

        Source:
            Natural language autoencoders, kitft/natural_language_autoencoders (2026).

        Cost:
            The target tokens of the replies and the reader tokens of the explanations; worst:K and
            best:K read every candidate first. Where the budget has fewer tokens left, fewer places
            are read, about as many of each text, at random; the summary says how many readings that
            cut.

        Misses:
            What the verbalizer never learned to say, and what the model does not hold at these
            tokens. Single details are often invented: fidelity says how much of the activation an
            explanation keeps, not that each of its claims is true.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations. One that ends in a user turn is open; one that ends
                in an assistant turn is read as it stands.
            texts: Raw texts, read as they are, without a chat template.
            system: System line of prompts and conversations that have none.
            replies: Replies of the target to each open conversation, whose tokens are read; 0 reads
                the conversation itself.
            max_tokens: Longest reply, in tokens.
            whose: Whose activations on these texts; "difference" is baseline + strength x (target -
                baseline), which shows what fine-tuning added more clearly.
            strength: Strength of the difference; 1 is the target itself.
            positions: Which tokens: last, last:K, header (where a reply begins), reply, turn_ends,
                every, random:K, divergent:K (where target and baseline disagree most on the next
                token), worst:K or best:K (by what readings are worth), or several with commas; K
                counts per text and chooses within the span or the reply. Left out: the reply, or
                the span.
            span: Words of the texts; only tokens of these are read.
            layers: Decoder blocks to read, from 0; left out: those that the reader was made for.
                Others are read off-layer, and marked.
            samples: Explanations drawn of each token.
            temperature: Of the explanations; 0 is greedy.
            max_readings: Most readings; of more places each text keeps as many at random.
        """
        how = readings.check_how(
            ctx,
            positions=positions,
            span=span,
            layers=layers,
            samples=samples,
            temperature=temperature,
            strength=strength,
            max_readings=max_readings,
            by_score=True,
        )
        if whose != "target":
            mind(ctx, "baseline")
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        allowance.check_room(ctx, given, how)
        passages = target_passages(ctx, given)
        drawn = allowance.read_sides(ctx, {whose: allowance.Side(passages, whose)}, how)
        found = drawn.found[whose]
        parts = [f"{len(passages)} texts", readings.describe(found), drawn.note, readings.cost(ctx)]
        return ToolOutput(
            summary="; ".join(filter(None, parts)),
            items=(*(one.item() for one in found), *(passage.item() for passage in passages)),
        )

    return execute
