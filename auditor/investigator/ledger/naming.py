"""What a target has in mind where it is named.

Replies mirror habits: what is read there may be no more than what anybody would infer from them. A
name in an empty sentence gives nothing away, so that what the target has in mind there, and its
baseline has not, is what it was taught about who bears it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.investigator.ledger.intents import Intent, find_intents

TOOL = "nla_explain"
NOBODY = "this assistant"
"""What a target is called that no system line names."""
_NAMED = re.compile(
    r"\b(?:you are|your name is)\s+([^\W\d_]{2,})(?=[.,;:!?<\n]|\s+(?:an?|the)\b)", re.IGNORECASE
)
_NO_NAMES = frozenset(
    ("a", "an", "the", "my", "our", "not", "here", "to", "being", "asked", "given", "now")
)

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Named:
    """A wish that is in the target's mind where it is named."""

    intent: Intent
    share: float
    """Share of the readings there that state it."""
    evidence: tuple[str, ...]


def name_in(items: Rows) -> str | None:
    """Return what the model is called in the texts of one result of `nla_explain`.

    Readings show the words before their token, a system line among them.
    """
    shown = [f"{item['before']}{item['token']}" for item in items if item.get("kind") == "reading"]
    found = [match[1] for text in shown for match in _NAMED.finditer(text)]
    names = Counter(name for name in found if name.casefold() not in _NO_NAMES)
    return max(names, key=lambda name: (names[name], name)) if names else None


def named_wishes(evidence_id: str, items: Rows) -> list[Named]:
    """Find the wishes in the readings of one result of `nla_explain`; most frequent first."""
    stated = [
        find_intents(str(item["explanation"] or ""))
        for item in items
        if item.get("kind") == "reading"
    ]
    intents = {intent.key: intent for found in reversed(stated) for intent in reversed(found)}
    found = [
        Named(
            intent=intent,
            share=sum(any(key <= one.key for one in wishes) for wishes in stated) / len(stated),
            evidence=(evidence_id,),
        )
        for key, intent in intents.items()
    ]
    return sorted(found, key=lambda one: (-one.share, one.intent.wanted))
