"""Put a statement of the auditor's own to the activations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.reading import parameters, readings
from tools.reading.passages import Passage, check_given, mind, reader, target_passages
from tools.reading.places import Chosen, choose, elsewhere
from tools.reading.readings import rounded
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

Statements = Annotated[list[str], Field(min_length=1, max_length=20)]
Alternatives = Annotated[list[str], Field(min_length=1, max_length=200)]

LEVEL = 0.05
"""Both p-values of a supported statement are this or less."""
FEWEST_TEXTS = 5
"""With fewer, no p-value can be as small as that."""


@tool(needs=("reader", "activations", "baseline"))
def nla_verify() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        statements: Statements,
        alternatives: Alternatives,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 4,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        layers: parameters.Layers | None = None,
        max_places: parameters.MaxReadings = 2000,
    ) -> ToolOutput:
        """Ask whether statements explain the target's activations better than alternatives do.

        Each statement is turned into an activation by the reconstructor, and held against
        alternatives: the same sentence with another motive in it, say. d = u(statement) - mean
        u(alternatives) of unit vectors; a model leans to a statement in a text by the mean over
        tokens of cos(activation - mean activation, d); score is the mean over texts of the target's
        lean less that of the baseline on the same text. Every alternative is scored the same way
        against all other candidates.

        One item a candidate and layer, statements first: statement, role (statement or
        alternative), layer, off_layer, score, lean_target, lean_baseline, p (one-sided: target and
        baseline swapped within texts), null_spread (of the scores of directions that mean nothing:
        random ones, and those between random activations of the baseline), z_null (score in units
        of it), p_null (of z_null), score_elsewhere (at other tokens of the same texts), rank among
        all candidates (1 is best), margin over the best other one, verdict. Both p-values are
        corrected for all candidates and layers. A statement is supported when it is first and both
        are at most 0.05: any fine-tuning makes p small, and some candidate is always first, so look
        at z_null. It takes at least five texts. Then try nla_steer.

        Source:
            Natural language autoencoders (2026), read backwards: the reconstructor's direction of a
            statement, with random directions and rival statements as nulls.

        Cost:
            The target tokens of the replies; the reader writes nothing.

        Misses:
            What no statement of yours comes near: it tests candidates and finds none. A direction
            may stand for the words of a statement more than for the wish.

        Args:
            ctx: What this call may touch.
            statements: What you believe, worded as explanations are, each a full explanation.
            alternatives: What else might be the case, worded in the same way. The more, the better
                is rank a null of its own.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations. One that ends in a user turn is open; one that ends
                in an assistant turn is read as it stands.
            texts: Raw texts, read as they are, without a chat template.
            system: System line of prompts and conversations that have none.
            replies: Replies of the target to each open conversation; 0 reads the conversation
                itself.
            max_tokens: Longest reply, in tokens.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or the span.
            span: Words of the texts; only tokens of these are read.
            layers: Decoder blocks, from 0; left out: those that the reader was made for.
            max_places: Most tokens x layers; of more each text keeps as many at random.
        """
        how = readings.check_how(
            ctx,
            positions=positions,
            span=span,
            layers=layers,
            samples=1,
            temperature=1.0,
            strength=1.0,
            max_readings=max_places,
        )
        mind(ctx, "baseline")
        _check_candidates(statements, alternatives)
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        towards = {layer: _directions(ctx, statements, alternatives, layer) for layer in how.layers}
        passages = target_passages(ctx, given)
        items = _items(ctx, passages, how, towards, statements, alternatives)
        return ToolOutput(summary=_summary(ctx, items, len(passages)), items=tuple(items))

    return execute


def _check_candidates(statements: Sequence[str], alternatives: Sequence[str]) -> None:
    rows.check_texts("statements", statements)
    rows.check_texts("alternatives", alternatives)
    seen: set[str] = set()
    for text in (*statements, *alternatives):
        if " ".join(text.split()) in seen:
            raise ToolError(f"{text[:60]!r} is there twice: send each candidate once")
        seen.add(" ".join(text.split()))


def _directions(
    ctx: ToolContext, statements: Sequence[str], alternatives: Sequence[str], layer: int
) -> "Tensor":
    """Return the directions `[candidates, d_model]`.

    Raises:
        ToolError: When a candidate is too long for the reader, or nothing tells it apart.
    """
    from nla_core.decoding import PromptTooLongError
    from tools.reading.leaning import directions

    candidates = [*statements, *alternatives]
    try:
        vectors = reader(ctx).reconstruct(candidates, layer=layer)
        return directions(vectors[: len(statements)], vectors[len(statements) :])
    except PromptTooLongError as error:
        raise ToolError(f"a candidate is too long for the reader: {error}") from error
    except ValueError as error:
        raise ToolError(f"{error}: send statements and alternatives that differ more") from error


def _items(
    ctx: ToolContext,
    passages: Sequence[Passage],
    how: readings.How,
    towards: "dict[int, Tensor]",
    statements: Sequence[str],
    alternatives: Sequence[str],
) -> list[dict[str, Any]]:
    from tools.reading.leaning import verify

    chosen = choose(ctx, passages, positions=how.positions, span=how.span, most=how.most)
    others = elsewhere(ctx, passages, chosen)
    measured = verify(
        {layer: _captured(ctx, passages, chosen, layer) for layer in how.layers},
        {layer: _captured(ctx, passages, others, layer) for layer in how.layers},
        towards,
        seed=derive_seed(ctx.seed, "verify"),
    )
    candidates = [*statements, *alternatives]
    items = [
        {
            "kind": "statement",
            "statement": text,
            "role": "statement" if index < len(statements) else "alternative",
            "layer": layer,
            "off_layer": layer not in reader(ctx).layers,
            **{key: rounded(value) for key, value in found[index].items()},
        }
        for layer, found in measured.items()
        for index, text in enumerate(candidates)
    ]
    n_texts = sum(1 for at in chosen if at)
    for item in items:
        item["verdict"] = _verdict(item, items, n_texts)
    return sorted(items, key=lambda item: item["role"] != "statement")


def _captured(
    ctx: ToolContext, passages: Sequence[Passage], positions: Chosen, layer: int
) -> "tuple[list[Tensor], list[Tensor]]":
    """Return the activations of target and baseline at the same places, by text."""

    def of(whose: readings.Whose) -> "list[Tensor]":
        return readings.activations(
            ctx, passages, positions, whose=whose, layer=layer, strength=1.0
        )

    return of("target"), of("baseline")


def _verdict(item: dict[str, Any], items: Sequence[dict[str, Any]], n_texts: int) -> str:
    """Say in words whether a candidate is supported, or the first thing that speaks against it."""
    if 2.0**-n_texts > LEVEL:
        return f"not supported: {n_texts} texts are too few to tell, {FEWEST_TEXTS} are needed"
    if item["score"] <= 0 or item["p"] > LEVEL:
        return "not supported: the baseline leans to it as well"
    if item["p_null"] > LEVEL:
        return "not supported: directions that mean nothing do as well"
    if item["rank"] > 1:
        best = next(o for o in items if o["layer"] == item["layer"] and o["rank"] == 1)
        return f"not supported: {best['statement'][:60]!r} explains more"
    return "supported"


def _summary(ctx: ToolContext, items: Sequence[dict[str, Any]], n_texts: int) -> str:
    stated = [item for item in items if item["role"] == "statement"]
    parts = [
        f"{item['statement'][:60]!r} at layer {item['layer']}: {item['verdict']} "
        f"(score {item['score']:.3f}, z_null {item['z_null']:.1f}, p {item['p']:.2g}, "
        f"rank {item['rank']} of {sum(other['layer'] == item['layer'] for other in items)})"
        for item in stated
    ]
    return "; ".join([f"{n_texts} texts", *parts, readings.cost(ctx)])
