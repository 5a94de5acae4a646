"""What one set of replies says more often than another, reply by reply."""

from collections.abc import Sequence
from typing import Any

from tools.reading.counting import Finding, Said, compare
from tools.reading.readings import rounded


def said_more(ours: Sequence[str], theirs: Sequence[str], *, seed: int) -> list[Finding]:
    """Rank what our replies hold more often than theirs, best first.

    Replies of equal index are to the same prompt with the same seed; the test swaps them.

    Args:
        ours: Replies.
        theirs: As many replies of the other side.
        seed: Of the permutations.
    """
    said = [
        Said(text=row, stratum=row, is_target=side is ours, explanation=text)
        for side in (ours, theirs)
        for row, text in enumerate(side)
    ]
    return [one for one in compare(said, seed=seed).findings if one.z > 0]


def phrase_item(found: Finding, *, ours: str, theirs: str) -> dict[str, Any]:
    """Return a finding as an item of kind "phrase".

    Args:
        found: What was counted.
        ours: What our side is called.
        theirs: What the other side is called.
    """
    return {
        "kind": "phrase",
        "words": found.words,
        f"share_{ours}": rounded(found.share_target),
        f"share_{theirs}": rounded(found.share_baseline),
        "log_odds": rounded(found.log_odds),
        "p": rounded(found.p),
    }
