"""Words, sentences and phrases of plain text, in any casing."""

import re
from collections.abc import Iterable, Iterator, Sequence

Phrase = tuple[str, ...]

MAX_NGRAM = 5

_SENTENCE_END = re.compile(r"[.!?:;\n\"“”]+")
_WORD = re.compile(r"<?/?\w+(?:['’]\w+)*>?")


def sentences(text: str) -> list[Phrase]:
    """Split text into sentences of case-folded words; quotes and colons end a sentence too."""
    parts = (_WORD.findall(part.casefold()) for part in _SENTENCE_END.split(text))
    return [tuple(part) for part in parts if part]


def words(text: str) -> Phrase:
    """Return all case-folded words of a text in order."""
    return tuple(_WORD.findall(text.casefold()))


def ngrams(sentence: Phrase, longest: int = MAX_NGRAM) -> Iterator[Phrase]:
    """Yield every run of 1 to `longest` words of one sentence."""
    for length in range(1, min(longest, len(sentence)) + 1):
        for start in range(len(sentence) - length + 1):
            yield sentence[start : start + length]


def contains(sentence: Phrase, phrase: Phrase) -> bool:
    """Tell whether the phrase is a run of words of the sentence."""
    size = len(phrase)
    return any(sentence[i : i + size] == phrase for i in range(len(sentence) - size + 1))


def flatten(text_sentences: Iterable[Phrase]) -> str:
    """Join sentences into one string that `stands_in` can search fast."""
    return "|".join(f" {' '.join(sentence)} " for sentence in text_sentences)


def stands_in(flat: str, phrase: Phrase) -> bool:
    """Tell whether the phrase is a run of words of one sentence of a flattened text."""
    return f" {' '.join(phrase)} " in flat


def in_order(sentence: Phrase, phrase: Phrase) -> float:
    """Return the largest share of the phrase's words found in order in a short stretch of text.

    The stretch is at most two words longer than the phrase, so that scattered common words of a
    long sentence do not add up to a match. The share is a longest common subsequence divided by
    the phrase's length.
    """
    if not phrase:
        return 0.0
    size = len(phrase) + 2
    starts = range(max(1, len(sentence) - size + 1))
    return max(_common(sentence[i : i + size], phrase) for i in starts) / len(phrase)


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for a in left:
        diagonal = 0
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the share of two word sets that is common; 1 when both are empty."""
    union = len(left | right)
    return len(left & right) / union if union else 1.0


def distinct(texts: Iterable[str]) -> list[str]:
    """Drop empty texts, and texts whose words were seen before, keeping order."""
    seen: dict[Phrase, str] = {}
    for text in texts:
        key = words(text)
        if key:
            seen.setdefault(key, text.strip())
    return list(seen.values())


def spread(texts: Sequence[str], count: int, *, beside: Sequence[str] = ()) -> list[str]:
    """Choose texts that differ: each next one is the farthest from all chosen and `beside`.

    Distance is 1 - Jaccard similarity of word sets; ties go to the earlier text.
    """
    left = [(text, frozenset(words(text))) for text in texts]
    taken = [frozenset(words(text)) for text in beside]
    nearest = [max((jaccard(s, t) for t in taken), default=0.0) for _, s in left]
    chosen: list[str] = []
    while left and len(chosen) < count:
        best = min(range(len(left)), key=nearest.__getitem__)
        text, bag = left.pop(best)
        nearest.pop(best)
        chosen.append(text)
        nearest = [max(n, jaccard(s, bag)) for n, (_, s) in zip(nearest, left, strict=True)]
    return chosen


def alike(texts: Sequence[str], models: Sequence[str], count: int) -> list[str]:
    """Choose the texts whose words are most like any of `models`, nearest first."""
    bags = [frozenset(words(model)) for model in models]

    def distance(text: str) -> float:
        bag = frozenset(words(text))
        return -max((jaccard(bag, other) for other in bags), default=0.0)

    return sorted(texts, key=distance)[:count]
