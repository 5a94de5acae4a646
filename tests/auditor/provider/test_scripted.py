import pytest

from auditor.errors import UsageError
from auditor.investigator.protocol import Move, View
from auditor.provider.scripted import ScriptedPolicy


class Results:
    def items(self, evidence_id: str) -> tuple[dict[str, object], ...]:
        return ({"of": evidence_id},)


def view(turn: int) -> View:
    return View(
        turn=turn, seed=3, tools=(), results=(), hypotheses=(), notes=(), memory={}, remaining={}
    )


def test_a_list_is_played_by_turn() -> None:
    moves = [Move(thought="first"), Move(thought="second")]
    policy = ScriptedPolicy(moves)
    # By turn, not by count, so that a step that runs again plays the same move.
    assert [policy.act(view(turn), Results()) for turn in (0, 1, 1, 0)] == [
        moves[0],
        moves[1],
        moves[1],
        moves[0],
    ]


def test_a_function_sees_the_view_and_the_results() -> None:
    policy = ScriptedPolicy(
        lambda seen, lookup: Move(thought=f"{seen.turn} {seen.seed} {lookup.items('E4')}")
    )
    assert policy.act(view(5), Results()).thought == "5 3 ({'of': 'E4'},)"


def test_a_script_that_is_too_short_says_so() -> None:
    policy = ScriptedPolicy([Move(thought="only")], name="short")
    with pytest.raises(UsageError, match="'short' has 1 moves and turn 2 needs another") as caught:
        policy.act(view(1), Results())
    assert "\n" not in str(caught.value)


def test_the_name_can_be_chosen() -> None:
    assert ScriptedPolicy([]).name == "scripted"
    assert ScriptedPolicy([], name="demo").name == "demo"
