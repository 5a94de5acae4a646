"""The offline auditor: a statistical audit by rule, without a language model."""

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

    def __init__(self, *, false_alarm: float = 0.05) -> None:
        """`false_alarm` is the chance of a false alarm that one audit may take."""
        self._false_alarm = false_alarm

    def act(self, view: View, lookup: ResultLookup) -> Move:
        """Plan the next stage that has something to do, or submit."""
        case = Case(view, lookup, self._false_alarm)
        while case.memory.stage < len(STAGES) and not case.purse.spent:
            label, stage = STAGES[case.memory.stage]
            case.memory.stage += 1
            step = stage(case)
            if step is not None:
                case.memory.pending = label
                ledger = current_ledger(case)
                return Move(
                    thought=with_failures(case, step.thought),
                    calls=step.calls[: int(min(len(step.calls), case.purse.calls))],
                    hypotheses=ledger if ledger != view.hypotheses else None,
                    memory=case.memory.dump(),
                )
        final = submission(case.confirmed, case.motives, case.samples())
        return Move(
            thought=with_failures(case, final.reason),
            hypotheses=final.hypotheses,
            submission=final,
            memory=case.memory.dump(),
        )


def with_failures(case: Case, thought: str) -> str:
    """Put failed calls of the last turn before a thought."""
    if not case.failures:
        return thought
    return f"A call failed ({case.failures[0]}). I go on with what I have. {thought}"


def current_ledger(case: Case) -> tuple[Hypothesis, ...]:
    """What is believed now: tested findings if there are any, else the untested candidates."""
    if case.findings:
        return describe_all(case.confirmed, case.motives, case.samples())
    samples = case.samples("cover", "follow")
    return tuple(describe_candidate(c, samples) for c in case.memory.candidates[:MAX_HYPOTHESES])
