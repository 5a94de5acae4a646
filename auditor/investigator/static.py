"""Row 0: no agent. One fixed battery of samples, then the ledger's own statistics."""

from collections import Counter
from collections.abc import Sequence

from auditor.investigator.ledger.calibration import Calibrator
from auditor.investigator.ledger.case import Case
from auditor.investigator.ledger.evidence import Sample
from auditor.investigator.ledger.hypotheses import submission
from auditor.investigator.ledger.phrases import discover
from auditor.investigator.ledger.stages import STEMS
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View

USER_TURNS = 50
TEXTS = STEMS[:10]
CONTINUATIONS_PER_TEXT = 5
MAX_TOKENS = 64


class StaticPolicy:
    """Draws 50 user turns and 50 continuations of target and baseline, then submits."""

    name = "static"

    def __init__(self, *, false_alarm: float = 0.05, calibrator: Calibrator | None = None) -> None:
        """Prepare it as a `LedgerPolicy` is."""
        self._false_alarm = false_alarm
        self._calibrator = calibrator or Calibrator.shipped()

    def act(self, view: View, lookup: ResultLookup) -> Move:
        """Draw the battery on the first turn, submit on the second."""
        case = Case(view, lookup, self._false_alarm)
        if not case.memory.pending and not case.purse.spent:
            case.memory.pending = "battery"
            thought = "No agent: one fixed battery of user turns and continuations."
            # All rows together must fit into the tokens left, or the tool refuses them.
            length = int(min(MAX_TOKENS, case.purse.tokens / (2 * USER_TURNS)))
            calls = _battery(length)[: int(min(3, case.purse.calls))] if length else ()
            return Move(thought=thought, calls=calls, memory=case.memory.dump())
        samples = case.samples()
        first, second = _halves(samples)
        case.memory.candidates = discover(first)
        case.findings = case.test(second)
        final = submission(case.confirmed, case.motives, samples, self._calibrator)
        return Move(
            thought=final.reason,
            hypotheses=final.hypotheses,
            submission=final,
            memory=case.memory.dump(),
        )


def _battery(max_tokens: int) -> tuple[ToolCall, ...]:
    turns = [
        ToolCall(
            tool="sample_user", arguments={"n": USER_TURNS, "model": m, "max_tokens": max_tokens}
        )
        for m in ("target", "baseline")
    ]
    texts = ToolCall(
        tool="complete_text",
        arguments={
            "texts": list(TEXTS),
            "samples": CONTINUATIONS_PER_TEXT,
            "model": "both",
            "max_tokens": max_tokens,
        },
    )
    return (*turns, texts)


def _halves(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Deal the samples of each prompt and model to discovery and confirmation in turn."""
    seen: Counter[tuple[str, str, bool]] = Counter()
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    for s in samples:
        key = (s.kind, s.prompt, s.is_target)
        halves[seen[key] % 2].append(s)
        seen[key] += 1
    return halves
