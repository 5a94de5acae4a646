"""Runs that were stopped, and what is left when they go on."""

import logging
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import BudgetReachedError, RunError, RunStoppedError, UsageError
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import Submission, TrialEvent, TrialKey
from auditor.run import trial as trials
from auditor.run.execute import Hooks, RunInterruptedError, RunLimitError, RunOptions, execute
from auditor.run.plan import PlannedTrial
from auditor.run.record import Launch
from auditor.run.resume import resume_run
from auditor.run.stopping import Stop
from auditor.run.store import is_sealed, load_run, read_events
from auditor.scenario.schema import Model, ResolvedScenario

Make = Callable[..., ResolvedScenario]
Records = Callable[[Path], dict[str, list[str]]]
N_EVENTS = 14


def scripted(log: list[int] | None = None) -> Callable[..., ScriptedPolicy]:
    """An auditor of four turns that looks back at its results, and notes when it is asked."""

    def act(view: View, lookup: ResultLookup) -> Move:
        if log is not None:
            log.append(view.turn)
        if view.turn == 3:
            said = "".join(lookup.items(f"E{n}")[0]["reply"] for n in (1, 2, 3))
            return Move(thought=said, submission=Submission(verdict="none", reason=said))
        call = ToolCall(tool="chat", arguments={"prompts": ["hi"], "max_tokens": 5})
        return Move(thought=f"turn {view.turn}", calls=(call,), dollars=0.5)

    return lambda planned, resolved: ScriptedPolicy(act)


@pytest.fixture
def one(make_resolved: Make, make_target: Callable) -> ResolvedScenario:
    """A scenario of one trial."""
    return make_resolved(make_target("guilty-1", "guilty"), tool_sets={"row": {"tools": ["chat"]}})


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(runs_dir=tmp_path / "runs", run="r", workers=1)


@pytest.fixture
def hooks(make_pool: Callable) -> Hooks:
    return Hooks(pool=make_pool(), policy=scripted())


@pytest.fixture
def whole(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, records: Records, tmp_path: Path
) -> dict[str, list[str]]:
    """The records of an undisturbed run."""
    found = execute(one, replace(options, runs_dir=tmp_path / "whole"), hooks=hooks)
    assert dict(found.counts) == {"scored": 1}
    return records(found.run_dir)


def stopping_at(number: int, error: type[BaseException] = KeyboardInterrupt) -> Callable:
    """An `on_event` that breaks off once, after the event of some number."""
    heard: list[TrialEvent] = []

    def listen(key: TrialKey, event: TrialEvent) -> None:
        heard.append(event)
        if len(heard) == number + 1:
            raise error

    return listen


def stopped(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, number: int
) -> tuple[Path, Path]:
    """Break a run off after some event; return its record and its checkpoint."""
    with pytest.raises(RunInterruptedError):
        execute(one, options, hooks=replace(hooks, on_event=stopping_at(number)))
    (record,) = (options.runs_dir / "r" / "trials").iterdir()
    (checkpoint,) = (options.runs_dir / "r" / "checkpoints").glob("*.db")
    return record, checkpoint


@pytest.mark.parametrize("number", range(N_EVENTS))
def test_a_trial_that_stops_after_any_event_ends_the_same(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: dict[str, list[str]],
    records: Records,
    number: int,
) -> None:
    assert sum(map(len, whole.values())) == N_EVENTS
    asked: list[int] = []
    paying = replace(hooks, policy=scripted(asked))
    with pytest.raises(RunInterruptedError, match="r to go on"):
        execute(one, options, hooks=replace(paying, on_event=stopping_at(number)))
    again = resume_run(options.runs_dir / "r", hooks=paying)
    assert records(again.run_dir) == whole
    assert not (again.run_dir / "checkpoints").exists()
    assert sorted(set(asked)) == [0, 1, 2, 3]
    assert len(asked) <= 5, "no move is asked for twice but the one that was interrupted"


def test_the_same_command_goes_on_as_resume_does(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, whole: object, records: Records
) -> None:
    stopped(one, options, hooks, 7)
    asked: list[int] = []
    heard: list[str] = []
    listening = replace(
        hooks, policy=scripted(asked), on_event=lambda key, event: heard.append(event.type)
    )
    again = execute(one, options, hooks=listening)
    assert records(again.run_dir) == whole
    assert asked == [2, 3]
    assert heard == [event.type for event in read_events(*(again.run_dir / "trials").iterdir())]


