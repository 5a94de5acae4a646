"""The second-level auditor: the reports of several independent trials become one submission.

It sees what the reports say and nothing else.

1. Each report's motive guesses, the withheld one included, become beliefs: the first guess has the
   report's confidence, the others theirs in proportion, all together at most 1.
2. Guesses that name the same wish in other words are merged, across all reports.
3. The belief in a wish is pooled over all reports; one that does not name it counts as 0 (Genest &
   Zidek 1986, Statistical Science 1:114-135): linearly, by the mean of the probabilities, or
   logarithmically, by the mean of their log-odds.
4. A motive is claimed when the strongest pooled belief reaches a threshold, or, without one, when
   more than half of the reports claim a motive. Otherwise the best guess is withheld.
5. Behaviours that at least two reports describe are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, fsum, log
from typing import Literal

from auditor.investigator.ledger.hypotheses import MAX_MOTIVES
from auditor.investigator.ledger.intents import find_intents, merge_keys
from auditor.investigator.ledger.words import words
from auditor.records import MAX_HYPOTHESES, Hypothesis, Submission

Pool = Literal["linear", "logarithmic"]

LOG_FLOOR = 0.01
"""Least probability, and least distance from 1, in the logarithmic pool, where one zero would
otherwise veto whatever all others believe."""
MIN_RECURRENCE = 2
"""Reports that must describe a behaviour, where there are so many."""

_Key = frozenset[str]
_Wish = frozenset[_Key]


@dataclass(frozen=True, slots=True)
class Guess:
    """One wish that one report ascribes to the target."""

    hypothesis: Hypothesis
    belief: float
    """Probability that the report gives to it."""
    rank: int
    """0-based, among the report's motive guesses."""
    keys: _Wish
    """Content words of each wish that the statement names; all of it when it names none."""


@dataclass(frozen=True, slots=True)
class Report:
    """A submission, read for what it says of motives and behaviours."""

    label: int
    """Number of the trial."""
    claims: bool
    """Whether it claims a motive."""
    guesses: tuple[Guess, ...]
    """Best first; beliefs never rise, and sum to at most 1."""
    behaviours: tuple[Hypothesis, ...]


@dataclass(frozen=True, slots=True)
class Pooled:
    """A wish or behaviour after pooling."""

    belief: float
    """The pooled probability."""
    said: Mapping[int, Sequence[tuple[Hypothesis, float]]]
    """For each trial that names it the wordings, and the belief in each; ascending."""

    @property
    def labels(self) -> tuple[int, ...]:
        """Trials whose reports name it, ascending."""
        return tuple(self.said)

    @property
    def hypothesis(self) -> Hypothesis:
        """It in the wording that is believed most, with the evidence of all who name it.

        Its confidence is the pooled belief, not rounded.
        """
        pairs = [pair for some in self.said.values() for pair in some]
        credit: dict[str, float] = {}
        for hypothesis, belief in pairs:
            credit[hypothesis.statement] = credit.get(hypothesis.statement, 0.0) + belief
        spoken = min(
            (hypothesis for hypothesis, _ in pairs),
            key=lambda h: (-credit[h.statement], len(h.statement), h.statement),
        )
        evidence = dict.fromkeys(each for hypothesis, _ in pairs for each in hypothesis.evidence)
        update = {"confidence": self.belief, "evidence": tuple(evidence)}
        return spoken.model_copy(update=update)


@dataclass(frozen=True, slots=True)
class Pooling:
    """What several reports say together."""

    wishes: tuple[Pooled, ...]
    """Strongest belief first."""
    reports: tuple[Report, ...]

    @property
    def behaviours(self) -> tuple[Pooled, ...]:
        """Behaviours that recur, surest first."""
        return tuple(_pool_behaviours(self.reports))

    @property
    def belief(self) -> float:
        """Pooled belief in the best guess; 0 when no report has a guess."""
        return self.wishes[0].belief if self.wishes else 0.0

    @property
    def claims(self) -> int:
        """Reports that claim a motive."""
        return sum(report.claims for report in self.reports)

    @property
    def majority(self) -> bool:
        """Whether more than half of the reports claim a motive; a tie claims none."""
        return 2 * self.claims > len(self.reports)

    def accuses(self, threshold: float | None) -> bool:
        """Whether a motive is claimed at a threshold, or by majority when it is None."""
        if threshold is None:
            return self.majority
        return bool(self.wishes) and self.belief >= threshold


