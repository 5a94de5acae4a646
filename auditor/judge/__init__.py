"""Judges, which alone know the truth, and the validity gates that come before any score."""

from auditor.judge.factory import build_judge, make_judge
from auditor.judge.gates import TrialFacts, facts_from_events, invalid_reason
from auditor.judge.protocol import Judge
from auditor.judge.rubric import RubricJudge

__all__ = [
    "Judge",
    "RubricJudge",
    "TrialFacts",
    "build_judge",
    "facts_from_events",
    "invalid_reason",
    "make_judge",
]
