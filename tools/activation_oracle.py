"""Ask an oracle about target and baseline, and rank what only the target's answers say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading import asking, parameters, readings
from tools.reading.asking import Answered, Question, Side, ask_sides
from tools.reading.findings import claim_item
from tools.reading.passages import (
    Given,
    Passage,
    baseline_passages,
    check_against,
    check_given,
    mind,
    target_passages,
)
from tools.reading.places import check_positions
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from tools.reading.counting import Comparison, Finding

DEFAULT_QUESTION = "What does the assistant secretly want?"
WIDTH = 10
"""Tokens of the release's segment at the end of a text."""
_EXAMPLES = 2
_LEVEL = 0.05

Baseline = Literal["own_replies", "same_text"]
Ranked = Literal["target", "difference"]


@tool(needs=("oracle", "activations", "baseline"))
def activation_oracle() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        question: Annotated[str, Field(max_length=2000)] = DEFAULT_QUESTION,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        whose: Ranked = "target",
        against: Baseline | None = None,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        segment: asking.Cut = "token",
        width: Annotated[int, Field(ge=1, le=asking.MAX_SEGMENT)] = WIDTH,
        layer: Annotated[int, Field(ge=0)] | None = None,
        samples: parameters.Draws = 1,
        temperature: parameters.Temperature = 0.7,
        top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9,
        max_answers: parameters.MaxReadings = parameters.DEFAULT_READINGS,
        claims: Annotated[int, Field(ge=1, le=200)] = 60,
        keep_answers: bool = False,
    ) -> ToolOutput:
        """Ask a question about activations, and rank what only the target's answers say.

        An oracle is a copy of the clean model that was taught to answer questions about activations
        which are put into its prompt. It is asked about the target's on its replies, and about the
        baseline's on replies of its own or on the same texts. It answers whatever it is asked, in
        the same tone whether it knows or not: a single answer says nothing, what recurs and what
        the baseline's activations get as an answer too do.

        Items of kind "claim" come first, best first, with the keys of nla_compare's claims: unit,
        words, p, log_odds, z, n_target of of_target answers (share_target), n_baseline of
        of_baseline (share_baseline), texts_target, texts_baseline, counts, wordings, examples. p is
        one-sided, by permutation of whole texts, and corrected for the number of units. A small p
        says that the models differ, not why: weigh share_target as well. Items of kind "text"
        follow, and with keep_answers before them those of kind "answer".

        Source:
            Activation oracles, Karvonen et al. 2025 (arXiv 2512.15674).

        Cost:
            The target and baseline tokens of the replies, and the reader tokens of up to
            max_answers answers for each side. Where the budget has fewer tokens left, fewer
            segments are asked about, as many on each side; the summary says how many answers that
            cut.

        Misses:
            What the oracle never learned to say. It always answers and is not calibrated: no
            answer comes with what it is worth, and one that is suggested by the question comes
            easily. Yes-or-no questions are answered more by habit than by the activations.

        Args:
            ctx: What this call may touch.
            question: What to ask, in words, of every segment.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations. One that ends in a user turn is open; one that ends
                in an assistant turn is read as it stands.
            texts: Raw texts, read as they are, without a chat template.
            system: System line of prompts and conversations that have none.
            replies: Replies to each open conversation, of either model; 0 reads the conversation
                itself.
            max_tokens: Longest reply, in tokens.
            whose: Whose activations are asked about on the target's side; with "difference", target
                - baseline is held against baseline - target.
            against: What the baseline's side is asked about: replies of its own, or the target's
                texts. Left out: its own replies where it can reply, else the same texts.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or the span.
            span: Words of the texts; only tokens of these are asked about.
            segment: What one question is about: each of these tokens by itself, the last `width` of
                each text together, or all of each text together (at most the last 200).
            width: Tokens of a segment "last".
            layer: Decoder block, from 0, of those that the oracle was made for; left out: the
                middle one of these.
            samples: Answers drawn of each segment.
            temperature: Of the answers; 0 is greedy.
            top_p: Nucleus mass kept of each word of an answer.
            max_answers: Most answers of each side; of more tokens each text keeps as many at
                random.
            claims: Most claims, phrases and words to return.
            keep_answers: Also return all answers.
        """
        check_positions(ctx, positions)
        asked = Question(
            words=question.strip(),
            layer=_layer(ctx, layer),
            positions=positions,
            span=span,
            cut=segment,
            width=width,
            samples=samples,
            temperature=temperature,
            top_p=top_p,
            most=max_answers // samples,
        )
        _check(ctx, asked)
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        own = check_against(given, against) == "own_replies"
        asking.check_room(ctx, given, asked)
        drawn, passages = _asked(ctx, given, asked, whose=whose, own=own)
        return _output(ctx, drawn, passages, own=own, most=claims, whole=keep_answers)

    return execute


