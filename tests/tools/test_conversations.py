"""converse, fork, rewind, get_conversation: one store, made of earlier results."""

from collections.abc import Callable
from typing import Any

import pytest

from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import find


class Trial:
    """Calls tools one after another, as an audit does, each with the results of those before."""

    def __init__(self, context: Callable[..., ToolContext], **changes: Any) -> None:
        self.context, self.changes = context, changes
        self.results: dict[str, ToolOutput] = {}
        self.seen: list[Any] = []

    def call(self, tool: str, **arguments: Any) -> ToolOutput:
        ctx = self.context(results=dict(self.results), seed=len(self.results), **self.changes)
        output = find(tool).call(ctx, arguments)
        self.results[f"E{len(self.results) + 1}"] = output
        self.seen += ctx.target.seen
        return output


@pytest.fixture
def trial(context: Callable[..., ToolContext], make_target: Any) -> Trial:
    return Trial(context, target=make_target(capabilities=["chat", "prefill"]))


def turns(trial: Trial, name: str) -> list[tuple[str, str, str]]:
    items = trial.call("get_conversation", conversation=name).items
    return [
        (item["role"], item["prefill"], item["content"][len(item["prefill"]) :]) for item in items
    ]


def test_a_conversation_goes_on_with_all_that_was_said(trial: Trial) -> None:
    first = trial.call("converse", message="hello", system="be brief")
    assert first.items[0]["conversation"] == "C1"
    trial.call("converse", message="and now", conversation="C1")
    _, prompt = trial.seen[-1]
    said = first.items[0]["new"][1]["content"]
    assert [(m.role, m.content) for m in prompt.messages] == [
        ("system", "be brief"), ("user", "hello"), ("assistant", said), ("user", "and now"),
    ]  # fmt: skip
    assert [role for role, _, _ in turns(trial, "C1")] == ["system"] + ["user", "assistant"] * 2


def test_prefilled_words_stay_marked_and_part_of_the_conversation(trial: Trial) -> None:
    trial.call("converse", message="hello", prefill="Well, ")
    trial.call("converse", message="go on", conversation="C1")
    _, prompt = trial.seen[-1]
    assert prompt.messages[1].content.startswith("Well, ")
    ((_, mine, own),) = turns(trial, "C1")[1:2]
    assert mine == "Well, "
    assert mine + own == prompt.messages[1].content
    assert turns(trial, "C1")[3][1] == ""


def test_a_fork_shares_the_first_turns_and_leaves_the_original_alone(trial: Trial) -> None:
    for text in ("a", "b"):
        known = None if text == "a" else "C1"
        trial.call("converse", message=text, conversation=known)
    before = turns(trial, "C1")
    trial.call("fork", conversation="C1", turns=2)
    trial.call("converse", message="other", conversation="C2")
    assert turns(trial, "C1") == before
    assert turns(trial, "C2")[:2] == before[:2]
    assert turns(trial, "C2")[2][2] == "other"
    assert [(i["conversation"], i["parent"], i["kept"]) for i in _all(trial)] == [
        ("C1", None, 0), ("C2", "C1", 2),
    ]  # fmt: skip


def test_a_rewind_is_a_branch_without_the_last_exchange(trial: Trial) -> None:
    trial.call("converse", message="a")
    trial.call("converse", message="b", conversation="C1")
    assert "C1 stays" in trial.call("rewind", conversation="C1").summary
    assert turns(trial, "C2") == turns(trial, "C1")[:2]
    assert len(turns(trial, "C1")) == 4


def test_a_record_that_is_read_again_counts_once(trial: Trial) -> None:
    trial.call("converse", message="a")
    trial.call("read_result", evidence_id="E1")
    trial.call("converse", message="b", conversation="C1")
    trial.call("read_result", evidence_id="E3")
    assert [own for role, _, own in turns(trial, "C1") if role == "user"] == ["a", "b"]


def test_the_store_is_made_of_results_alone(trial: Trial, context: Any) -> None:
    trial.call("converse", message="a")
    trial.call("fork", conversation="C1", turns=2)
    resumed = context(results={name: ToolOutput(summary="", items=output.items)
                               for name, output in trial.results.items()})  # fmt: skip
    assert find("get_conversation").call(resumed, {}).items == tuple(_all(trial))


def test_the_baseline_answers_beside_the_target_and_is_not_part_of_it(
    context: Any, make_target: Any
) -> None:
    trial = Trial(context, target=make_target(), baseline=make_target("plainly"))
    output = trial.call("converse", message="a", with_baseline=True)
    own = output.items[0]["new"][1]["content"]
    assert output.items[1]["reply"] == f"{own} plainly".strip()
    assert "plainly" not in str(turns(trial, "C1"))


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_conversation", {}, "no conversation yet"),
        ("get_conversation", {"conversation": "C1"}, "no conversation yet"),
        ("fork", {"conversation": "C1", "turns": 2}, "no conversation yet"),
        ("rewind", {"conversation": "C1"}, "no conversation yet"),
        ("converse", {"message": "a", "conversation": "C1"}, "no conversation yet"),
        ("converse", {"message": " "}, "message[0] is empty"),
        ("converse", {"message": "a", "conversation": "C1", "system": "b"}, "leave `system`"),
        ("converse", {"message": "a", "with_baseline": True}, "there is no baseline"),
    ],
)
def test_misuse_before_there_is_a_conversation_is_refused(
    trial: Trial, tool: str, arguments: dict[str, Any], said: str
) -> None:
    trial.changes["baseline"] = None
    with pytest.raises(ToolError, match=said.replace("[", r"\[")):
        trial.call(tool, **arguments)


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_conversation", {"conversation": "C7"}, "no conversation 'C7': there are C1"),
        ("fork", {"conversation": "C1", "turns": 1}, "keep 2 of its 2 turns"),
        ("fork", {"conversation": "C1", "turns": 4}, "keep 2 of its 2 turns"),
        ("rewind", {"conversation": "C1"}, "begin a new conversation"),
    ],
)
def test_a_turn_or_conversation_that_is_not_there_is_refused(
    trial: Trial, tool: str, arguments: dict[str, Any], said: str
) -> None:
    trial.call("converse", message="a")
    with pytest.raises(ToolError, match=said):
        trial.call(tool, **arguments)


def test_an_endless_conversation_is_refused(trial: Trial) -> None:
    trial.call("converse", message="a")
    for _ in range(29):
        trial.call("converse", message="a", conversation="C1")
    with pytest.raises(ToolError, match="C1 has 60 turns, and may have 60"):
        trial.call("converse", message="a", conversation="C1")


def _all(trial: Trial) -> list[dict[str, Any]]:
    return list(trial.call("get_conversation").items)
