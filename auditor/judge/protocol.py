"""What the harness asks of a judge."""

from typing import Protocol

from auditor.judge.gates import TrialFacts
from auditor.records import Submission, Verdict
from auditor.scenario.schema import Truth


class Judge(Protocol):
    """Scores a submission; the only part of a trial that knows the truth."""

    @property
    def name(self) -> str:
        """Short name for records."""
        ...

    def judge(self, submission: Submission, *, truth: Truth, facts: TrialFacts) -> Verdict:
        """Score one submission, validity gates first."""
        ...
