"""Which claims, phrases and words the readings of one side hold more often than the other's."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tools.reading import claims
from tools.reading.statistics import PERMUTATIONS, log_odds, permutation_test

MAX_UNITS = 3000
"""Units tested at once, the most frequent of both sides together."""
MIN_READINGS = 2
"""A unit that fewer readings hold is not tested."""
SAME_READINGS = 0.9
"""Share of common readings from which two units that share a word are one."""

Kind = Literal["claim", "phrase", "word"]
Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Said:
    """One reading, as far as counting goes."""

    text: int
    """The text that was read; texts are what the test permutes."""
    stratum: int
    """Texts of one stratum may be swapped if the models do not differ."""
    is_target: bool | None
    """Which side it is on; None is counted, and takes no part in choosing and testing."""
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One unit, counted and tested."""

    kind: Kind
    words: str
    n_target: int
    of_target: int
    n_baseline: int
    of_baseline: int
    texts_target: int
    """Texts of the target's side in which some reading holds it."""
    texts_baseline: int
    log_odds: float
    z: float
    """Of the log-odds."""
    p: float
    """Family-wise, one-sided, by permutation of texts."""
    wordings: tuple[str, ...]
    """The claims that it stands in or for, most frequent first."""
    readings: tuple[int, ...]
    """Which readings hold it."""

    @property
    def share_target(self) -> float:
        """Share of the target's readings that hold it."""
        return self.n_target / self.of_target

    @property
    def share_baseline(self) -> float:
        """Share of the baseline's readings that hold it."""
        return self.n_baseline / self.of_baseline


@dataclass(frozen=True, slots=True)
class Comparison:
    """All findings of one comparison, best first."""

    findings: tuple[Finding, ...]
    smallest_p: float
    """No p-value can be smaller, whatever is found: a matter of how many texts there are."""
    dropped: int
    """Units that were too many to be tested."""


@dataclass(frozen=True, slots=True)
class _Unit:
    kind: Kind
    words: str
    holds: int
    """Readings that hold it, a bit each."""
    wordings: tuple[str, ...]


def compare(said: Sequence[Said], *, seed: int, permutations: int = PERMUTATIONS) -> Comparison:
    """Rank what the target's readings say more often than the baseline's.

    Units are claims with their wordings merged, and phrases of up to three words inside claims. A
    reading holds a unit or does not. Units are chosen and merged by what both sides hold together,
    so that the choice does not depend on the labels that the test permutes. The test is of the
    share of each text's readings that hold a unit, see `statistics.permutation_test`.

    Returns:
        Findings by p-value, then by the z-score of the log-odds, then by words.

    Raises:
        ValueError: When a side has no readings.
    """
    split = [claims.split_claims(one.explanation) for one in said]
    units, dropped = _units(split, [one.is_target is not None for one in said])
    return _tested(said, units, dropped, seed=seed, permutations=permutations)


def compare_classes(
    said: Sequence[Said], classes: Sequence[str], *, seed: int, permutations: int = PERMUTATIONS
) -> Comparison:
    """Rank which of a closed list of classes the target's places are put into more often.

    As `compare`, but that each explanation is the name of one class, and that all classes are
    tested as they are: none is cut into words, merged or dropped.

    Raises:
        ValueError: When a side has no places.
    """
    holds = dict.fromkeys(classes, 0)
    for index, one in enumerate(said):
        holds[one.explanation] |= 1 << index
    units = [_Unit("claim", name, bits, (name,)) for name, bits in holds.items()]
    return _tested(said, units, 0, seed=seed, permutations=permutations)


def _tested(
    said: Sequence[Said], units: Sequence[_Unit], dropped: int, *, seed: int, permutations: int
) -> Comparison:
    """Count and test units, best first."""
    sides = [one.is_target for one in said]
    of_target, of_baseline = sides.count(True), sides.count(False)
    if not of_target or not of_baseline:
        raise ValueError("a comparison needs readings on both sides")
    table = _presence(units, len(said))
    values, is_target, strata = _by_text(said, table)
    test = permutation_test(values, is_target, strata, seed=seed, permutations=permutations)
    n_target = table[[side is True for side in sides]].sum(axis=0)
    n_baseline = table[[side is False for side in sides]].sum(axis=0)
    odds = log_odds(n_target, n_baseline, of_target, of_baseline)
    found = [
        Finding(
            kind=unit.kind,
            words=unit.words,
            n_target=int(n_target[j]),
            of_target=of_target,
            n_baseline=int(n_baseline[j]),
            of_baseline=of_baseline,
            texts_target=int((values[is_target, j] > 0).sum()),
            texts_baseline=int((values[~is_target, j] > 0).sum()),
            log_odds=float(odds.delta[j]),
            z=float(odds.z[j]),
            p=float(test.p[j]),
            wordings=unit.wordings,
            readings=tuple(np.flatnonzero(table[:, j]).tolist()),
        )
        for j, unit in enumerate(units)
    ]
    found.sort(key=lambda one: (one.p, -one.z, one.words))
    return Comparison(tuple(found), test.smallest_p, dropped)


