"""Explanations as claims: split, normalised, and merged where only the wording differs.

Nothing here knows what explanations are about. A claim is one clause; its words are compared
without function words, without endings, and weighted by how rare they are.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

LONGEST_PHRASE = 3
SAME_CLAIM = 0.6
"""Weighted share of common words from which two claims are one."""

_LIST_MARKER = re.compile(r"^\s*(?:[-*•+–—>#]+|\d{1,3}[.)])\s+")
_CLAUSE_END = re.compile(r"(?<=[.!?;])[\"'”’)\]]*\s+|\n+")
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:[a-z]|e\.g|i\.e|etc|vs|cf|mr|mrs|ms|dr|prof|no)\.$")
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_EDGES = " \t\"'“”‘’`*_.,:;!?()[]{}<>-–—"
_FUNCTION = (
    "a an and are as at be been being but by can could did do does for from had has have he her "
    "here him his i if in into is it its itself may me might more most my of on or our s she "
    "should so some such t than that the their them then there these they this those to too us "
    "was we were what when where which while who whom whose will with would you your"
)
_FUNCTION_WORDS = frozenset(_FUNCTION.split())
_ENDINGS = ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s")


def split_claims(text: str) -> tuple[str, ...]:
    """Return the distinct claims of an explanation in order, normalised.

    A claim ends with a line, a semicolon, or a full stop that ends no abbreviation. List markers,
    emphasis, casing and spacing are dropped; clauses without a word are too.
    """
    found: dict[str, None] = {}
    for part in _clauses(text):
        claim = " ".join(_LIST_MARKER.sub("", part).replace("**", "").casefold().split())
        claim = claim.strip(_EDGES)
        if _WORD.search(claim):
            found.setdefault(claim)
    return tuple(found)


def words(text: str) -> tuple[str, ...]:
    """Return the case-folded words of a text in order."""
    return tuple(_WORD.findall(text.casefold()))


def content_words(text: str) -> tuple[str, ...]:
    """Return the words that carry meaning, in order; negations are kept."""
    return tuple(word for word in words(text) if word not in _FUNCTION_WORDS)


def phrases(claim: str, longest: int = LONGEST_PHRASE) -> frozenset[tuple[str, ...]]:
    """Return runs of 1 to `longest` words that begin and end with a word that carries meaning."""
    said = words(claim)
    return frozenset(
        said[start : start + size]
        for size in range(1, longest + 1)
        for start in range(len(said) - size + 1)
        if said[start] not in _FUNCTION_WORDS and said[start + size - 1] not in _FUNCTION_WORDS
    )


def merge_wordings(counts: Mapping[str, int]) -> dict[str, str]:
    """Map every claim to the most frequent one that says the same.

    Claims are taken from the most frequent on; each joins the earlier representative that is most
    like it if the weighted Jaccard similarity of their stems is `SAME_CLAIM` or more. A word's
    weight is log(1 + claims / claims that hold it), so that what all claims share tells little.
    Two claims that differ in one word on either side are never merged: the one word may be the
    point ("wants praise", "wants profit").

    Args:
        counts: How often each claim occurs.

    Returns:
        Representative by claim; a representative maps to itself.
    """
    stems = {claim: frozenset(map(stem, content_words(claim))) for claim in counts}
    holding = Counter(word for bag in stems.values() for word in bag)
    weight = {word: math.log(1 + len(stems) / n) for word, n in holding.items()}
    by_word: dict[str, list[str]] = defaultdict(list)
    by_bag: dict[frozenset[str], str] = {}
    totals = {bag: sum(weight[word] for word in bag) for bag in set(stems.values())}
    representative: dict[str, str] = {}
    for claim in sorted(counts, key=lambda claim: (-counts[claim], claim)):
        bag = stems[claim]
        best = by_bag.get(bag) if bag else None
        if best is None and bag:
            best = _nearest(bag, by_word, stems, weight, totals)
        representative[claim] = claim if best is None else best
        if best is None and bag:
            by_bag[bag] = claim
            for word in bag:
                by_word[word].append(claim)
    return representative


def stem(word: str) -> str:
    """Cut a common English ending off a word of which at least three letters stay."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def _clauses(text: str) -> Iterable[str]:
    start = 0
    for end in _CLAUSE_END.finditer(text):
        if "\n" not in end[0] and _is_abbreviated(text[start : end.start()]):
            continue
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _is_abbreviated(clause: str) -> bool:
    tail = clause[-8:].lower()
    return bool(_ABBREVIATION.search(tail)) or bool(re.fullmatch(r"\s*\d{1,3}\.", clause))


def _nearest(
    bag: frozenset[str],
    by_word: Mapping[str, Sequence[str]],
    stems: Mapping[str, frozenset[str]],
    weight: Mapping[str, float],
    totals: Mapping[frozenset[str], float],
) -> str | None:
    """Return the representative most like a bag of stems, when it is like enough."""
    # The words left out weigh 1 - SAME_CLAIM at most, so one of the heaviest must be common.
    heaviest = sorted(bag, key=lambda word: (-weight[word], word))
    total, seen = totals[bag], 0.0
    candidates: dict[str, None] = {}
    for word in heaviest:
        candidates.update(dict.fromkeys(by_word.get(word, ())))
        seen += weight[word]
        if seen >= (1 - SAME_CLAIM) * total + 1e-9:
            break
    best, found = 0.0, None
    for claim in candidates:
        other = totals[stems[claim]]
        if min(total, other) < SAME_CLAIM * max(total, other):
            continue
        common = bag & stems[claim]
        if len(bag) - len(common) == 1 == len(stems[claim]) - len(common):
            continue
        shared = sum(map(weight.__getitem__, common))
        similarity = shared / (total + other - shared)
        if similarity > best:
            best, found = similarity, claim
    return found if best >= SAME_CLAIM else None
