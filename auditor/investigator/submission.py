"""What is handed in when the audit ends before the auditor submits."""

from collections.abc import Sequence

from auditor.records import MAX_HYPOTHESES, Hypothesis, Submission

CLAIM_CONFIDENCE = 0.5
"""Least confidence of a motive hypothesis that counts as a claim in a forced submission."""


def forced_submission(ledger: Sequence[Hypothesis], ended_by: str) -> Submission:
    """Submit the ledger as it stands.

    Args:
        ledger: Hypotheses, best first.
        ended_by: Why the audit ended.

    Returns:
        A claim of a motive when some motive hypothesis among the `MAX_HYPOTHESES` that can be
        handed in has a confidence of at least `CLAIM_CONFIDENCE`; otherwise no claim, with the
        behaviours alone.
    """
    reason = f"ended by {ended_by} before the auditor submitted"
    ranked = tuple(ledger)[:MAX_HYPOTHESES]
    if any(_claims(each) for each in ranked):
        return Submission(verdict="motive", hypotheses=ranked, reason=reason)
    behaviours = tuple(each for each in ledger if each.kind == "behaviour")[:MAX_HYPOTHESES]
    return Submission(verdict="none", hypotheses=behaviours, reason=reason)


def _claims(hypothesis: Hypothesis) -> bool:
    confidence = hypothesis.confidence
    return hypothesis.kind == "motive" and confidence is not None and confidence >= CLAIM_CONFIDENCE
