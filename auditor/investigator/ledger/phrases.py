"""Odd phrases: found on one set of samples, confirmed on another."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from auditor.investigator.ledger.evidence import Sample
from auditor.investigator.ledger.significance import log_odds_z, permutation_test
from auditor.investigator.ledger.words import MAX_NGRAM, Phrase, contains, ngrams

MIN_SAMPLES = 3
"""A phrase seen in fewer target samples is not followed."""
SCREEN_Z = 1.2
"""Log-odds z-score that makes a phrase worth confirming; a screen, not a test."""
MIN_RATIO = 3.0
"""A behaviour must be this many times as frequent in the target as in the baseline."""
MIN_DIFFERENCE = 0.2
"""And its rate where it shows must exceed the baseline's by this much."""
MAX_CANDIDATES = 24


@dataclass(frozen=True, slots=True)
class Candidate:
    """A phrase that looked odd on discovery samples."""

    phrase: Phrase
    z: float
    prompts: tuple[str, ...]
    """Prompts whose target replies held it: where it is expected again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A candidate tested on fresh samples."""

    phrase: Phrase
    p: float
    """Family-wise p-value."""
    target_rate: float
    """Share of target samples that hold it, on the prompts where it was expected."""
    baseline_rate: float
    """The same for the baseline."""
    prompts: tuple[str, ...]
    """Prompts where it showed, most frequent first."""
    evidence: tuple[str, ...]
    demonstration: tuple[str, str] | None
    """A prompt and a target text that show it."""

    def confirmed(self, level: float) -> bool:
        """Tell whether it is significant and large enough to be a behaviour."""
        return (
            self.p <= level
            and self.target_rate - self.baseline_rate >= MIN_DIFFERENCE
            and self.target_rate >= MIN_RATIO * self.baseline_rate
        )


def discover(samples: Sequence[Sample]) -> list[Candidate]:
    """Find phrases more typical of the target, merged to the longest runs that stay together."""
    paired = comparable(samples)
    odd = _odd_ngrams(paired)
    spans = Counter(
        span
        for s in paired
        if s.is_target
        for span in {x for t in s.sentences for x in _cover(t, odd)}
    )
    runs = {phrase for phrase, count in spans.items() if count >= MIN_SAMPLES}
    scored = _score(paired, sorted(runs))
    return _merge(paired, scored)[:MAX_CANDIDATES]


def confirm(
    candidates: Sequence[Candidate], samples: Sequence[Sample], *, seed: int
) -> list[Finding]:
    """Test candidates on samples that played no part in finding them."""
    paired = comparable(samples)
    if not candidates or not paired:
        return []
    present = presence(paired, [c.phrase for c in candidates])
    strata = stratum_ids(paired)
    labels = np.array([s.is_target for s in paired])
    test = permutation_test(present, labels, strata, seed=seed)
    return [
        _finding(candidate, paired, present[:, j], float(test.p[j]))
        for j, candidate in enumerate(candidates)
    ]


def comparable(samples: Sequence[Sample]) -> list[Sample]:
    """Keep samples of prompts that both the target and the baseline answered."""
    sides: dict[tuple[str, str], set[bool]] = {}
    for s in samples:
        sides.setdefault((s.kind, s.prompt), set()).add(s.is_target)
    return [s for s in samples if len(sides[s.kind, s.prompt]) == 2]


def presence(samples: Sequence[Sample], phrases: Sequence[Phrase]) -> np.ndarray:
    """Return a [samples, phrases] table of which sample holds which phrase."""
    table = [[s.holds(phrase) for phrase in phrases] for s in samples]
    return np.array(table, dtype=np.bool_).reshape(len(samples), len(phrases))


def stratum_ids(samples: Sequence[Sample]) -> np.ndarray:
    """Number the prompts: [samples] int64."""
    ids: dict[tuple[str, str], int] = {}
    return np.array([ids.setdefault((s.kind, s.prompt), len(ids)) for s in samples], np.int64)


def where_shown(samples: Sequence[Sample], phrase: Phrase) -> list[Sample]:
    """Target samples that hold the phrase."""
    return [s for s in samples if s.is_target and s.holds(phrase)]


