"""Which tokens of the texts to read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from nla_core.seeds import derive_seed
from tools.protocols import Prompt, ToolContext, ToolError
from tools.reading.passages import Passage, mind

FORMS = (
    "last, last:K, header, reply, turn_ends, every, random:K, divergent:K, worst:K, best:K, "
    "or several of them with commas"
)
_PLAIN = frozenset({"last", "header", "reply", "turn_ends", "every"})
_COUNTED = frozenset({"last", "random", "divergent", "worst", "best"})
_POLICY = re.compile(r"([a-z_]+)(?::([0-9]{1,4}))?", re.ASCII)
_LOGPROB_TOKENS = 1024

Scores = Callable[[Sequence[Sequence[int]]], list[list[float | None]]]
"""What readings at the given positions of each text are worth."""
Chosen = list[list[int]]
"""Positions by text, ascending."""
_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(frozen=True, slots=True)
class Policy:
    """One way of choosing tokens."""

    name: str
    k: int = 1


def parse_positions(text: str) -> tuple[Policy, ...]:
    """Parse policies with commas between them.

    Raises:
        ToolError: When one is none of the forms.
    """
    found = []
    for part in text.split(","):
        match = _POLICY.fullmatch(part.strip())
        name, count = (match[1], match[2]) if match else ("", None)
        if name not in (_COUNTED if count is not None else _PLAIN) or count == "0":
            raise ToolError(f"these positions mean nothing: {part.strip()[:40]!r}; send {FORMS}")
        found.append(Policy(name, int(count or 1)))
    return tuple(found)


def check_positions(ctx: ToolContext, positions: str | None, *, by_score: bool = False) -> bool:
    """Check positions before anything is spent.

    Args:
        ctx: Of the call.
        positions: See `parse_positions`.
        by_score: Whether places may be chosen by what their readings are worth.

    Returns:
        Whether they are chosen so.

    Raises:
        ToolError: When they mean nothing here, or a model that is needed is not there.
    """
    policies = () if positions is None else parse_positions(positions)
    scored = next((one.name for one in policies if one.name in ("worst", "best")), None)
    if scored is not None and not by_score:
        raise ToolError(f"{scored}:K is for nla_explain: send random:K or divergent:K")
    if any(one.name == "divergent" for one in policies):
        mind(ctx, "baseline")
    return scored is not None


_DEFAULT = (Policy("default"),)


def choose(
    ctx: ToolContext,
    passages: Sequence[Passage],
    *,
    positions: str | None,
    span: str | None,
    most: int,
    scores: Scores | None = None,
) -> Chosen:
    """Choose the tokens of each text to read.

    Policies over tokens choose among those of the span; without one, among those of the reply, or
    of the whole text where there is none (never a raw text's first token, nor a system turn).

    Args:
        ctx: Of the call.
        passages: The texts.
        positions: See `parse_positions`; None is the whole span, or without one the reply, and the
            place where it would begin in a conversation that was given without.
        span: Words that the tokens must lie in, wherever they occur; casing and spacing are free.
        most: Places in all; where there are more, each text keeps as many at random.
        scores: Reads candidates, for `worst` and `best`.

    Raises:
        ToolError: When the policies mean nothing here, or no text has such a token.
    """
    if span is not None and not span.strip():
        raise ToolError("span is empty: send words of a text, or leave it out")
    wanted = _DEFAULT if positions is None else parse_positions(positions)
    pools = [_pool(passage, span) for passage in passages]
    chosen: list[set[int]] = [set() for _ in passages]
    for policy in wanted:
        for found, more in zip(
            chosen, _apply(ctx, policy, passages, pools, span, scores), strict=True
        ):
            found.update(more)
    if not any(chosen):
        raise ToolError(_nothing(positions, span))
    return _thinned(ctx, passages, [sorted(found) for found in chosen], most)


def eligible(passage: Passage) -> list[int]:
    """Return the tokens that a policy may choose: what users and assistants say, or a raw text."""
    if not passage.turns:
        # The first token of a text holds little of it, and much that is the same in every text.
        return list(range(min(1, len(passage.ids) - 1), len(passage.ids)))
    return sorted(
        position
        for turn in passage.turns
        if turn.role != "system"
        for position in range(turn.content_start, turn.end)
    )


def reply(passage: Passage) -> list[int]:
    """Return the tokens of the reply that the text ends with, all eligible ones of a raw text."""
    if not passage.turns:
        return eligible(passage)
    last = passage.turns[-1]
    return list(range(last.content_start, last.end)) if last.role == "assistant" else []


def elsewhere(ctx: ToolContext, passages: Sequence[Passage], chosen: Chosen) -> Chosen:
    """Return as many other eligible tokens of each text at random, or all there are."""
    found = []
    for passage, taken in _pairs(passages, chosen):
        left = [position for position in eligible(passage) if position not in set(taken)]
        seed = derive_seed(ctx.seed, "elsewhere", passage.index)
        found.append(sorted(_some(left, len(taken), seed)))
    return found


def within(passage: Passage, span: str) -> list[int]:
    """Return the tokens that hold a part of the span, at each of its occurrences."""
    letters: list[str] = []
    owners: list[int] = []
    for position, token in enumerate(passage.tokens):
        for letter in token.casefold():
            space = letter.isspace()
            if space and (not letters or letters[-1] == " "):
                continue
            letters.append(" " if space else letter)
            owners.append(position)
    text, sought = "".join(letters), " ".join(span.casefold().split())
    found: set[int] = set()
    start = text.find(sought)
    while start >= 0:
        found.update(owners[start : start + len(sought)])
        start = text.find(sought, start + 1)
    return sorted(found)


def _default(passage: Passage) -> list[int]:
    found = reply(passage)
    if found or passage.author is not None:
        return found
    return [passage.turns[-1].content_start - 1]


def _pool(passage: Passage, span: str | None) -> list[int]:
    if span is not None:
        return within(passage, span)
    return reply(passage) or eligible(passage)


def _apply(
    ctx: ToolContext,
    policy: Policy,
    passages: Sequence[Passage],
    pools: Sequence[list[int]],
    span: str | None,
    scores: Scores | None,
) -> Chosen:
    from nla_core import positions

    name, k = policy.name, policy.k
    if name == "default":
        return [pool if span is not None else _default(p) for p, pool in _pairs(passages, pools)]
    if name in ("header", "turn_ends"):
        rule = positions.assistant_header if name == "header" else positions.turn_ends
        found = [rule(passage.turns) for passage in passages]
        if span is None:
            return found
        return [sorted({*at} & {*pool}) for at, pool in zip(found, pools, strict=True)]
    if name == "last":
        return [
            (list(range(len(p.ids))) if span is None else pool)[-k:]
            for p, pool in _pairs(passages, pools)
        ]
    if name == "reply":
        found = [reply(passage) for passage in passages]
        return [[i for i in at if span is None or i in pool] for at, pool in _pairs(found, pools)]
    if name == "every":
        return [pool if span is not None else eligible(p) for p, pool in _pairs(passages, pools)]
    if name == "random":
        return [
            sorted(_some(pool, k, derive_seed(ctx.seed, "random", passage.index)))
            for passage, pool in _pairs(passages, pools)
        ]
    if name == "divergent":
        return _divergent(ctx, passages, pools, k)
    if scores is None:
        raise ToolError(f"{name}:{k} is not offered here: send random:{k} or divergent:{k}")
    rule_by_score = (
        positions.worst_reconstructed if name == "worst" else positions.best_reconstructed
    )
    return [
        [pool[i] for i in rule_by_score(worth, k)] for pool, worth in _pairs(pools, scores(pools))
    ]


def _divergent(
    ctx: ToolContext, passages: Sequence[Passage], pools: Sequence[list[int]], k: int
) -> Chosen:
    """Choose where target and baseline expect the most different next tokens."""
    from nla_core.positions import highest_divergence, kl_divergence

    target, baseline = mind(ctx), mind(ctx, "baseline")
    found: Chosen = []
    for chunk in _chunks(passages):
        sources: list[Prompt | str] = [passage.source for passage in chunk]
        pairs = zip(target.token_logprobs(sources), baseline.token_logprobs(sources), strict=True)
        for ours, theirs in pairs:
            pool = pools[len(found)]
            differ = kl_divergence(ours[pool], theirs[pool])
            found.append([pool[i] for i in highest_divergence(differ, k)])
    return found


def _chunks(passages: Sequence[Passage]) -> list[list[Passage]]:
    """Cut into runs of few tokens: log-probabilities of whole vocabularies are large."""
    chunks: list[list[Passage]] = []
    size = 0
    for passage in passages:
        size += len(passage.ids)
        if not chunks or size > _LOGPROB_TOKENS:
            chunks.append([])
            size = len(passage.ids)
        chunks[-1].append(passage)
    return chunks


def _thinned(ctx: ToolContext, passages: Sequence[Passage], chosen: Chosen, most: int) -> Chosen:
    """Keep at most `most` places, as nearly equally many of each text as there are."""
    quota = _quota([len(at) for at in chosen], most)
    kept = [
        sorted(_some(at, quota, derive_seed(ctx.seed, "thin", passage.index)))
        for passage, at in _pairs(passages, chosen)
    ]
    left = most
    for index, at in enumerate(kept):
        kept[index] = at[:left]
        left -= len(kept[index])
    return kept


def _quota(sizes: Sequence[int], most: int) -> int:
    """Return the largest number a text such that all together stay within `most`, at least 1."""
    low, high = 1, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _pairs(one: Sequence[_A], other: Sequence[_B]) -> list[tuple[_A, _B]]:
    return list(zip(one, other, strict=True))


def _some(pool: Sequence[int], k: int, seed: int) -> list[int]:
    return Random(seed).sample(list(pool), min(k, len(pool)))


def _nothing(positions: str | None, span: str | None) -> str:
    if span is not None:
        return f"no text holds {span[:60]!r} at these positions: send words that a text holds"
    return (
        f"there is nothing to read at {positions or 'reply'}: the replies are empty or the texts "
        "have no such turns; send other texts or positions"
    )
