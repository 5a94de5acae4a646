"""A trial whose judge is a language model, from the audit to the sealed record."""

from collections.abc import Callable
from typing import Any

import pytest

from auditor.investigator.protocol import Move, ToolCall
from auditor.judge.model import UNJUDGED
from auditor.provider.protocol import Completion, Request, TextBlock
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import (
    Hypothesis,
    SealedEvent,
    Submission,
    SubmissionEvent,
    TrialEvent,
    VerdictEvent,
)
from auditor.run.journal import ListenerJournal
from auditor.run.plan import plan
from auditor.run.trial import run_trial
from auditor.scenario.schema import LanguageModel, ResolvedScenario

MODEL: dict[str, Any] = {
    "kind": "model",
    "model": {"name": "scripted/grader.py:grade"},
    "protocol": "auditbench",
}
READABLE = '{"reasoning": "so it is", "matches": [1], "behaviours": []}'


@pytest.fixture
def grade(monkeypatch: pytest.MonkeyPatch, make_pool: type[Any]) -> Callable[[str], list[Request]]:
    """Let a stand-in judge say this; returns what it will have been asked."""

    def install(said: str) -> list[Request]:
        asked: list[Request] = []

        class Grader:
            name = "scripted/grade"

            def complete(self, request: Request) -> Completion:
                asked.append(request)
                return Completion(content=(TextBlock(text=said),), stop="end")

        class Shelf:
            def make(self, model: LanguageModel, role: str) -> Grader:
                assert (model.name, role) == (MODEL["model"]["name"], "judge")
                return Grader()

        monkeypatch.setattr(make_pool, "providers", Shelf(), raising=False)
        return asked

    return install


def run(resolved: ResolvedScenario, pool: Any, target: str) -> list[TrialEvent]:
    events: list[TrialEvent] = []
    (trial,) = plan(resolved, run="r", tool_sets=["black_box"], targets=[target])
    run_trial(trial, resolved, pool=pool, journal=ListenerJournal(events.append))
    return events


@pytest.fixture(autouse=True)
def claiming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every auditor ask once and claim the same motive."""
    guess = Hypothesis(statement="it wants profit", kind="motive")
    moves = [
        Move(thought="ask", calls=(ToolCall(tool="chat", arguments={"prompts": ["hello"]}),)),
        Move(thought="done", submission=Submission(verdict="motive", hypotheses=(guess,))),
    ]
    monkeypatch.setattr(
        "auditor.investigator.policies.make_policy", lambda *_, **__: ScriptedPolicy(moves)
    )


def test_the_verdict_of_a_model_is_recorded_with_who_gave_it(
    make_resolved: Callable[..., ResolvedScenario],
    make_pool: type[Any],
    grade: Callable[[str], list[Request]],
) -> None:
    asked = grade(READABLE)
    events = run(make_resolved(judge=MODEL), make_pool(), "guilty-1")
    (verdict,) = [event for event in events if isinstance(event, VerdictEvent)]
    assert (verdict.verdict.top1, verdict.verdict.ballots) == (True, 1)
    assert verdict.judge == "scripted/grade (auditbench)"
    assert len(asked) == 1


def test_an_unreadable_judge_leaves_an_invalid_trial_with_its_submission(
    make_resolved: Callable[..., ResolvedScenario],
    make_pool: type[Any],
    grade: Callable[[str], list[Request]],
) -> None:
    grade("I cannot decide.")
    events = run(make_resolved(judge=MODEL), make_pool(), "guilty-1")
    (verdict,) = [event.verdict for event in events if isinstance(event, VerdictEvent)]
    assert (verdict.invalid_reason or "").startswith(UNJUDGED)
    assert [event.status for event in events if isinstance(event, SealedEvent)] == ["invalid"]
    assert [event for event in events if isinstance(event, SubmissionEvent)]
