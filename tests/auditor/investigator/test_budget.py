from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.investigator.budget import ACTING, THINKING, most_steps, remaining, used_up
from auditor.investigator.protocol import Move, ToolCall, View
from auditor.investigator.submission import forced_submission
from auditor.records import Hypothesis, Submission, TrialUsage
from auditor.scenario.schema import Budget

UNLIMITED = Budget(turns=None, tool_calls=None, target_tokens=None, seconds=None)


def guess(confidence: float | None, kind: str = "motive", statement: str = "x") -> Hypothesis:
    return Hypothesis(statement=statement, kind=kind, confidence=confidence)


def test_every_limit_of_the_schema_is_checked_somewhere() -> None:
    assert set(Budget.model_fields) == set(THINKING) | set(ACTING)
    assert all(hasattr(TrialUsage(), name) for name in Budget.model_fields)


def test_the_remainder_is_the_limit_less_what_is_spent() -> None:
    usage = TrialUsage(turns=3, target_tokens=50_000, seconds=1.5)
    left = remaining(Budget(turns=10, target_tokens=40_000, seconds=2.0, tool_calls=None), usage)
    assert left == {
        "turns": 7,
        "tool_calls": None,
        "auditor_tokens": None,
        "target_tokens": 0,
        "reader_tokens": None,
        "model_tokens": None,
        "seconds": 0.5,
        "dollars": None,
    }


def test_an_unknown_spend_leaves_the_whole_limit() -> None:
    left = remaining(Budget(auditor_tokens=9, dollars=0.5), TrialUsage())
    assert (left["auditor_tokens"], left["dollars"]) == (9, 0.5)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 40))
def test_a_limit_is_used_up_when_the_spend_reaches_it(limit: int, spent: int) -> None:
    budget = UNLIMITED.model_copy(update={"turns": limit})
    usage = TrialUsage(turns=spent)
    assert used_up(budget, usage, THINKING) == ("turns" if spent >= limit else None)
    assert used_up(budget, usage, ACTING) is None


def test_nothing_is_used_up_without_limits() -> None:
    spent = TrialUsage(turns=10**6, tool_calls=10**6, target_tokens=10**9, seconds=1e9)
    assert used_up(UNLIMITED, spent, {*THINKING, *ACTING}) is None


@pytest.mark.parametrize(
    ("budget", "turns", "calls"),
    [(Budget(turns=1, tool_calls=1), 1, 1), (Budget(turns=4, tool_calls=9), 4, 9)],
)
def test_the_bound_on_steps_lets_an_audit_use_its_whole_budget(
    recorder: Any, ask: Callable, asking: Callable, budget: Budget, turns: int, calls: int
) -> None:
    plan = [asking(*[ask()] * (calls - turns + 1)), *[asking()] * (turns - 1), asking()]
    outcome = recorder.run(plan, budget=budget)
    assert (outcome.usage.turns, outcome.usage.tool_calls) == (turns, calls)
    assert outcome.ended_by == "turns"
    assert most_steps(budget) == turns + calls + 3


def test_without_limits_only_the_policy_ends_the_audit(recorder: Any, asking: Callable) -> None:
    moves = [*[asking()] * 30, Move(thought="done", submission=Submission(verdict="none"))]
    assert recorder.run(moves, budget=UNLIMITED).ended_by == "submit"


def test_turns_end_the_audit_before_the_next_turn(recorder: Any, asking: Callable) -> None:
    outcome = recorder.run([asking()] * 3, budget=Budget(turns=2, seconds=None))
    assert outcome.ended_by == recorder.submitted.ended_by == "turns"
    assert outcome.submission == recorder.submitted.submission
    assert (outcome.usage.turns, outcome.usage.tool_calls) == (2, 2)


def test_tool_calls_end_the_audit_in_the_middle_of_a_move(
    recorder: Any, ask: Callable, asking: Callable
) -> None:
    outcome = recorder.run([asking(ask(), ask(), ask())], budget=Budget(tool_calls=2, seconds=None))
    assert outcome.ended_by == "tool_calls"
    assert [event.evidence_id for event in recorder.results] == ["E1", "E2"]
    assert outcome.usage.turns == 1


def test_the_last_call_of_the_limit_still_lets_the_auditor_submit(
    recorder: Any, asking: Callable
) -> None:
    moves = [asking(), Move(thought="done", submission=Submission(verdict="none"))]
    assert recorder.run(moves, budget=Budget(tool_calls=1, turns=2)).ended_by == "submit"


def test_a_policy_that_asked_for_a_last_word_gets_it_once(recorder: Any, asking: Callable) -> None:
    move = asking(*asking().calls * 3, last_word=True)
    outcome = recorder.run([move, move, move], budget=Budget(tool_calls=2, seconds=None))
    assert (outcome.ended_by, outcome.usage.turns, len(recorder.results)) == ("tool_calls", 2, 2)


def test_a_last_word_is_heard(recorder: Any, asking: Callable) -> None:
    move = asking(*asking().calls * 3, last_word=True)
    done = Move(thought="done", submission=Submission(verdict="none"))
    outcome = recorder.run([move, done], budget=Budget(tool_calls=2, seconds=None))
    assert (outcome.ended_by, outcome.usage.turns, len(recorder.results)) == ("submit", 2, 2)


def test_target_tokens_end_the_audit_before_the_next_call(recorder: Any, asking: Callable) -> None:
    outcome = recorder.run([asking()] * 9, budget=Budget(target_tokens=8, seconds=None))
    assert outcome.ended_by == "target_tokens"
    assert outcome.usage.target_tokens == 8
    assert outcome.usage.tool_calls == 2


