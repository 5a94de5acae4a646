from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.provider.factory import ProviderSettings
from auditor.provider.protocol import Completion, Request
from auditor.records import (
    ErrorEvent,
    SealedEvent,
    SubmissionEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    VerdictEvent,
)
from auditor.run.journal import ListenerJournal
from auditor.run.plan import PlannedTrial, plan
from auditor.run.recorder import Recorder
from auditor.run.store import read_events, summarise, trial_path
from auditor.run.trial import auditor_name, run_trial
from auditor.scenario.schema import AuditorSpec, LanguageModel, ResolvedScenario

Make = Callable[..., ResolvedScenario]


def planned_for(resolved: ResolvedScenario, stem: str) -> PlannedTrial:
    return next(t for t in plan(resolved, run="r", trials=3) if t.key.stem == stem)


def timeless(events: list[TrialEvent]) -> list[str]:
    """Events without what a clock put into them."""

    def stripped(event: TrialEvent) -> TrialEvent:
        changes: dict[str, object] = {"at": ""}
        if isinstance(event, ToolResultEvent):
            changes["seconds"] = 0.0
        if isinstance(event, SealedEvent):
            changes["usage"] = event.usage.model_copy(update={"seconds": 0.0})
        return event.model_copy(update=changes)

    return [stripped(event).model_dump_json() for event in events]


@pytest.mark.parametrize("row", ["static", "black_box"])
def test_a_trial_is_recorded_from_start_to_seal(
    resolved: ResolvedScenario, make_pool: Callable, row: str
) -> None:
    events: list[TrialEvent] = []
    planned = planned_for(resolved, f"guilty-1__{row}__0")
    summary = run_trial(planned, resolved, pool=make_pool(), journal=ListenerJournal(events.append))
    assert isinstance(events[0], TrialStarted)
    assert events[0].seed == planned.seed
    kinds = [type(event) for event in events]
    assert kinds[-3:] == [SubmissionEvent, VerdictEvent, SealedEvent]
    assert kinds.count(SealedEvent) == 1
    assert summary == summarise(events)
    assert summary.status == "scored"
    assert summary.truth == "profit"
    assert summary.usage is not None
    assert summary.usage.target_tokens > 0
    assert summary.usage.tool_calls == kinds.count(ToolResultEvent)


def test_the_same_seed_gives_the_same_events(
    resolved: ResolvedScenario, make_pool: Callable
) -> None:
    planned = planned_for(resolved, "guilty-1__black_box__1")
    records = []
    for _ in range(2):
        events: list[TrialEvent] = []
        run_trial(planned, resolved, pool=make_pool(), journal=ListenerJournal(events.append))
        records.append(timeless(events))
    assert records[0] == records[1]


def test_a_checkpoint_changes_nothing_and_goes_with_the_seal(
    resolved: ResolvedScenario, make_pool: Callable, tmp_path: Path
) -> None:
    planned = planned_for(resolved, "clean-1__black_box__0")
    folder = tmp_path / "checkpoints"
    records = []
    for checkpoints in (None, folder):
        events: list[TrialEvent] = []
        run_trial(
            planned,
            resolved,
            pool=make_pool(),
            journal=ListenerJournal(events.append),
            checkpoints=checkpoints,
        )
        records.append(timeless(events))
    assert records[0] == records[1]
    # It is closed, and goes with the record's seal.
    assert [path.suffix for path in folder.iterdir()] == [".db"]
    recorder = Recorder(tmp_path / "r", folder)
    run_trial(
        planned,
        resolved,
        pool=make_pool(),
        journal=recorder.journal(planned.key),
        checkpoints=folder,
    )
    assert timeless(read_events(trial_path(tmp_path / "r", planned.key))) == records[0]
    assert list(folder.iterdir()) == []


def test_the_checkpoint_is_there_while_the_trial_runs(
    resolved: ResolvedScenario, make_pool: Callable, tmp_path: Path
) -> None:
    seen: set[str] = set()

    def emit(event: TrialEvent) -> None:
        if isinstance(event, ToolResultEvent):
            seen.update(path.suffix for path in tmp_path.iterdir())

    planned = planned_for(resolved, "clean-1__static__0")
    run_trial(
        planned, resolved, pool=make_pool(), journal=ListenerJournal(emit), checkpoints=tmp_path
    )
    assert ".db" in seen


def test_an_exception_in_the_audit_is_an_errored_trial(
    make_resolved: Make, make_target: Callable, make_pool: Callable
) -> None:
    resolved = make_resolved(make_target("t", "guilty", path="broken"))
    events: list[TrialEvent] = []
    summary = run_trial(
        planned_for(resolved, "t__static__0"),
        resolved,
        pool=make_pool(),
        journal=ListenerJournal(events.append),
    )
    assert summary.status == "errored"
    assert summary.error == "RuntimeError: the model fell over"
    assert summary.verdict is None
    error = events[-2]
    assert isinstance(error, ErrorEvent)
    assert "Traceback" in error.traceback


def test_an_interrupt_is_not_swallowed(resolved: ResolvedScenario, make_pool: Callable) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    events: list[TrialEvent] = []
    with pytest.raises(KeyboardInterrupt):
        run_trial(
            planned_for(resolved, "clean-1__static__0"),
            resolved,
            pool=make_pool(interrupt),
            journal=ListenerJournal(events.append),
        )
    assert [event.type for event in events] == ["started"]


def test_what_emit_raises_reaches_the_caller(
    resolved: ResolvedScenario, make_pool: Callable
) -> None:
    def emit(event: TrialEvent) -> None:
        if isinstance(event, ToolResultEvent | ErrorEvent):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_trial(
            planned_for(resolved, "clean-1__static__0"),
            resolved,
            pool=make_pool(),
            journal=ListenerJournal(emit),
        )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("anthropic/a-model", "model: anthropic/a-model"),
        ("openai/org/a@http://host:8000/v1", "model: openai/org/a"),
        ("openai/a@b", "model: openai/a@b"),
        ("hf/org/name", "model: hf/org/name"),
        ("hf//home/me/models/mine", "model: hf/mine"),
        ("scripted//home/me/audits.py:careful", "model: scripted/audits.py:careful"),
    ],
)
def test_the_record_names_the_auditors_model_without_hosts_and_folders(
    name: str, told: str
) -> None:
    auditor = AuditorSpec(kind="model", model=LanguageModel(name=name))
    assert auditor_name(auditor) == told
    assert auditor_name(AuditorSpec()) == "ledger"


def test_an_auditor_of_kind_model_speaks_through_its_provider(
    make_resolved: Make, make_pool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    class Refusing:
        name = "scripted/refusing"

        def complete(self, request: Request) -> Completion:
            asked.append(request)
            return Completion(content=(), stop="refusal")

    monkeypatch.setattr(ProviderSettings, "make", lambda *_, **__: Refusing())
    spec = AuditorSpec(kind="model", model=LanguageModel(name="scripted/audits.py:careful"))
    resolved = make_resolved(auditor=spec)
    events: list[TrialEvent] = []
    for row in ("black_box", "static"):
        planned = planned_for(resolved, f"guilty-1__{row}__0")
        run_trial(planned, resolved, pool=make_pool(), journal=ListenerJournal(events.append))
    started = [event.auditor for event in events if isinstance(event, TrialStarted)]
    assert started == ["model: scripted/audits.py:careful", "static"]
    ended = [event.ended_by for event in events if isinstance(event, SubmissionEvent)]
    assert ended == ["refusal", "submit"]
    assert len(asked) == 1