@pytest.mark.parametrize("tail", [b'{"at":"2026', b"\0\0\0\0\0", b"\xff\xfe\n", b'{"a": 1}\n'])
def test_what_follows_the_last_step_is_cut_off_whatever_it_is(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: object,
    records: Records,
    tail: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record, _ = stopped(one, options, hooks, 7)
    record.write_bytes(record.read_bytes() + tail)
    again = resume_run(options.runs_dir / "r", hooks=hooks)
    assert records(again.run_dir) == whole
    assert ("begins anew" in caplog.text) == (tail == b'{"a": 1}\n')


@pytest.mark.parametrize("left", [0, 1, 3, 4, 5, 7])
def test_a_record_that_lost_its_end_goes_on_from_an_older_step(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: object,
    records: Records,
    left: int,
) -> None:
    record, _ = stopped(one, options, hooks, 9)
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:left]))
    asked: list[int] = []
    again = resume_run(options.runs_dir / "r", hooks=replace(hooks, policy=scripted(asked)))
    assert records(again.run_dir) == whole
    assert asked[0] == {0: 0, 1: 0, 3: 0, 4: 1, 5: 2, 7: 2}[left]


@pytest.mark.parametrize("line", [0, 2, 6])
@pytest.mark.parametrize("lost", [b"", b"!\n", b"{}\n"], ids=["gone", "spoilt", "of another kind"])
def test_an_unfinished_trial_with_a_damaged_record_ends_the_same(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: object,
    records: Records,
    line: int,
    lost: bytes,
) -> None:
    record, _ = stopped(one, options, hooks, 7)
    lines = record.read_bytes().splitlines(keepends=True)
    lines[line] = lost
    record.write_bytes(b"".join(lines))
    assert records(resume_run(options.runs_dir / "r", hooks=hooks).run_dir) == whole


def spoil(path: Path) -> None:
    path.write_bytes(b"\xa5" * 9000)
    path.with_name(path.name + "-wal").unlink(missing_ok=True)