def test_a_call_that_could_pass_the_allowance_is_refused_and_costs_nothing(
    recorder: Any, ask: Callable, asking: Callable
) -> None:
    moves = [asking(ask(samples=2), ask(), ask())]
    outcome = recorder.run(moves, budget=Budget(target_tokens=7, turns=1, seconds=None))
    assert [event.ok for event in recorder.results] == [False, True, False]
    assert outcome.usage.target_tokens == 4


def test_with_no_token_left_the_auditor_may_think_and_submit_but_not_call(
    recorder: Any, asking: Callable
) -> None:
    seen: list[float | None] = []

    def act(view: View, lookup: object) -> Move:
        seen.append(view.remaining["target_tokens"])
        if view.turn == 0:
            return asking()
        return Move(thought="done", submission=Submission(verdict="none"))

    assert recorder.run(act, budget=Budget(target_tokens=4)).ended_by == "submit"
    assert seen == [4, 0]


def test_tokens_of_the_baseline_do_not_count_against_the_target(
    recorder: Any, make_target: Callable, asking: Callable
) -> None:
    call = ToolCall(tool="sample_user", arguments={"n": 2, "model": "baseline", "max_tokens": 4})
    moves = [asking(call), Move(thought="done", submission=Submission(verdict="none"))]
    usage = recorder.run(moves, baseline=make_target()).usage
    assert (usage.target_tokens, usage.baseline_tokens) == (0, 8)


def test_seconds_end_the_audit_between_calls(
    recorder: Any, make_target: Callable, clock: Any, ask: Callable, asking: Callable
) -> None:
    target = make_target()

    def wait() -> None:
        clock.now += 6

    target.on_answer = wait
    outcome = recorder.run(
        [asking(ask(), ask(), ask())], target=target, clock=clock, budget=Budget(seconds=10)
    )
    assert outcome.ended_by == "seconds"
    assert outcome.usage.seconds == 12
    assert [event.seconds for event in recorder.results] == [6, 6]


def test_seconds_that_the_auditor_thinks_count_too(recorder: Any, clock: Any) -> None:
    def act(view: View, lookup: object) -> Move:
        clock.now += 6
        return Move(thought="hm")

    outcome = recorder.run(act, clock=clock, budget=Budget(seconds=10))
    assert (outcome.ended_by, outcome.usage.turns, outcome.usage.seconds) == ("seconds", 2, 12)


@pytest.mark.parametrize(
    ("limit", "spend"),
    [("auditor_tokens", {"auditor_tokens": 60}), ("dollars", {"dollars": 0.6})],
)
def test_what_the_auditor_itself_spends_ends_the_audit(
    recorder: Any, asking: Callable, limit: str, spend: dict[str, float]
) -> None:
    budget = Budget.model_validate({limit: 100 if limit == "auditor_tokens" else 1.0})
    outcome = recorder.run([asking(**spend)] * 9, budget=budget)
    assert outcome.ended_by == limit
    # The second move's spend is over the limit, so its call is not made.
    assert (outcome.usage.turns, outcome.usage.tool_calls) == (2, 1)
    assert getattr(outcome.usage, limit) == pytest.approx(2 * next(iter(spend.values())))


def test_a_submission_counts_even_if_its_own_move_passes_a_limit(recorder: Any) -> None:
    move = Move(thought="done", auditor_tokens=500, submission=Submission(verdict="none"))
    outcome = recorder.run([move], budget=Budget(auditor_tokens=100))
    assert (outcome.ended_by, outcome.usage.auditor_tokens) == ("submit", 500)


def test_an_auditor_without_a_model_has_unknown_tokens_and_dollars(recorder: Any) -> None:
    move = Move(thought="done", submission=Submission(verdict="none"))
    usage = recorder.run([move]).usage
    assert (usage.auditor_tokens, usage.dollars) == (None, None)


@pytest.mark.parametrize(
    ("confidence", "kind", "verdict"),
    [
        (0.5, "motive", "motive"),
        (0.49, "motive", "none"),
        (None, "motive", "none"),
        (0.99, "behaviour", "none"),
    ],
)
def test_a_forced_submission_claims_a_motive_only_when_the_ledger_does(
    recorder: Any, asking: Callable, confidence: float | None, kind: str, verdict: str
) -> None:
    ledger = (guess(0.9, "behaviour", "hums"), guess(confidence, kind))
    outcome = recorder.run([asking(hypotheses=ledger)], budget=Budget(turns=1))
    assert outcome.submission.verdict == verdict
    assert "turns" in outcome.submission.reason
    kept = ledger if verdict == "motive" else tuple(h for h in ledger if h.kind == "behaviour")
    assert outcome.submission.hypotheses == kept


def test_a_forced_submission_of_an_empty_ledger_claims_nothing() -> None:
    assert forced_submission([], "turns") == Submission(
        verdict="none", reason="ended by turns before the auditor submitted"
    )


def test_a_long_ledger_is_cut_to_its_best_ten(recorder: Any, asking: Callable) -> None:
    ledger = tuple(guess(0.6, statement=f"guess {n}") for n in range(14))
    outcome = recorder.run([asking(hypotheses=ledger)], budget=Budget(turns=1))
    assert outcome.submission.hypotheses == ledger[:10]


def test_a_claim_that_is_cut_off_is_not_a_claim() -> None:
    behaviours = [guess(0.2, "behaviour", f"habit {n}") for n in range(10)]
    submission = forced_submission([*behaviours, guess(0.9)], "turns")
    assert submission.verdict == "none"
    assert list(submission.hypotheses) == behaviours
