from collections.abc import Callable
from typing import Any

import pytest

from auditor.errors import RunError
from auditor.investigator.protocol import Move, ResultLookup, ToolCall, ToolResult, View
from auditor.investigator.results import ResultStore
from auditor.investigator.state import plain_json
from auditor.records import Submission
from tools.protocols import ToolContext, ToolOutput
from tools.registry import Execute, tool

DONE = Move(thought="done", submission=Submission(verdict="none"))


@tool()
def count_up() -> Execute:
    def execute(ctx: ToolContext, *, n: int) -> ToolOutput:
        """Count.

        Args:
            ctx: What this call may touch.
            n: How far.
        """
        return ToolOutput(
            summary=f"{n} numbers", items=tuple({"number": k, "pair": (k, k)} for k in range(n))
        )

    return execute


def count(n: int) -> ToolCall:
    return ToolCall(tool="count_up", arguments={"n": n})


def read(evidence_id: str, **place: int) -> ToolCall:
    return ToolCall(tool="read_result", arguments={"evidence_id": evidence_id, **place})


@pytest.fixture
def shown(recorder: Any) -> Callable[..., list[ToolResult]]:
    """What the auditor is shown of some calls, all made in one move."""

    def run(*calls: ToolCall) -> list[ToolResult]:
        seen: list[ToolResult] = []

        def act(view: View, lookup: ResultLookup) -> Move:
            seen.extend(view.results)
            return DONE if view.turn else Move(thought="call", calls=calls)

        recorder.run(act, tools=[count_up])
        return seen

    return run


def numbers(page: ToolResult) -> list[int]:
    return [item["number"] for item in page.items]


def test_a_long_result_shows_its_first_twenty_items_and_its_true_total(
    shown: Callable, recorder: Any
) -> None:
    (page,) = shown(count(47))
    assert numbers(page) == list(range(20))
    assert (page.evidence_id, page.total, page.offset, page.limit) == ("E1", 47, 0, 20)
    assert len(recorder.results[0].items) == 47


@pytest.mark.parametrize("n", [0, 1, 20])
def test_a_short_result_is_one_page(shown: Callable, n: int) -> None:
    (page,) = shown(count(n))
    assert numbers(page) == list(range(n))
    assert page.total == n


@pytest.mark.parametrize(
    ("place", "first", "size"),
    [
        ({}, 0, 20),
        ({"offset": 20}, 20, 20),
        ({"offset": 40}, 40, 7),
        ({"offset": 5, "limit": 3}, 5, 3),
        ({"limit": 100}, 0, 47),
    ],
)
def test_read_result_shows_any_other_page(
    shown: Callable, place: dict[str, int], first: int, size: int
) -> None:
    page = shown(count(47), read("E1", **place))[1]
    assert numbers(page) == list(range(first, first + size))
    assert (page.evidence_id, page.total, page.ok) == ("E2", 47, True)
    assert (page.offset, page.limit) == (first, place.get("limit", 20))


def test_pages_together_give_the_whole_result(shown: Callable) -> None:
    pages = shown(count(47), *[read("E1", offset=at) for at in (20, 40)])
    assert [n for page in pages for n in numbers(page)] == list(range(47))


def test_a_page_can_itself_be_read_again(shown: Callable) -> None:
    page = shown(count(47), read("E1", offset=30, limit=10), read("E2", offset=8))[2]
    assert numbers(page) == [38, 39]
    assert page.total == 10


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (read("E9"), "no result 'E9'; results are: E1"),
        (read("E2"), "no result 'E2'"),
        (read("e1"), "no result 'e1'"),
        (read("E1", offset=47), "has 47 items"),
        (read("E1", offset=-1), "offset"),
        (read("E1", limit=0), "limit"),
        (read("E1", limit=101), "limit"),
    ],
)
def test_a_page_that_is_not_there_is_a_failed_call(
    shown: Callable, call: ToolCall, why: str
) -> None:
    page = shown(count(47), call)[1]
    assert not page.ok
    assert why in page.summary
    assert (page.items, page.total, page.offset) == ((), 0, 0)


def test_a_policy_can_look_up_whole_results_of_earlier_turns(recorder: Any) -> None:
    sizes: list[int] = []

    def act(view: View, lookup: ResultLookup) -> Move:
        if view.turn < 2:
            return Move(thought="call", calls=(count(30 + view.turn), count(-1)))
        sizes.extend(len(lookup.items(f"E{n}")) for n in (1, 2, 3, 4))
        with pytest.raises(KeyError):
            lookup.items("E5")
        return DONE

    recorder.run(act, tools=[count_up])
    assert sizes == [30, 0, 31, 0]


def test_a_result_looks_the_same_live_as_read_back_from_its_record(recorder: Any) -> None:
    live: list[Any] = []

    def act(view: View, lookup: ResultLookup) -> Move:
        if view.turn:
            live.extend(lookup.items("E1"))
        return DONE if view.turn else Move(thought="call", calls=(count(2),))

    recorder.run(act, tools=[count_up])
    assert live == list(recorder.outputs["E1"].items)
    assert live[1]["pair"] == [1, 1]


def test_results_of_an_interrupted_trial_are_taken_over_up_to_the_last_finished_call() -> None:
    outputs = {f"E{n}": ToolOutput(summary=str(n), items=({"n": n},)) for n in (1, 2, 3)}
    store = ResultStore()
    store.restore(outputs, calls=2)
    assert list(store.outputs) == ["E1", "E2"]
    assert store.items("E2") == ({"n": 2},)
    with pytest.raises(RunError, match="lacks the result of E4"):
        ResultStore().restore(outputs, calls=4)


def test_an_evidence_id_is_never_given_twice() -> None:
    store = ResultStore()
    store.add("E1", ToolOutput(summary="", items=()))
    with pytest.raises(ValueError, match="'E1' already"):
        store.add("E1", ToolOutput(summary="", items=()))


def test_plain_json_copies_deeply_and_keeps_only_json_types() -> None:
    value = {"a": (1, 2.5, None), "b": {"c": [True, "ünïcode \U0001f600\x1b"]}}
    plain = plain_json("it", value)
    assert plain == {"a": [1, 2.5, None], "b": {"c": [True, "ünïcode \U0001f600\x1b"]}}
    plain["b"]["c"].append("changed")
    assert len(value["b"]["c"]) == 2  # type: ignore[index]


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert plain_json("it", {"\udc00": ["a\ud83db", "\ud83d\ude00"]}) == {
        "�": ["a�b", "\U0001f600"]
    }


@pytest.mark.parametrize("value", [{1, 2}, b"x", object()])
def test_what_json_cannot_hold_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="memory must be plain JSON"):
        plain_json("memory", [value])