def aggregate(
    reports: Sequence[Submission],
    *,
    threshold: float | None,
    pool: Pool = "linear",
    labels: Sequence[int] | None = None,
) -> Submission:
    """Turn the reports of independent trials of one target into one submission.

    Args:
        reports: What the trials handed in, in any order.
        threshold: Least pooled belief at which a motive is claimed; None follows the majority of
            the verdicts.
        pool: How beliefs are pooled.
        labels: Trial number of each report, which prefixes its evidence ids ("3:E5"); positions
            when not given. With labels, the order of the reports changes nothing.

    Returns:
        One submission. Its confidence is the pooled belief in the best guess, claimed or withheld.

    Raises:
        ValueError: When there is no report, or labels do not fit the reports.
    """
    return submission_of(pool_reports(read_reports(reports, labels), pool=pool), threshold)


def read_reports(
    reports: Sequence[Submission], labels: Sequence[int] | None = None
) -> list[Report]:
    """Read submissions, and put trial numbers before their evidence ids.

    Raises:
        ValueError: When there is no report, or labels do not fit the reports.
    """
    numbers = list(range(len(reports))) if labels is None else list(labels)
    if not reports:
        raise ValueError("there is no report to aggregate")
    if len(numbers) != len(reports) or len(set(numbers)) != len(numbers):
        raise ValueError("give each report one label of its own")
    return [_read(report, label) for report, label in zip(reports, numbers, strict=True)]


def pool_reports(reports: Sequence[Report], *, pool: Pool = "linear") -> Pooling:
    """Pool what the reports believe of each wish.

    Args:
        reports: Reports of different trials, in any order.
        pool: How beliefs are pooled.

    Raises:
        ValueError: When there is no report.
    """
    if not reports:
        raise ValueError("there is no report to aggregate")
    ordered = tuple(sorted(reports, key=lambda report: report.label))
    combine = linear_pool if pool == "linear" else logarithmic_pool
    return Pooling(wishes=tuple(_pool_wishes(ordered, combine)), reports=ordered)


def submission_of(pooling: Pooling, threshold: float | None) -> Submission:
    """Hand in what was pooled; see `aggregate` for the threshold."""
    behaviours = [_rounded(each) for each in pooling.behaviours]
    confidence = round(pooling.belief, 3)
    reason = _reason(pooling, threshold)
    if pooling.accuses(threshold):
        motives = [_rounded(each) for each in pooling.wishes[:MAX_MOTIVES]]
        kept = tuple([*motives, *behaviours][:MAX_HYPOTHESES])
        return Submission(verdict="motive", hypotheses=kept, reason=reason, confidence=confidence)
    return Submission(
        verdict="none",
        hypotheses=tuple(behaviours[:MAX_HYPOTHESES]),
        reason=reason,
        confidence=confidence,
        withheld=_rounded(pooling.wishes[0]) if pooling.wishes else None,
    )


def linear_pool(beliefs: Sequence[float]) -> float:
    """Mean of probabilities, in [0, 1] (the linear opinion pool with equal weights)."""
    if min(beliefs) == max(beliefs):
        return beliefs[0]
    return min(max(fsum(beliefs) / len(beliefs), min(beliefs)), max(beliefs))


def logarithmic_pool(beliefs: Sequence[float]) -> float:
    """Inverse logit of the mean log-odds, in [0, 1] (the logarithmic pool with equal weights).

    Of the event and its complement this is the normalised geometric mean. Probabilities are moved
    to at least `LOG_FLOOR` and at most 1 - `LOG_FLOOR` first, unless all are equal.
    """
    if min(beliefs) == max(beliefs):
        return beliefs[0]
    held = [min(max(p, LOG_FLOOR), 1 - LOG_FLOOR) for p in beliefs]
    mean = fsum(log(p / (1 - p)) for p in held) / len(held)
    return min(max(1 / (1 + exp(-mean)), min(beliefs)), max(beliefs))


def _read(submission: Submission, label: int) -> Report:
    claims = submission.verdict == "motive"
    motives = [h for h in submission.hypotheses if h.kind == "motive"]
    if submission.withheld is not None:
        motives = [*motives, submission.withheld] if claims else [submission.withheld, *motives]
    beliefs = _beliefs(motives, _confidence(submission, motives))
    return Report(
        label=label,
        claims=claims,
        guesses=tuple(
            Guess(_from_trial(h, label), belief, rank, _keys(h.statement))
            for rank, (h, belief) in enumerate(zip(motives, beliefs, strict=True))
        ),
        behaviours=tuple(
            _from_trial(h, label) for h in submission.hypotheses if h.kind == "behaviour"
        ),
    )


def _confidence(submission: Submission, motives: Sequence[Hypothesis]) -> float:
    """Probability of the best guess; a claim without any number is taken at its word."""
    if submission.confidence is not None:
        return submission.confidence
    if submission.verdict == "none" or not motives:
        return 0.0
    given = motives[0].confidence
    return 1.0 if given is None else given


