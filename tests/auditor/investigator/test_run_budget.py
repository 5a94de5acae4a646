"""A limit of the whole run ends a trial as a limit of its own does."""

from collections.abc import Callable
from typing import Any

from auditor.errors import BudgetReachedError
from auditor.investigator.protocol import Move, View
from auditor.records import Hypothesis
from auditor.scenario.schema import Budget

REACHED = BudgetReachedError("run_dollars", "nothing is left")


def test_it_is_reached_before_a_turn(recorder: Any, asking: Callable) -> None:
    guess = Hypothesis(statement="It wants profit", kind="motive", confidence=0.9)

    def act(view: View, lookup: object) -> Move:
        if view.turn == 1:
            raise REACHED
        return asking(hypotheses=(guess,))

    outcome = recorder.run(act)
    assert outcome.ended_by == recorder.submitted.ended_by == "run_dollars"
    assert outcome.submission.hypotheses == (guess,), "what the ledger holds is handed in"
    assert outcome.usage.turns == 1


def test_it_is_reached_in_the_middle_of_a_call(
    recorder: Any, asking: Callable, ask: Callable, make_target: type
) -> None:
    class Poor(make_target):  # type: ignore[misc]
        n_calls = 0

        def chat(self, *args: Any, **kwargs: Any) -> Any:
            self.n_calls += 1
            if self.n_calls == 2:
                raise REACHED
            return super().chat(*args, **kwargs)

    outcome = recorder.run(
        [asking(ask(), ask(), ask(), dollars=0.5)], target=Poor(), budget=Budget(seconds=None)
    )
    assert outcome.ended_by == "run_dollars"
    assert [result.ok for result in recorder.results] == [True, False]
    assert outcome.usage.tool_calls == 2
    assert outcome.usage.dollars is None, "what the call had spent before is not known"