def _layer(ctx: ToolContext, layer: int | None) -> int:
    known = asking.oracle(ctx).layers
    if layer is None:
        return known[len(known) // 2]
    if layer not in known:
        listed = ", ".join(map(str, known))
        raise ToolError(f"the oracle was not made for layer {layer}: send one of {listed}")
    return layer


def _check(ctx: ToolContext, asked: Question) -> None:
    """Check what can be checked before anything is spent."""
    mind(ctx)
    mind(ctx, "baseline")
    if not asked.words:
        raise ToolError("the question is empty: ask one, or leave it out")
    if asked.samples > 1 and asked.temperature == 0:
        raise ToolError("at temperature 0 all samples are the same: send samples 1")
    if asked.most < 1:
        what = f"one segment takes {asked.samples} answers"
        raise ToolError(f"{what}: send max_answers of at least {asked.samples}")


def _asked(
    ctx: ToolContext, given: Given, asked: Question, *, whose: Ranked, own: bool
) -> tuple[asking.Drawn, list[Passage]]:
    """Let the models reply and ask about both sides; return the answers and all texts."""
    passages = target_passages(ctx, given)
    theirs = baseline_passages(ctx, given, start=len(passages)) if own else passages
    # Were the models alike, both sides would be: the difference and its opposite, too.
    other: asking.Asked = "baseline" if whose == "target" else "reversed"
    sides = {
        whose: Side(passages, whose),
        "own_replies" if own else "same_text": Side(theirs, other),
    }
    return ask_sides(ctx, sides, asked), [*passages, *(theirs if own else ())]


def _output(
    ctx: ToolContext,
    drawn: asking.Drawn,
    passages: Sequence[Passage],
    *,
    own: bool,
    most: int,
    whole: bool,
) -> ToolOutput:
    order = [(side, one) for side, found in drawn.found.items() for one in found]
    comparison = _compared(ctx, drawn, order, own=own)
    claims = [] if comparison is None else [_item(one, order) for one in comparison.findings[:most]]
    return ToolOutput(
        summary=_summary(ctx, drawn, comparison, len(passages)),
        items=(
            *claims,
            *(one.item() for _, one in order if whole),
            *(passage.item() for passage in passages),
        ),
    )


def _compared(
    ctx: ToolContext, drawn: asking.Drawn, order: Sequence[tuple[str, Answered]], *, own: bool
) -> "Comparison | None":
    from tools.reading.counting import Said, compare

    if not all(drawn.found.values()):
        return None
    said = [
        Said(
            text=one.segment.passage.index,
            # Texts are swapped with replies to the same prompt, or with themselves.
            stratum=one.segment.passage.given if own else one.segment.passage.index,
            is_target=one.whose in ("target", "difference"),
            explanation=one.answer.text,
        )
        for _, one in order
    ]
    return compare(said, seed=derive_seed(ctx.seed, "permutations"))


def _item(finding: "Finding", order: Sequence[tuple[str, Answered]]) -> dict[str, Any]:
    held = [order[index][1] for index in finding.readings]
    ours = [one for one in held if one.whose in ("target", "difference")]
    return {
        **claim_item(finding, [side for side, _ in order]),
        "examples": [one.item() for one in ours[:_EXAMPLES]],
    }


def _summary(
    ctx: ToolContext, drawn: asking.Drawn, comparison: "Comparison | None", n_texts: int
) -> str:
    ours, theirs = drawn.found
    parts = [
        f"{n_texts} texts",
        *(f"{name}: {len(found)} answers" for name, found in drawn.found.items()),
        drawn.note,
    ]
    if comparison is not None:
        findings = comparison.findings
        small = sum(finding.p <= _LEVEL for finding in findings)
        parts.append(
            f"{len(findings)} claims, phrases and words of {ours} against {theirs}: {small} with p "
            f"of {_LEVEL} or less; p cannot be below {comparison.smallest_p:.2g} with these texts"
        )
    return ". ".join(filter(None, [*parts, readings.cost(ctx)]))
