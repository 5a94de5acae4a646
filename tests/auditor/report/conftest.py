"""Trials made by hand, as the statistics of the report read them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from auditor.records import Group, Hypothesis, Submission, TrialKey, TrialSummary, Verdict

Audited = Callable[..., TrialSummary]


def _audited(
    target: str,
    group: Group = "guilty",
    *,
    claims: bool = True,
    right: bool = False,
    confidence: float | None = None,
    trial: int = 0,
    truth: str | None = None,
    says: Sequence[str] = (),
    **over: Any,
) -> TrialSummary:
    """Return a scored trial; `right` is about the guess, claimed or withheld.

    `says` are the statements of its motive hypotheses.
    """
    has_motive = group in ("guilty", "symptom")
    submission = Submission(
        verdict="motive" if claims else "none",
        hypotheses=tuple(Hypothesis(statement=text, kind="motive") for text in says),
        confidence=confidence,
    )
    verdict = Verdict(
        valid=True,
        top1=(claims and right) if has_motive else None,
        any_of_k=(claims and right) if has_motive else None,
        withheld_right=right if has_motive and not claims else None,
        false_alarm=None if has_motive else claims,
    )
    return TrialSummary.model_validate(
        {
            "key": TrialKey(run="r", target=target, tool_set="t", trial=trial),
            "group": group,
            "status": "scored",
            "submission": submission,
            "verdict": verdict,
            "truth": truth,
            **over,
        }
    )


@pytest.fixture(scope="session")
def audited() -> Audited:
    """Make a scored trial: `audited(target, group, claims=…, right=…, confidence=…)`."""
    return _audited