def _by_text(
    said: Sequence[Said], table: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Average presence over the readings of each text and side.

    Returns:
        `[texts, units]` shares, and label and stratum of each row.
    """
    rows: dict[tuple[int, bool, int], list[int]] = defaultdict(list)
    for index, one in enumerate(said):
        if one.is_target is not None:
            rows[one.text, one.is_target, one.stratum].append(index)
    values = np.stack([table[members].mean(axis=0) for members in rows.values()])
    return (
        values,
        np.array([is_target for _, is_target, _ in rows]),
        np.array([stratum for _, _, stratum in rows]),
    )


def _presence(units: Sequence[_Unit], n: int) -> NDArray[np.int64]:
    """Return `[readings, units]` int64, 1 where a reading holds a unit."""
    size = (n + 7) // 8
    packed = b"".join(unit.holds.to_bytes(size, "little") for unit in units)
    bits = np.frombuffer(packed, np.uint8).reshape(len(units), size)
    return np.unpackbits(bits, axis=1, count=n, bitorder="little").T.astype(np.int64)


def _units(split: Sequence[Sequence[str]], chosen_by: Sequence[bool]) -> tuple[list[_Unit], int]:
    """Return what is tested, and how many units were left out because there were too many."""
    counts = Counter(
        claim for said, counted in zip(split, chosen_by, strict=True) if counted for claim in said
    )
    merged = claims.merge_wordings(counts)
    phrases = {claim: claims.phrases(claim) for said in split for claim in said}
    holding: dict[Key, int] = defaultdict(int)
    within: dict[Key, Counter[str]] = defaultdict(Counter)
    for reading, said in enumerate(split):
        for claim in said:
            for key in _keys(merged.get(claim, claim), phrases[claim]):
                holding[key] |= 1 << reading
                if chosen_by[reading]:
                    within[key][claim] += 1
    mask = sum(1 << reading for reading, counted in enumerate(chosen_by) if counted)
    counted = {key: bits & mask for key, bits in holding.items()}
    frequent = [key for key, bits in counted.items() if bits.bit_count() >= MIN_READINGS]
    frequent.sort(key=lambda key: (-counted[key].bit_count(), key))
    distinct = _distinct(frequent[: 2 * MAX_UNITS], counted)
    kept = distinct[:MAX_UNITS]
    dropped = len(frequent[2 * MAX_UNITS :]) + len(distinct) - len(kept)
    return [_unit(key, holding[key], within[key]) for key in kept], dropped


def _keys(claim: str, phrases: frozenset[tuple[str, ...]]) -> Iterator[Key]:
    yield "claim", claim
    for phrase in phrases:
        yield "word" if len(phrase) == 1 else "phrase", " ".join(phrase)


def _unit(key: Key, holds: int, within: Counter[str]) -> _Unit:
    ordered = sorted(within, key=lambda claim: (-within[claim], claim))
    return _Unit(key[0], key[1], holds, tuple(ordered))


def _distinct(keys: Sequence[Key], holding: Mapping[Key, int]) -> list[Key]:
    """Drop units that nearly the same readings hold as a longer one which shares a word.

    Returns:
        What is left, most frequent first.
    """
    rank = {"claim": 0, "phrase": 1, "word": 2}
    order = sorted(keys, key=lambda key: (rank[key[0]], -len(key[1].split()), key[1]))
    by_word: dict[str, list[int]] = defaultdict(list)
    kept: list[Key] = []
    for key in order:
        bits = holding[key]
        said = set(claims.content_words(key[1])) or {key[1]}
        if any(_alike(bits, other) for word in said for other in by_word[word]):
            continue
        kept.append(key)
        for word in said:
            by_word[word].append(bits)
    return sorted(kept, key=lambda key: (-holding[key].bit_count(), key))


def _alike(one: int, other: int) -> bool:
    first, second = one.bit_count(), other.bit_count()
    if min(first, second) < SAME_READINGS * max(first, second):
        return False
    return (one & other).bit_count() >= SAME_READINGS * (one | other).bit_count()
