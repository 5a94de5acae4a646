import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import RunError
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, View
from auditor.records import Hypothesis, Submission, ThoughtEvent, ToolCallEvent
from auditor.scenario.schema import Budget

CLAIM = Hypothesis(statement="wants money", kind="motive", confidence=0.8, evidence=("E1", "E3"))
DONE = Move(thought="done", submission=Submission(verdict="motive", hypotheses=(CLAIM,)))
NOTHING = Move(thought="done", submission=Submission(verdict="none"))


def timeless(events: list[Any]) -> list[dict[str, Any]]:
    """Events without their times."""
    return [{**event.model_dump(), "at": "", "seconds": 0.0} for event in events]


def curious(view: View, lookup: ResultLookup) -> Move:
    """An auditor that uses all that it has: several calls, notes, memory, earlier results."""
    if view.turn == 4:
        seen = [item["reply"] for n in range(1, 6) for item in lookup.items(f"E{n}")]
        claim = CLAIM.model_copy(update={"demonstration": "; ".join([*seen, *view.notes])})
        return Move(thought="done", submission=Submission(verdict="motive", hypotheses=(claim,)))
    heard = [
        *view.memory.get("heard", []),
        *(item["reply"] for r in view.results for item in r.items),
    ]
    prompts = [" ".join(heard)[-40:] or "hi", "and you?", "why?"][: 1 + view.turn % 3]
    guess = CLAIM.model_copy(update={"confidence": view.turn / 10})
    return Move(
        thought=f"turn {view.turn}",
        calls=tuple(
            ToolCall(tool="chat", arguments={"prompts": [prompt], "samples": 2, "max_tokens": 4})
            for prompt in prompts
        ),
        hypotheses=(guess,) if view.turn % 2 else None,
        note=f"heard {len(heard)}",
        memory={"heard": heard},
        auditor_tokens=5,
    )


@contextmanager
def checkpoints(path: Path | str) -> Iterator[Any]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma synchronous = off")
    try:
        yield SqliteSaver(connection)
    finally:
        connection.close()


class KilledAt:
    """An `emit` that is interrupted once, before or after it keeps the event of some number.

    `left` gets the checkpoints as they were written by then: tidying up after an exception may
    write more, which a process that is killed cannot do.
    """

    def __init__(self, recorder: Any, number: int, *, kept: bool, saver: Any, left: Any) -> None:
        self.recorder, self.number, self.kept = recorder, number, kept
        self.saver, self.left = saver, left

    def __call__(self, event: Any) -> None:
        killed = len(self.recorder.events) == self.number
        if not killed or self.kept:
            self.recorder.events.append(event)
        if killed:
            self.saver.conn.backup(self.left.conn)
            raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_events_and_another_seed_others(
    make_recorder: Callable,
) -> None:
    records = []
    for seed in (7, 7, 8):
        recorder = make_recorder()
        recorder.run(curious, seed=seed)
        records.append(timeless(recorder.events))
    assert records[0] == records[1]
    assert records[0] != records[2]


def test_text_that_has_no_utf8_form_can_still_be_recorded(
    recorder: Any, make_target: Callable, ask: Callable, asking: Callable
) -> None:
    moves = [asking(ask("say \ud800"), note="heard \udfff"), NOTHING]
    with checkpoints(":memory:") as saver:
        recorder.run(moves, target=make_target("half \ud83d"), checkpointer=saver)
    assert "half �" in "".join(event.model_dump_json() for event in recorder.events)
    assert recorder.results[0].items[0]["reply"] == "half �"
    assert recorder.of(ToolCallEvent)[0].arguments["prompts"] == ["say �"]


@pytest.mark.parametrize("kept", [False, True], ids=["unwritten", "written"])
def test_an_audit_killed_at_any_event_goes_on_to_the_same_end(
    make_recorder: Callable, kept: bool
) -> None:
    whole = make_recorder()
    expected = whole.run(curious)
    assert len(whole.events) > 20
    for number in range(len(whole.events)):
        recorder = make_recorder()
        with checkpoints(":memory:") as saver, checkpoints(":memory:") as left:
            emit = KilledAt(recorder, number, kept=kept, saver=saver, left=left)
            with pytest.raises(KeyboardInterrupt):
                recorder.run(curious, emit=emit, checkpointer=saver)
            before = len(recorder.events)
            outcome = recorder.run(curious, checkpointer=left, results=recorder.outputs)
        assert outcome == expected
        repeated = timeless(recorder.events[before:])
        # The interrupted step comes again, and nothing before it.
        assert repeated == timeless(whole.events)[-len(repeated) :]
        assert 0 <= before - (len(whole.events) - len(repeated)) <= 2


