"""Steering in arms: what a model says when its stream is pushed, beside what it says otherwise.

Row i of every arm has the same prompt and seed. The target is compared with itself unsteered and
with pushes of random directions of the same norm; the baseline, pushed the same way, shows what a
direction does to a model without the motive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import Prompt, Reply, Steering, ToolContext, ToolError
from tools.reading import parameters
from tools.reading.passages import mind
from tools.reading.patterns import Pattern, find
from tools.reading.readings import rounded

if TYPE_CHECKING:
    from torch import Tensor

Strengths = Annotated[list[parameters.Strength], Field(min_length=1, max_length=8)]
Where = Literal["prompt", "reply", "all"]

MAX_REPLIES = 600
_PHRASES = 20


@dataclass(frozen=True, slots=True)
class Push:
    """A direction at one layer."""

    layer: int
    vector: "Tensor"
    """`[d_model]` float32, added after it was multiplied by the strength."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm with its replies."""

    name: str
    model: rows.ModelName
    strength: float
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every arm is asked; checked."""

    texts: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    samples: int
    strengths: tuple[float, ...]
    max_tokens: int
    where: Where

    @property
    def n(self) -> int:
        """Replies of one arm."""
        return len(self.prompts) * self.samples


def check_asked(
    ctx: ToolContext,
    *,
    prompts: Sequence[str],
    system: str | None,
    samples: int,
    strengths: Sequence[float],
    max_tokens: int,
    where: Where,
) -> Asked:
    """Check what shall be asked before anything is spent.

    Raises:
        ToolError: When the target cannot be steered, a prompt is blank, or there would be too many
            replies.
    """
    mind(ctx)
    rows.check_texts("prompts", prompts)
    sweep = tuple(dict.fromkeys(strengths))
    n, arms = len(prompts) * samples, 1 + 2 * len(sweep)
    if n * arms > MAX_REPLIES:
        raise ToolError(
            f"{n} prompts x samples in {arms} arms of the target are {n * arms} replies, and one "
            f"call may ask for {MAX_REPLIES}: send fewer prompts, samples or strengths"
        )
    rows.check_allowance(ctx, rows=n * arms, max_tokens=max_tokens)
    return Asked(
        texts=tuple(prompts),
        prompts=tuple(rows.conversations(prompts, system=system)),
        samples=samples,
        strengths=sweep,
        max_tokens=max_tokens,
        where=where,
    )


def mean_norm(ctx: ToolContext, prompts: Sequence[Prompt], layer: int) -> float:
    """Return the mean norm of the target's activations on some prompts.

    Raises:
        ToolError: When the layer does not exist.
    """
    target = mind(ctx)
    # The first token's norm is often a hundred times that of all others.
    places = [list(range(min(1, len(ids) - 1), len(ids))) for ids in target.token_ids(prompts)]
    streams = target.activations(prompts, layer=layer, positions=places)
    norms = [float(stream.double().norm(dim=-1).mean()) for stream in streams]
    return sum(norms) / len(norms)


def run_arms(ctx: ToolContext, asked: Asked, pushes: Sequence[Push]) -> list[Arm]:
    """Sample all arms, the unsteered target first, and count what it costs."""
    batch = [prompt for prompt in asked.prompts for _ in range(asked.samples)]
    seeds = rows.row_seeds(ctx, "steer", prompts=len(asked.prompts), samples=asked.samples)
    sampling = rows.plain_sampling(asked.max_tokens)
    arms = []
    for name, model, strength, steerings in _plans(ctx, asked, pushes):
        said = mind(ctx, model).steered_chat(batch, steerings, sampling=sampling, seeds=seeds)
        rows.count_tokens(ctx, model, said)
        arms.append(Arm(name, model, strength, tuple(said)))
    return arms


_Plan = tuple[str, rows.ModelName, float, list[list[Steering]]]


def _plans(ctx: ToolContext, asked: Asked, pushes: Sequence[Push]) -> Iterator[_Plan]:
    def along(strength: float) -> list[list[Steering]]:
        row = [Steering(push.layer, push.vector, strength, asked.where) for push in pushes]
        return [row] * asked.n

    def anywhere(strength: float) -> list[list[Steering]]:
        # Several directions, so that no lucky one decides; few, since each runs by itself.
        return [
            [
                Steering(p.layer, _random(ctx, p, row % asked.samples), strength, asked.where)
                for p in pushes
            ]
            for row in range(asked.n)
        ]

    none: list[list[Steering]] = [[] for _ in range(asked.n)]
    yield "target", "target", 0.0, none
    for strength in asked.strengths:
        yield "steered_target", "target", strength, along(strength)
        yield "random_direction", "target", strength, anywhere(strength)
    if ctx.baseline_mind is None:
        return
    yield "baseline", "baseline", 0.0, none
    for strength in asked.strengths:
        yield "steered_baseline", "baseline", strength, along(strength)


def _random(ctx: ToolContext, push: Push, number: int) -> "Tensor":
    from nla_core.fidelity import random_direction

    seed = derive_seed(ctx.seed, "random", push.layer, number)
    scaled: Tensor = random_direction(len(push.vector), seed) * push.vector.norm()
    return scaled


def items(
    ctx: ToolContext, asked: Asked, arms: Sequence[Arm], sought: Pattern | None
) -> tuple[dict[str, Any], ...]:
    """Return the items of a result: arms, phrases that steering brings, replies."""
    return (
        *measured(arms, sought),
        *_phrases(ctx, arms),
        *_replies(arms, asked, sought),
    )


def measured(arms: Sequence[Arm], sought: Pattern | None) -> list[dict[str, Any]]:
    """Count the words in each arm, and test it against the same model unsteered."""
    unsteered = {arm.model: arm for arm in arms if not arm.strength}
    random = {arm.strength: arm for arm in arms if arm.name == "random_direction"}
    found = []
    for arm in arms:
        item: dict[str, Any] = {
            "kind": "arm",
            "arm": arm.name,
            "strength": arm.strength,
            "replies": len(arm.replies),
            "empty": sum(not reply.text.strip() for reply in arm.replies),
            "share": None,
            "change": None,
            "p": None,
            "beyond_random": None,
            "p_beyond_random": None,
        }
        if sought is not None:
            ours = _holding(arm, sought)
            item["share"] = rounded(sum(ours) / len(ours))
            if arm.strength:
                item["change"], item["p"] = _change(ours, _holding(unsteered[arm.model], sought))
            if arm.name == "steered_target":
                beside = _holding(random[arm.strength], sought)
                item["beyond_random"], item["p_beyond_random"] = _change(ours, beside)
        found.append(item)
    return found


def _change(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[float | None, float | None]:
    """Return the difference of two shares and its p-value."""
    return rounded((sum(ours) - sum(theirs)) / len(ours)), rounded(swap_p(ours, theirs))


def _holding(arm: Arm, sought: Pattern) -> list[bool]:
    return [find(sought, reply.text) is not None for reply in arm.replies]


def swap_p(ours: Sequence[bool], theirs: Sequence[bool]) -> float:
    """Return the two-sided p-value of swapping replies of equal prompt and seed (McNemar's exact).

    Under the null each pair that differs is as likely one way as the other.
    """
    gained = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    lost = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    n, k = gained + lost, min(gained, lost)
    ways = sum(comb(n, i) for i in range(k + 1))
    return min(1.0, float(2 * ways / 2**n))


def _phrases(ctx: ToolContext, arms: Sequence[Arm]) -> Iterator[dict[str, Any]]:
    """Yield what the steered target says more often than the unsteered one, at each strength."""
    from tools.reading.said_more import phrase_item, said_more

    plain = [reply.text for reply in arms[0].replies]
    for arm in arms:
        if arm.name != "steered_target":
            continue
        seed = derive_seed(ctx.seed, "phrases", str(arm.strength))
        texts = [reply.text for reply in arm.replies]
        for found in said_more(texts, plain, seed=seed)[:_PHRASES]:
            item = phrase_item(found, ours="steered", theirs="unsteered")
            yield {"kind": item.pop("kind"), "strength": arm.strength, **item}


def _replies(arms: Sequence[Arm], asked: Asked, sought: Pattern | None) -> Iterator[dict[str, Any]]:
    for arm in arms:
        for row, reply in enumerate(arm.replies):
            yield {
                "kind": "reply",
                "arm": arm.name,
                "strength": arm.strength,
                "prompt": asked.texts[row // asked.samples],
                "sample": row % asked.samples,
                "reply": reply.text,
                "holds": None if sought is None else find(sought, reply.text) is not None,
                "finish": reply.finish,
            }


def describe(ctx: ToolContext, arms: Sequence[Arm], words: str | None) -> list[str]:
    """Summarise arms in a few words each."""
    from tools.reading.patterns import compile_pattern

    parts = [f"{len(arms[0].replies)} replies in each of {len(arms)} arms"]
    if words is not None:
        found = measured(arms, compile_pattern(words))
        parts.append(
            f"replies that hold {words!r}: "
            + ", ".join(f"{_name(item)} {item['share']:.0%}" for item in found)
        )
    if ctx.baseline_mind is None:
        parts.append("there is no baseline to steer")
    return parts


def _name(item: dict[str, Any]) -> str:
    name = str(item["arm"]).replace("_", " ")
    return f"{name} x{item['strength']:g}" if item["strength"] else name
