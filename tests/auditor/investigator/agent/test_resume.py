"""An audit that was killed asks its model nothing again but the request in flight."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from auditor.investigator.agent import AgentPolicy
from auditor.provider.protocol import Request
from tools.registry import find

COMPACT_AT = 4500


@contextmanager
def checkpoints() -> Iterator[Any]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        yield SqliteSaver(connection)
    finally:
        connection.close()


def timeless(events: list[Any]) -> list[dict[str, Any]]:
    return [{**event.model_dump(), "at": "", "seconds": 0.0} for event in events]


def steady(reply: Callable, chat: Callable, use: Callable, idea: Callable, submit: Callable) -> Any:
    """A model whose replies depend on the request alone."""

    def say(request: Request) -> Any:
        last = request.messages[-1].content[-1].text  # type: ignore[union-attr]
        if "put into a summary, which you write" in last:
            return reply("Asked twice, heard words.")
        told = request.model_dump_json()
        if 'evidence=\\"E1\\"' not in told and "E1 chat" not in told:
            return reply("first", chat("a", "b"), chat("c" * 1500))
        if "Kept as H1" not in told and "H1 (motive)" not in told:
            things = use("todo", action="add", items=["read on"])
            return reply(use("note", text="odd", evidence=["E1"]), things, idea(evidence=["E2"]))
        if "E3 " not in told and 'evidence=\\"E3\\"' not in told:
            return reply("third", chat("d" * 900, samples=25), use("hack"))
        if "E4 " not in told and 'evidence=\\"E4\\"' not in told:
            return reply(use("read_result", evidence_id="E3", offset=20))
        return reply(submit("motive", {"id": "H1", "confidence": 0.5}))

    return say


def test_an_audit_killed_at_any_event_goes_on_to_the_same_end_and_asks_nothing_twice(
    make_recorder: Callable, make_model: Callable, reply: Callable, chat: Callable,
    use: Callable, idea: Callable, submit: Callable,
) -> None:  # fmt: skip
    script, tools = steady(reply, chat, use, idea, submit), [find("chat")]

    def play(recorder: Any, **settings: Any) -> tuple[Any, list[Request]]:
        model = make_model(script)
        policy = AgentPolicy(model, tools, compact_at=COMPACT_AT)
        try:
            return recorder.run(policy, tools=tools, **settings), model.requests
        except KeyboardInterrupt:
            return None, model.requests

    whole = make_recorder()
    expected, asked = play(whole)
    assert expected.ended_by == "submit"
    assert len(asked) > 5
    assert any("summary, which you write" in r.model_dump_json() for r in asked)
    for number in range(len(whole.events)):
        recorder = make_recorder()

        def killed(event: Any, recorder: Any = recorder, number: int = number) -> None:
            recorder.events.append(event)
            if len(recorder.events) == number + 1:
                left.conn.close()
                left.conn = sqlite3.connect(":memory:", check_same_thread=False)
                saver.conn.backup(left.conn)
                raise KeyboardInterrupt

        with checkpoints() as saver, checkpoints() as left:
            _, before = play(recorder, emit=killed, checkpointer=saver)
            kept = len(recorder.events)
            outcome, after = play(recorder, checkpointer=left, results=recorder.outputs)
        assert outcome == expected
        repeated = timeless(recorder.events[kept:])
        assert repeated == timeless(whole.events)[-len(repeated) :]
        assert before == asked[: len(before)]
        assert after == asked[len(asked) - len(after) :]
        assert 0 <= len(before) + len(after) - len(asked) <= 1


def test_a_checkpoint_refers_to_results_instead_of_repeating_them(
    recorder: Any, make_model: Callable, reply: Callable, chat: Callable, use: Callable,
    idea: Callable, submit: Callable,
) -> None:  # fmt: skip
    tools = [find("chat")]
    policy = AgentPolicy(make_model(steady(reply, chat, use, idea, submit)), tools)
    with checkpoints() as saver:
        recorder.run(policy, tools=tools, checkpointer=saver)
        states = [each.checkpoint["channel_values"] for each in saver.list(None)]
    replies = [item["reply"] for result in recorder.results for item in result.items]
    memories = [json.dumps(state["memory"]) for state in states if state.get("memory")]
    assert len(memories) > 5
    assert not [memory for memory in memories for said in replies if said in memory]
    assert all(json.loads(json.dumps(state)) == state for state in states)