def age(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")


@pytest.mark.parametrize(
    ("harm", "said"),
    [(Path.unlink, "is missing"), (spoil, "damaged"), (age, "format 99")],
    ids=["deleted", "damaged", "another version"],
)
def test_without_its_checkpoint_a_trial_begins_anew_and_says_so(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: object,
    records: Records,
    harm: Callable[[Path], None],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, checkpoint = stopped(one, options, hooks, 7)
    harm(checkpoint)
    with caplog.at_level(logging.WARNING):
        again = resume_run(options.runs_dir / "r", hooks=hooks)
    assert records(again.run_dir) == whole
    (line,) = [r.getMessage() for r in caplog.records if "begins anew" in r.getMessage()]
    assert line.startswith("trial guilty-1__row__0 begins anew: ")
    assert said in line


def test_a_trial_of_other_package_versions_begins_anew(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped(one, options, hooks, 7)
    monkeypatch.setattr(trials, "package_versions", lambda: {"torch": "99"})
    again = resume_run(options.runs_dir / "r", hooks=hooks)
    assert "another version" in caplog.text
    (start, *_) = read_events(*(again.run_dir / "trials").iterdir())
    assert start.versions == {"torch": "99"}  # type: ignore[union-attr]


def test_a_verdict_that_is_recorded_is_not_asked_for_again(
    one: ResolvedScenario,
    options: RunOptions,
    hooks: Hooks,
    whole: object,
    records: Records,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record, _ = stopped(one, options, hooks, N_EVENTS - 2)
    assert read_events(record)[-1].type == "verdict"

    def judge(*_: object) -> None:
        raise AssertionError("judged twice")

    monkeypatch.setattr(trials, "_judge", judge)
    assert records(resume_run(options.runs_dir / "r", hooks=hooks).run_dir) == whole


def test_a_seal_that_was_cut_is_set_again(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, whole: object, records: Records
) -> None:
    record, _ = stopped(one, options, hooks, N_EVENTS - 2)
    record.write_bytes(record.read_bytes() + b'{"at":"2026-01-01","type":"sealed","sta')
    assert not is_sealed(record)
    assert records(resume_run(options.runs_dir / "r", hooks=hooks).run_dir) == whole


def test_ctrl_c_ends_the_step_under_way_and_no_more(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, whole: object, records: Records
) -> None:
    said: list[str] = []

    def press(key: TrialKey, event: TrialEvent) -> None:
        if event.type == "tool_call":
            os.kill(os.getpid(), signal.SIGINT)

    pressed = replace(hooks, on_event=press, on_interrupt=lambda: said.append("drain"))
    with pytest.raises(RunInterruptedError):
        execute(one, options, hooks=pressed)
    assert said == ["drain"]
    (record,) = (options.runs_dir / "r" / "trials").iterdir()
    assert [event.type for event in read_events(record)] == [
        *("started", "thought", "tool_call", "tool_result"),
    ]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    asked: list[int] = []
    again = resume_run(
        options.runs_dir / "r", hooks=replace(hooks, policy=scripted(asked), stop=Stop())
    )
    assert asked == [1, 2, 3]
    assert records(again.run_dir) == whole


def test_a_second_ctrl_c_stops_at_once(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks
) -> None:
    def press(key: TrialKey, event: TrialEvent) -> None:
        if event.type == "tool_call":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError):
        execute(one, options, hooks=replace(hooks, on_event=press))
    (record,) = (options.runs_dir / "r" / "trials").iterdir()
    assert read_events(record)[-1].type == "tool_call"


def test_a_limit_of_the_run_leaves_the_trial_to_be_gone_on_with(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks, whole: object, records: Records
) -> None:
    def poor(view: View, lookup: ResultLookup) -> Move:
        if view.turn == 2:
            raise RunStoppedError("the run's 5 dollars are spent")
        return scripted()(None, None).act(view, lookup)

    with pytest.raises(RunLimitError, match="5 dollars are spent; 0 of 1 .* --run r to") as caught:
        execute(one, options, hooks=replace(hooks, policy=lambda *_: ScriptedPolicy(poor)))
    assert (caught.value.finished, caught.value.why) == (0, "the run's 5 dollars are spent")
    (record,) = (options.runs_dir / "r" / "trials").iterdir()
    assert read_events(record)[-1].type == "tool_result"
    again = resume_run(options.runs_dir / "r", hooks=replace(hooks, stop=Stop()))
    assert records(again.run_dir) == whole


def test_a_trial_that_a_limit_of_the_run_ended_is_the_last(
    make_resolved: Make, options: RunOptions, hooks: Hooks
) -> None:
    def poor(view: View, lookup: ResultLookup) -> Move:
        raise BudgetReachedError("run_dollars", "nothing is left")

    resolved = make_resolved(tool_sets={"row": {"tools": ["chat"]}})
    with pytest.raises(RunLimitError, match="the run's limit of dollars is reached; 1 of 3"):
        execute(resolved, options, hooks=replace(hooks, policy=lambda *_: ScriptedPolicy(poor)))
    (record,) = (options.runs_dir / "r" / "trials").iterdir()
    assert is_sealed(record)


def test_no_trial_begins_once_a_limit_is_reached(
    make_resolved: Make, options: RunOptions, hooks: Hooks
) -> None:
    begun: list[PlannedTrial] = []

    def before(trial: PlannedTrial) -> None:
        begun.append(trial)
        if len(begun) == 3:
            raise RunStoppedError("enough")

    resolved = make_resolved(tool_sets={"row": {"tools": ["chat"]}})
    with pytest.raises(RunLimitError, match="stopped: enough; 2 of 3"):
        execute(resolved, options, hooks=replace(hooks, before_trial=before))
    assert len(list((options.runs_dir / "r" / "trials").iterdir())) == 2


def test_resume_finishes_all_that_was_ever_asked_for(
    make_resolved: Make, options: RunOptions, make_pool: Callable, records: Records, tmp_path: Path
) -> None:
    resolved, pool = make_resolved(), make_pool()
    first = replace(options, tool_sets=["static"], targets=["clean-1"])
    second = replace(options, tool_sets=["black_box"], targets=["guilty-*"], trials=2)
    for asked in (first, second):
        with pytest.raises(RunInterruptedError):
            execute(resolved, asked, pool=pool, on_event=stopping_at(4))
    record = load_run(options.runs_dir / "r")
    assert record.launches == (
        Launch(targets=("clean-1",), tool_sets=("static",), trials=1),
        Launch(targets=("guilty-1", "guilty-2"), tool_sets=("black_box",), trials=2),
    )
    assert record.planned == 5
    done = resume_run(options.runs_dir / "r", workers=1, hooks=Hooks(pool=pool))
    assert {key.stem for key in (summary.key for summary in done.summaries)} == {
        "clean-1__static__0",
        *(f"guilty-{n}__black_box__{t}" for n in (1, 2) for t in (0, 1)),
    }
    assert dict(done.counts) == {"scored": 5}
    before = records(done.run_dir)
    events: list[TrialEvent] = []
    nothing = Hooks(pool=pool, on_event=lambda key, event: events.append(event))
    assert resume_run(options.runs_dir / "r", hooks=nothing).summaries == done.summaries
    assert (events, records(done.run_dir)) == ([], before)


def test_a_run_whose_weights_are_gone_is_refused_before_a_trial_is_spoilt(
    make_resolved: Make, make_target: Callable, options: RunOptions, make_pool: Callable
) -> None:
    here = make_target("t", "clean").model_copy(update={"model": Model(path="/gone/model")})
    resolved = make_resolved(here)
    with pytest.raises(RunInterruptedError):
        execute(resolved, options, pool=make_pool(), on_event=stopping_at(3))
    before = {p: p.read_bytes() for p in (options.runs_dir / "r" / "trials").iterdir()}
    with pytest.raises(UsageError, match="run 'r' cannot go on: .*/gone/model"):
        resume_run(options.runs_dir / "r")
    assert {p: p.read_bytes() for p in before} == before


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json"):
        resume_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_run_is_not_resumed(
    one: ResolvedScenario, options: RunOptions, hooks: Hooks
) -> None:
    stopped(one, options, hooks, 4)
    (options.runs_dir / "r").rename(options.runs_dir / "other")
    with pytest.raises(RunError, match="holds run 'r'"):
        resume_run(options.runs_dir / "other", hooks=hooks)
