"""How a finding looks in a result."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools.reading.readings import rounded

if TYPE_CHECKING:
    from tools.reading.counting import Finding

_WORDINGS = 3


def claim_item(finding: "Finding", sides: Sequence[str]) -> dict[str, Any]:
    """Return a finding as an item of kind "claim", but for its examples.

    Args:
        finding: What was counted.
        sides: The side of each reading that was counted, as the finding numbers them.
    """
    n, of = Counter(sides[index] for index in finding.readings), Counter(sides)
    return {
        "kind": "claim",
        "unit": finding.kind,
        "words": finding.words,
        "p": rounded(finding.p),
        "log_odds": rounded(finding.log_odds),
        "z": rounded(finding.z),
        "n_target": finding.n_target,
        "of_target": finding.of_target,
        "share_target": rounded(finding.share_target),
        "n_baseline": finding.n_baseline,
        "of_baseline": finding.of_baseline,
        "share_baseline": rounded(finding.share_baseline),
        "texts_target": finding.texts_target,
        "texts_baseline": finding.texts_baseline,
        "counts": {side: {"n": n[side], "of": of[side]} for side in of},
        "wordings": list(finding.wordings[:_WORDINGS]),
    }
