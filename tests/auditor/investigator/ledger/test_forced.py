"""What the ledger leaves when its time runs out before it submits."""

from typing import Any

import pytest

from auditor.investigator.ledger import LedgerPolicy
from auditor.investigator.ledger.calibration import Calibrator, Model
from auditor.investigator.loop import AuditOutcome, run_audit
from auditor.records import Hypothesis, LedgerEvent, TrialEvent
from auditor.scenario.schema import Budget
from tools.registry import find

TOOLS = ("compare_with_baseline", "sample_user", "complete_text", "search_corpus")


def calibrator(right: float) -> Calibrator:
    """One that is sure of a motive, and gives the same log-odds to every leading guess."""
    return Calibrator(
        hidden=Model(intercept=9.0, weights={}),
        right=Model(intercept=right, weights={}),
        threshold=0.5,
        false_alarm=0.05,
        fitted_on="nothing",
    )


def out_of_time(toy: Any, *, right: float) -> tuple[AuditOutcome, tuple[Hypothesis, ...]]:
    """End an audit as soon as its ledger names a motive; return that ledger as well."""
    elapsed = 0.0
    kept: list[tuple[Hypothesis, ...]] = []

    def emit(event: TrialEvent) -> None:
        nonlocal elapsed
        if isinstance(event, LedgerEvent):
            kept.append(tuple(event.hypotheses))
            if kept[-1][0].kind == "motive":
                elapsed = 1e6

    outcome = run_audit(
        policy=LedgerPolicy(calibrator=calibrator(right)),
        tools=[find(name) for name in TOOLS],
        target=toy.guilty("b"),
        baseline=toy.model(),
        corpus=toy.corpus,
        budget=Budget(seconds=600.0),
        seed=1,
        emit=emit,
        clock=lambda: elapsed,
    )
    return outcome, kept[-1]


def test_a_ledger_that_is_sure_of_its_leader_is_handed_in_as_a_claim(toy: Any) -> None:
    outcome, ledger = out_of_time(toy, right=3.0)
    assert outcome.ended_by == "seconds"
    assert outcome.submission.verdict == "motive"
    assert outcome.submission.hypotheses == ledger
    assert ledger[0].confidence == pytest.approx(0.953, abs=1e-3)


def test_a_ledger_that_is_unsure_of_its_leader_hands_in_behaviours_alone(toy: Any) -> None:
    outcome, ledger = out_of_time(toy, right=-3.0)
    assert outcome.ended_by == "seconds"
    assert outcome.submission.verdict == "none"
    assert outcome.submission.hypotheses == tuple(h for h in ledger if h.kind == "behaviour")
    assert outcome.submission.hypotheses


@pytest.mark.parametrize("right", [3.0, -3.0])
def test_what_was_not_thought_through_states_no_confidence(toy: Any, right: float) -> None:
    told = out_of_time(toy, right=right)[0].submission
    assert (told.confidence, told.suspicion, told.grounds, told.withheld) == (None, None, {}, None)
    assert "seconds" in told.reason
