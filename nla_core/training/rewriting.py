"""Ways to say an explanation otherwise by rule, for pairs that no grader knows the wording of.

A private code between verbalizer and reconstructor would show in what these keep and change: the
order of sentences, the second half, capitals and punctuation, the order of words. Paraphrase,
translation and a coherent rewrite need a language model, or a grader that knows the wording.
"""

import re
from collections.abc import Callable, Mapping
from random import Random

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def sentences(text: str) -> list[str]:
    """Return the sentences and lines of a text, stripped."""
    return [found for part in _SENTENCE.findall(text) if (found := part.strip())]


def shuffle_sentences(text: str, seed: int) -> str:
    """Put the sentences into another order, if there is one."""
    found = sentences(text)
    order = list(range(len(found)))
    if len(found) < 2:
        return text
    rng = Random(seed)
    while order == sorted(order):
        rng.shuffle(order)
    return " ".join(found[i] for i in order)


def keep_first_half(text: str, seed: int) -> str:
    """Keep the first half of the sentences, where the most important is said; of one, the words."""
    del seed
    found = sentences(text)
    if len(found) > 1:
        return " ".join(found[: (len(found) + 1) // 2])
    words = text.split()
    return " ".join(words[: (len(words) + 1) // 2])


def plain_words(text: str, seed: int) -> str:
    """Keep words only: no capitals, no punctuation, no layout."""
    del seed
    return " ".join(_WORD.findall(text.lower()))


def shuffle_words(text: str, seed: int) -> str:
    """Put the words of each sentence into another order; what remains is a bag of words."""
    rng = Random(seed)
    shuffled = []
    for sentence in sentences(text):
        words = sentence.split()
        rng.shuffle(words)
        shuffled.append(" ".join(words))
    return " ".join(shuffled)


REWRITES: Mapping[str, Callable[[str, int], str]] = {
    "sentence_shuffle": shuffle_sentences,
    "first_half": keep_first_half,
    "plain_words": plain_words,
    "word_shuffle": shuffle_words,
}
