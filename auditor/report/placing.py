"""Token-level readings of one tool result, put back onto the texts that were read.

A record holds the texts as words and each reading with its token and the few tokens before it, but
not the tokens of the text. So a token is found again by what stands before it; where the same words
stand in two places, the one that keeps the order of the readings is taken. What cannot be found is
kept without a place, never guessed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tools.reading.verdicts import VERDICTS

Grade = Literal["high", "middle", "low", "null", "unknown"]
"""What a reading is worth: by its fidelity, unless one of its nulls does as well."""
NULLS = ("random", "mean", "shuffled", "unscored")
"""Verdicts of readings that say nothing about their token."""
HIGH, MIDDLE = 0.7, 0.3
_ELLIPSIS = "…"
_TAIL = 12


def grade(verdict: str, value: float | None) -> Grade:
    """Grade a reading by the name of its verdict and its FVE or cosine."""
    if verdict in NULLS:
        return "null"
    if value is None:
        return "unknown"
    return "high" if value >= HIGH else "middle" if value >= MIDDLE else "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReading:
    """One explanation of one token."""

    position: int
    before: str
    token: str
    whose: str | None
    explanation: str | None
    value: float | None
    """FVE where it is known, else the cosine."""
    measure: str
    """What `value` is: FVE or cosine."""
    verdict: str
    """In words."""
    grade: Grade
    start: int | None = None
    """Where the token begins in the words of its text; None when it is not in them."""
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadText:
    """A text with its readings, in the order of the text."""

    number: int
    author: str | None
    """Whose reply it is; None where the auditor wrote it."""
    prompt: str | None
    words: str
    """Empty when the result does not hold the text."""
    readings: tuple[TokenReading, ...]


class Piece(NamedTuple):
    """A stretch of a text: one token with its readings, or what lies between."""

    text: str
    readings: tuple[TokenReading, ...] = ()


def read_texts(items: Iterable[Mapping[str, Any]]) -> list[ReadText]:
    """Return the texts of a result that have readings, those with most readings first."""
    texts: dict[int, Mapping[str, Any]] = {}
    found: dict[int, dict[tuple[Any, ...], TokenReading]] = {}
    for item in items:
        if item.get("kind") == "text" and isinstance(item.get("text"), int):
            texts[item["text"]] = item
        for one in _readings(item):
            reading = _reading(one)
            known = (reading.position, reading.whose, reading.explanation)
            found.setdefault(one["text"], {}).setdefault(known, reading)
    read = [_text(number, texts.get(number, {}), some) for number, some in found.items()]
    return sorted(read, key=lambda text: (-len(text.readings), text.number))


def is_reading_item(item: Mapping[str, Any]) -> bool:
    """Whether an item is shown on its text, instead of by itself."""
    return item.get("kind") == "text" or (
        item.get("kind") == "reading" and "position" in item and "text" in item
    )


def pieces(text: ReadText) -> list[Piece]:
    """Cut the words of a text into read tokens and what lies between them."""
    by_place: dict[tuple[int, int], list[TokenReading]] = {}
    for reading in text.readings:
        if reading.start is not None and reading.end is not None:
            place = (reading.start, reading.end)
            by_place.setdefault(place, []).append(reading)
    found: list[Piece] = []
    at = 0
    for (start, end), some in sorted(by_place.items()):
        if start < at:
            continue
        if start > at:
            found.append(Piece(text.words[at:start]))
        found.append(Piece(text.words[start:end], tuple(some)))
        at = end
    return [*found, Piece(text.words[at:])] if at < len(text.words) else found


def unplaced(text: ReadText) -> list[TokenReading]:
    """Return the readings of tokens that are not in the words: of the prompt or the template."""
    return [reading for reading in text.readings if reading.start is None]


def best(readings: Sequence[TokenReading]) -> TokenReading:
    """Return the reading of a token that is worth most."""
    return max(readings, key=lambda one: (one.grade != "null", one.value or 0.0))


def _readings(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the readings that an item is or gives as examples."""
    examples = item.get("examples")
    some = [item] if item.get("kind") == "reading" else examples
    for one in some if isinstance(some, list) else ():
        whole = isinstance(one, Mapping) and "explanation" in one
        if whole and isinstance(one.get("text"), int) and isinstance(one.get("position"), int):
            yield one


def _reading(item: Mapping[str, Any]) -> TokenReading:
    fve, cosine = _number(item.get("fve")), _number(item.get("cosine"))
    value = cosine if fve is None else fve
    said = str(item.get("verdict") or "")
    name = next((name for name, words in VERDICTS.items() if said.startswith(words)), "")
    explanation = item.get("explanation")
    whose = item.get("whose")
    return TokenReading(
        position=item["position"],
        before=str(item.get("before") or ""),
        token=str(item.get("token") or ""),
        whose=None if whose is None else str(whose),
        explanation=None if explanation is None else str(explanation),
        value=value,
        measure="cosine" if fve is None else "FVE",
        verdict=said,
        grade=grade(name, value),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(
    number: int, item: Mapping[str, Any], found: Mapping[tuple[Any, ...], TokenReading]
) -> ReadText:
    words, prompt, author = (item.get(name) for name in ("words", "prompt", "author"))
    words = words if isinstance(words, str) else ""
    placed: list[TokenReading] = []
    least = 0
    for reading in sorted(found.values(), key=lambda one: one.position):
        place = _place(words, reading, least, prompt=prompt if isinstance(prompt, str) else "")
        if place is not None:
            least = place[0]
            reading = replace(reading, start=place[0], end=place[1])
        placed.append(reading)
    return ReadText(
        number=number,
        author=author if isinstance(author, str) else None,
        prompt=prompt if isinstance(prompt, str) else None,
        words=words,
        readings=tuple(placed),
    )


def _place(words: str, reading: TokenReading, least: int, *, prompt: str) -> tuple[int, int] | None:
    """Return where in the words a token lies, not before `least`; None when it is not there."""
    token, before = reading.token, reading.before.removeprefix(_ELLIPSIS)
    start = words.find(token, least) if token else -1
    while start >= 0:
        lead = words[:start]
        # Either the text goes back beyond what is known, or what is known begins before the text.
        if lead.endswith(before) or (len(lead) < len(before) and before.endswith(lead)):
            return start, start + len(token)
        start = words.find(token, start + 1)
    # A reply is kept without the blank that its first token may begin with.
    bare = token.lstrip()
    in_prompt = f"{before[-_TAIL:]}{token}" in prompt
    if bare and bare != token and not (least or in_prompt) and words.startswith(bare):
        return 0, len(bare)
    return None
