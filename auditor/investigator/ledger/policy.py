"""The offline auditor: a statistical audit by rule, without a language model."""

from auditor.investigator.ledger.calibration import Calibrator
from auditor.investigator.ledger.case import Case
from auditor.investigator.ledger.hypotheses import (
    describe_all,
    describe_candidate,
    submission,
)
from auditor.investigator.ledger.stages import STAGES
from auditor.investigator.protocol import Move, ResultLookup, View
from auditor.records import MAX_HYPOTHESES, Hypothesis


class LedgerPolicy:
    """Covers topics, follows odd phrases, confirms them afresh, and looks for the reason."""

    name = "ledger"

    def __init__(self, *, false_alarm: float = 0.05, calibrator: Calibrator | None = None) -> None:
        """Prepare an auditor.

        Args:
            false_alarm: Chance of a false finding that the tests of one audit may take.
            calibrator: Turns grounds into probabilities; None takes the shipped one.
        """
        self._false_alarm = false_alarm
        self._calibrator = calibrator or Calibrator.shipped()

    def act(self, view: View, lookup: ResultLookup) -> Move:
        """Plan the next stage that has something to do, or submit."""
        case = Case(view, lookup, self._false_alarm)
        whole = case.purse
        while case.memory.stage < len(STAGES) and not whole.spent:
            label, stage = STAGES[case.memory.stage]
            case.purse = whole.half if _reads_later(case) else whole
            case.memory.stage += 1
            step = stage(case)
            if step is not None:
                case.memory.pending = label
                ledger = current_ledger(case, self._calibrator)
                return Move(
                    thought=with_failures(case, step.thought),
                    calls=step.calls[: int(min(len(step.calls), case.purse.calls))],
                    hypotheses=ledger if ledger != view.hypotheses else None,
                    memory=case.memory.dump(),
                )
        final = submission(case.confirmed, case.motives, case.samples(), self._calibrator)
        return Move(
            thought=with_failures(case, final.reason),
            hypotheses=final.hypotheses,
            submission=final,
            memory=case.memory.dump(),
        )


def _reads_later(case: Case) -> bool:
    """Tell whether half of the tokens must be kept, since reading is still to come."""
    reading = next(i for i, (label, _) in enumerate(STAGES) if label == "read")
    return "nla_compare" in case.tools and case.memory.stage < reading


def with_failures(case: Case, thought: str) -> str:
    """Put failed calls of the last turn before a thought."""
    if not case.failures:
        return thought
    return f"A call failed ({case.failures[0]}). I go on with what I have. {thought}"


def current_ledger(case: Case, calibrator: Calibrator) -> tuple[Hypothesis, ...]:
    """What is believed now: what was tested or read if there is any, else untested candidates."""
    if case.findings or case.readings or case.leads or case.named:
        return describe_all(case.confirmed, case.motives, case.samples(), calibrator)
    samples = case.samples("cover", "follow")
    return tuple(describe_candidate(c, samples) for c in case.memory.candidates[:MAX_HYPOTHESES])
