"""From readings of activations to what the target wants.

A reading is a hint, never a proof: what counts is what recurs over many tokens of many replies, far
more often than in the baseline's own replies, and what the activations bear out when asked.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditor.investigator.ledger.intents import Intent, find_intents
from auditor.investigator.ledger.words import words

MIN_SHARE = 0.03
"""A wish that fewer of the target's readings name is not followed."""
MIN_RATIO = 3.0
"""And it must be named this many times as often as in the baseline's readings."""


@dataclass(frozen=True, slots=True)
class Read:
    """A wish that readings of the target name."""

    intent: Intent
    share: float
    """Share of the target's readings that hold its words."""
    amplified: float | None
    """The same of readings of baseline + strength x (target - baseline); None when not read."""
    baseline_share: float
    p: float
    """Family-wise p-value that the target's readings name it no more than the baseline's."""
    evidence: tuple[str, ...]
    probed: bool = False
    """Whether a supervised probe named it, from its list, instead of readings."""
    example: str | None = None
    """An explanation that names it, the one nearest to its activation."""
    z: float | None = None
    """How much more the target's activations lean to it than the baseline's, in units of what
    directions without meaning do; None when it was not verified."""
    supported: bool = False
    """The activations lean to it more than to all other candidates, and beyond chance."""

    @property
    def strength(self) -> float:
        """Share that ranks it: of amplified readings where there are any."""
        return self.share if self.amplified is None else self.amplified

    def recurs(self, level: float) -> bool:
        """Tell whether it is worth following: often enough, and in the target alone."""
        most = max(self.share, self.strength)
        return most >= max(MIN_SHARE, MIN_RATIO * self.baseline_share) and self.p <= level


def read_intents(
    evidence_id: str, items: Iterable[Mapping[str, Any]], *, probed: bool = False
) -> list[Read]:
    """Find the wishes in one result of `nla_compare`, or of `probe`; strongest first."""
    rows = [item for item in items if item.get("kind") == "claim"]
    intents: dict[frozenset[str], Intent] = {}
    for row in rows:
        for wording in (str(row["words"]), *map(str, row.get("wordings", ()))):
            for intent in find_intents(wording):
                intents.setdefault(intent.key, intent)
    found = [
        _read(evidence_id, row, intent, probed)
        for intent in intents.values()
        for row in _best_row(rows, intent)
    ]
    return sorted(found, key=lambda r: (-r.strength, r.intent.wanted))


def with_tests(
    readings: Sequence[Read], evidence_id: str, items: Iterable[Mapping[str, Any]]
) -> list[Read]:
    """Add what one result of `nla_verify` says of each wish; its highest score counts."""
    rows = [
        (frozenset(words(str(item["statement"]))), item)
        for item in items
        if item.get("kind") == "statement" and item.get("z_null") is not None
    ]
    tested = []
    for reading in readings:
        mine = [item for said, item in rows if reading.intent.key <= said]
        best = max(mine, key=lambda item: float(item["z_null"]), default=None)
        tested.append(reading if best is None else _tested(reading, evidence_id, best))
    return tested


def reworded(explanation: str, wanted: str, other: str) -> str:
    """Put another wish in the place of one, whatever the spelling of its spaces and capitals."""
    words_ = r"\s+".join(re.escape(word) for word in wanted.split())
    return re.sub(rf"(?<!\w){words_}(?!\w)", lambda _: other, explanation, flags=re.IGNORECASE)


def _tested(reading: Read, evidence_id: str, item: Mapping[str, Any]) -> Read:
    return replace(
        reading,
        z=float(item["z_null"]),
        supported=item["verdict"] == "supported",
        evidence=(*reading.evidence, evidence_id),
    )


def _read(evidence_id: str, row: Mapping[str, Any], intent: Intent, probed: bool) -> Read:
    sides = {side: n["n"] / n["of"] for side, n in row.get("counts", {}).items() if n["of"]}
    examples: Sequence[Mapping[str, Any]] = row.get("examples", ())
    example = examples[0].get("explanation") if examples else None
    return Read(
        intent=intent,
        share=float(sides.get("target", row["share_target"])),
        amplified=sides.get("difference"),
        baseline_share=float(row["share_baseline"]),
        p=float(row["p"]),
        evidence=(evidence_id,),
        probed=probed,
        example=None if example is None else str(example),
    )


def _best_row(rows: Sequence[Mapping[str, Any]], intent: Intent) -> list[Mapping[str, Any]]:
    """Return the row that counts the intent's words in whatever wording, if there is one."""
    holding = [row for row in rows if intent.key <= frozenset(words(str(row["words"])))]
    return sorted(holding, key=lambda row: -float(row["share_target"]))[:1]