def test_a_policy_killed_once_is_asked_the_same_again(
    tmp_path: Path, make_recorder: Callable
) -> None:
    whole = make_recorder()
    expected = whole.run(curious)
    for turn in range(5):
        recorder, asked = make_recorder(), []

        def act(
            view: View, lookup: ResultLookup, turn: int = turn, asked: list[View] = asked
        ) -> Move:
            asked.append(view)
            if view.turn == turn and [each.turn for each in asked].count(turn) == 1:
                raise KeyboardInterrupt
            return curious(view, lookup)

        path = tmp_path / f"{turn}.db"
        with checkpoints(path) as saver, pytest.raises(KeyboardInterrupt):
            recorder.run(act, checkpointer=saver)
        with checkpoints(path) as saver:
            outcome = recorder.run(act, checkpointer=saver, results=recorder.outputs)
        assert outcome == expected
        assert [view.turn for view in asked] == [*range(turn + 1), *range(turn, 5)]
        assert asked[turn] == asked[turn + 1]
        assert timeless(recorder.events) == timeless(whole.events)


def test_seconds_before_an_interruption_count_and_those_between_do_not(
    make_recorder: Callable, make_target: Callable, asking: Callable, clock: Any
) -> None:
    recorder, target = make_recorder(), make_target()

    def wait() -> None:
        clock.now += 4

    def killed(event: Any) -> None:
        recorder.events.append(event)
        if isinstance(event, ThoughtEvent) and event.turn == 1:
            raise KeyboardInterrupt

    target.on_answer = wait
    settings = {"target": target, "clock": clock, "budget": Budget(seconds=10)}
    with checkpoints(":memory:") as saver:
        with pytest.raises(KeyboardInterrupt):
            recorder.run([asking()] * 9, checkpointer=saver, emit=killed, **settings)
        clock.now += 1000
        outcome = recorder.run(
            [asking()] * 9, checkpointer=saver, results=recorder.outputs, **settings
        )
    assert (outcome.ended_by, outcome.usage.seconds, outcome.usage.tool_calls) == ("seconds", 12, 3)


def test_going_on_without_the_earlier_results_is_refused(make_recorder: Callable) -> None:
    recorder = make_recorder()
    with checkpoints(":memory:") as saver, checkpoints(":memory:") as left:
        emit = KilledAt(recorder, 12, kept=True, saver=saver, left=left)
        with pytest.raises(KeyboardInterrupt):
            recorder.run(curious, emit=emit, checkpointer=saver)
        with pytest.raises(RunError, match="lacks the result of E1"):
            recorder.run(curious, checkpointer=left)


def test_a_finished_audit_is_not_run_again(make_recorder: Callable) -> None:
    recorder = make_recorder()
    with checkpoints(":memory:") as saver:
        outcome = recorder.run(curious, checkpointer=saver)
        events = len(recorder.events)
        assert recorder.run(curious, checkpointer=saver, results=recorder.outputs) == outcome
    assert len(recorder.events) == events


def test_two_audits_in_one_file_do_not_touch(make_recorder: Callable, asking: Callable) -> None:
    with checkpoints(":memory:") as saver:
        first = make_recorder().run([asking(), DONE], checkpointer=saver, thread_id="a")
        second = make_recorder().run([asking(), NOTHING], checkpointer=saver, thread_id="b")
    assert (first.submission.verdict, second.submission.verdict) == ("motive", "none")


def test_a_checkpoint_holds_only_the_page_of_a_result(
    tmp_path: Path, recorder: Any, ask: Callable, asking: Callable
) -> None:
    path = tmp_path / "audit.db"
    with checkpoints(path) as saver:
        recorder.run([asking(ask(samples=150)), asking(), NOTHING], checkpointer=saver, seed=3)
        states = [each.checkpoint["channel_values"] for each in saver.list(None)]
    assert max(len(state["pages"][0]["items"]) for state in states if state.get("pages")) == 20
    content = path.read_bytes() + b"".join(p.read_bytes() for p in tmp_path.glob("*-wal"))
    replies = [item["reply"].encode() for item in recorder.results[0].items]
    shown = set(replies[:20]) | {recorder.results[1].items[0]["reply"].encode()}
    assert all(reply in content for reply in replies[:20])
    assert [reply for reply in replies[20:] if reply in content and reply not in shown] == []


def test_a_checkpoint_holds_plain_json_alone(recorder: Any) -> None:
    with checkpoints(":memory:") as saver:
        recorder.run(curious, checkpointer=saver)
        states = [each.checkpoint["channel_values"] for each in saver.list(None)]
    assert len(states) > 10
    for state in states:
        assert json.loads(json.dumps(state)) == state