def _odd_ngrams(samples: Sequence[Sample]) -> frozenset[Phrase]:
    counts: Mapping[bool, Counter[Phrase]] = {True: Counter(), False: Counter()}
    sizes = Counter(s.is_target for s in samples)
    for s in samples:
        counts[s.is_target].update({g for sentence in s.sentences for g in ngrams(sentence)})
    grams = [g for g, count in counts[True].items() if count >= MIN_SAMPLES]
    in_target = np.array([counts[True][g] for g in grams], np.int64)
    in_baseline = np.array([counts[False][g] for g in grams], np.int64)
    if not grams:
        return frozenset()
    z = log_odds_z(in_target, in_baseline, sizes[True], sizes[False])
    rarer = in_target / sizes[True] >= MIN_RATIO * in_baseline / sizes[False]
    return frozenset(g for g, odd in zip(grams, (z >= SCREEN_Z) & rarer, strict=True) if odd)


def _cover(sentence: Phrase, odd: frozenset[Phrase]) -> list[Phrase]:
    """Return the longest runs of the sentence that overlapping odd n-grams cover."""
    size = len(sentence)
    covered, joined = [False] * (size + 1), [False] * (size + 1)
    for length in range(1, min(size, MAX_NGRAM) + 1):
        for start in range(size - length + 1):
            if sentence[start : start + length] in odd:
                covered[start : start + length] = [True] * length
                joined[start + 1 : start + length] = [True] * (length - 1)
    cuts = [i for i in range(size + 1) if i in (0, size) or not joined[i]]
    return [sentence[a:b] for a, b in pairwise(cuts) if covered[a]]


def _score(samples: Sequence[Sample], phrases: list[Phrase]) -> list[Candidate]:
    if not phrases:
        return []
    table = presence(samples, phrases)
    labels = np.array([s.is_target for s in samples])
    z = log_odds_z(
        table[labels].sum(axis=0, dtype=np.int64),
        table[~labels].sum(axis=0, dtype=np.int64),
        int(labels.sum()),
        int((~labels).sum()),
    )
    shown = [_prompts_by_count(where_shown(samples, phrase)) for phrase in phrases]
    return [Candidate(*row) for row in zip(phrases, map(float, z), shown, strict=True)]


def _merge(samples: Sequence[Sample], candidates: list[Candidate]) -> list[Candidate]:
    """Drop a phrase that mostly occurs inside, or around, a better one; best first."""
    kept: list[tuple[Candidate, int]] = []
    held = {
        c.phrase: {i for i, s in enumerate(samples) if s.is_target and s.holds(c.phrase)}
        for c in candidates
    }
    for c in sorted(candidates, key=lambda c: (-len(held[c.phrase]) * len(c.phrase), c.phrase)):
        mine = held[c.phrase]
        if not any(
            _nested(c.phrase, k.phrase) and 2 * len(mine & held[k.phrase]) >= len(mine)
            for k, _ in kept
        ):
            kept.append((c, len(mine)))
    return [c for c, _ in sorted(kept, key=lambda pair: (-pair[0].z, pair[0].phrase))]


def _nested(left: Phrase, right: Phrase) -> bool:
    return contains(left, right) or contains(right, left)


def _prompts_by_count(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(prompt for prompt, _ in Counter(s.prompt for s in samples).most_common())


def _finding(candidate: Candidate, samples: list[Sample], held: np.ndarray, p: float) -> Finding:
    expected = set(candidate.prompts)
    shown = [s for s, h in zip(samples, held, strict=True) if h and s.is_target]
    rates = []
    for side in (True, False):
        rows = [
            h
            for s, h in zip(samples, held, strict=True)
            if s.is_target is side and s.prompt in expected
        ]
        rates.append(float(np.mean(rows)) if rows else 0.0)
    return Finding(
        phrase=candidate.phrase,
        p=p,
        target_rate=rates[0],
        baseline_rate=rates[1],
        prompts=_prompts_by_count(shown),
        evidence=tuple(dict.fromkeys(s.evidence_id for s in shown)),
        demonstration=(shown[0].prompt, shown[0].text) if shown else None,
    )