def _beliefs(motives: Sequence[Hypothesis], best: float) -> list[float]:
    """Belief in each guess: `best` for the first, and the report's own odds for the others."""
    if not motives:
        return []
    first = motives[0].confidence
    others: list[float] = []
    for hypothesis in motives[1:]:
        share = min(1.0, (hypothesis.confidence or 0.0) / first) if first else 0.0
        # The ranking is the report's word too: no guess is believed more than those above it.
        others.append(min(best * share, others[-1] if others else best))
    excess = fsum(others) / (1 - best) if best < 1 else 0.0
    if best == 1:
        others = [0.0] * len(others)
    elif excess > 1:
        others = [belief / excess for belief in others]
    return [best, *others]


def _from_trial(hypothesis: Hypothesis, label: int) -> Hypothesis:
    evidence = tuple(f"{label}:{each}" for each in hypothesis.evidence)
    return hypothesis.model_copy(update={"evidence": evidence})


@lru_cache(maxsize=8192)
def _keys(statement: str) -> _Wish:
    # A statement without a wish is one long word: a denied wish must not merge with the wish.
    whole = frozenset({" ".join(words(statement))})
    return frozenset(intent.key for intent in find_intents(statement)) or frozenset({whole})


def _pool_wishes(
    reports: Sequence[Report], pool: Callable[[Sequence[float]], float]
) -> list[Pooled]:
    merged = merge_keys(key for report in reports for g in report.guesses for key in g.keys)
    named: dict[_Wish, dict[int, list[Guess]]] = {}
    for report in reports:
        for guess in report.guesses:
            # A statement that names several wishes at once stays apart from those that name one.
            wish = frozenset(merged[key] for key in guess.keys)
            named.setdefault(wish, {}).setdefault(report.label, []).append(guess)
    ranked = []
    for wish, by_label in named.items():
        absent = len(reports) - len(by_label)
        best = [max(guess.belief for guess in guesses) for guesses in by_label.values()]
        belief = pool([*best, *[0.0] * absent])
        ranks = sum(min(guess.rank for guess in guesses) for guesses in by_label.values())
        order = (-belief, ranks + absent * MAX_HYPOTHESES, sorted(map(sorted, wish)))
        said = {n: [(g.hypothesis, g.belief) for g in some] for n, some in by_label.items()}
        ranked.append((order, Pooled(belief, said)))
    return [wish for _, wish in sorted(ranked, key=lambda pair: pair[0])]


def _pool_behaviours(reports: Sequence[Report]) -> list[Pooled]:
    keys = {h.statement: _behaviour_key(h.statement) for r in reports for h in r.behaviours}
    merged = merge_keys(keys.values())
    named: dict[_Key, dict[int, list[tuple[Hypothesis, float]]]] = {}
    for report in reports:
        for hypothesis in report.behaviours:
            said = named.setdefault(merged[keys[hypothesis.statement]], {})
            pair = (hypothesis, hypothesis.confidence or 0.0)
            said.setdefault(report.label, []).append(pair)
    ranked = []
    for key, said in named.items():
        if len(said) >= min(MIN_RECURRENCE, len(reports)):
            best = [max(belief for _, belief in pairs) for pairs in said.values()]
            belief = linear_pool([*best, *[0.0] * (len(reports) - len(best))])
            ranked.append(((-belief, sorted(key)), Pooled(belief, said)))
    return [behaviour for _, behaviour in sorted(ranked, key=lambda pair: pair[0])]


def _behaviour_key(statement: str) -> _Key:
    """Words of what the statement quotes, or else of all of it less what is in brackets."""
    quoted = statement.split('"')[1::2]
    return frozenset(words(" ".join(quoted) if quoted else statement.partition("(")[0]))


def _rounded(pooled: Pooled) -> Hypothesis:
    return pooled.hypothesis.model_copy(update={"confidence": round(pooled.belief, 3)})


def _reason(pooling: Pooling, threshold: float | None) -> str:
    total = len(pooling.reports)
    if pooling.wishes:
        n = len(pooling.wishes[0].labels)
        found = (
            f"{n} of {total} reports {'names' if n == 1 else 'name'} the best guess, with a "
            f"pooled belief of {pooling.belief:.2f}"
        )
    elif total == 1:
        found = "The only report names no motive"
    else:
        found = f"None of the {total} reports names a motive"
    if threshold is None:
        share = "more than" if pooling.majority else "not more than"
        return f"{found}; {share} half of them claim a motive ({pooling.claims})."
    if not pooling.wishes:
        return f"{found}."
    reached = "reaches" if pooling.accuses(threshold) else "stays below"
    return f"{found}, which {reached} the threshold of {threshold:.2f}."
