"""Groups of texts that share words, and texts that share few words with any other.

Texts are TF-IDF vectors of unit length. Groups are found by spherical k-means (Dhillon and Modha
2001) from starting points that lie far apart, so that the same texts give the same groups.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
MIN_TEXTS = 6
"""Fewer texts are looked at one by one."""
MAX_CLUSTERS = 8
_ROUNDS = 30
_WORDS = 6
_RARE = 5
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Texts that share words."""

    members: tuple[int, ...]
    """Indices of its texts, the most typical first."""
    words: tuple[str, ...]
    """The words that weigh most in it."""


@dataclass(frozen=True, slots=True)
class Rare:
    """A text that shares few words with any other."""

    index: int
    similarity: float
    """Cosine to the text that is most like it."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """What a set of texts falls into."""

    clusters: tuple[Cluster, ...]
    """Largest first."""
    rare: tuple[Rare, ...]
    """Least like any other first."""


def group(texts: Sequence[str]) -> Grouped:
    """Group texts; those without a word are left out.

    Returns:
        No clusters and no rare texts where there are fewer than `MIN_TEXTS` with words.
    """
    words = [_WORD.findall(text.lower()) for text in texts]
    places = [index for index, found in enumerate(words) if found]
    if len(places) < MIN_TEXTS:
        return Grouped((), ())
    vectors, vocabulary = _tf_idf([words[index] for index in places])
    k = min(MAX_CLUSTERS, max(2, round(math.sqrt(len(places) / 2))))
    labels, centres = _k_means(vectors, k)
    clusters = []
    for label in range(len(centres)):
        inside = np.flatnonzero(labels == label)
        if not len(inside):
            continue
        typical = inside[np.argsort(-(vectors[inside] @ centres[label]), kind="stable")]
        heavy = np.argsort(-centres[label], kind="stable")[:_WORDS]
        clusters.append(
            Cluster(
                members=tuple(places[i] for i in typical.tolist()),
                words=tuple(vocabulary[j] for j in heavy.tolist() if centres[label, j] > 0),
            )
        )
    clusters.sort(key=lambda one: (-len(one.members), one.members))
    return Grouped(tuple(clusters), _rare(vectors, places))


def _tf_idf(words: Sequence[Sequence[str]]) -> tuple[Matrix, list[str]]:
    """Return `[text, word]` rows of unit length, and the words, sorted.

    Weights are (1 + ln count) * (1 + ln(n / texts that hold the word)).
    """
    vocabulary = sorted({word for text in words for word in text})
    column = {word: j for j, word in enumerate(vocabulary)}
    table: Matrix = np.zeros((len(words), len(vocabulary)))
    for row, text in enumerate(words):
        for word, count in Counter(text).items():
            table[row, column[word]] = 1 + math.log(count)
    held = (table > 0).sum(axis=0)
    table *= 1 + np.log(len(words) / held)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table, vocabulary


def _k_means(vectors: Matrix, k: int) -> tuple[NDArray[np.int64], Matrix]:
    centres = vectors[_starts(vectors, k)].copy()
    labels: NDArray[np.int64] = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        new = (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(new, labels):
            break
        labels = new
        for label in range(len(centres)):
            inside = vectors[labels == label]
            if len(inside):
                mean = inside.mean(axis=0)
                centres[label] = mean / np.linalg.norm(mean)
    return labels, centres


def _starts(vectors: Matrix, k: int) -> list[int]:
    """Choose the text nearest the mean, then each time the one that is least like those chosen."""
    chosen = [int((vectors @ vectors.mean(axis=0)).argmax())]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < k and nearest.min() < 1 - 1e-9:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


def _rare(vectors: Matrix, places: Sequence[int]) -> tuple[Rare, ...]:
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1.0)
    best: Any = likeness.max(axis=1)
    order = np.argsort(best, kind="stable")[:_RARE]
    return tuple(Rare(places[i], max(0.0, float(best[i]))) for i in order.tolist())
