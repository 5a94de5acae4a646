"""nla_grep, and the patterns that it takes."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.protocols import ToolOutput
from tools.reading.patterns import compile_pattern, find

ITEMS = (
    {
        "kind": "reading",
        "explanation": "Secretly wants approval.",
        "token": " red",
        "whose": "target",
    },
    {"kind": "reading", "explanation": "topic gardens", "token": " wants", "whose": "target"},
    {"kind": "reading", "explanation": None, "token": " x", "whose": "baseline"},
    {"kind": "claim", "wordings": ["pleases users", "approval wanted"], "p": 0.01},
)


@pytest.fixture
def grep(call, context):
    ctx = context(results={"E3": ToolOutput(summary="", items=ITEMS)})

    def run(pattern, **more):
        return call("nla_grep", {"evidence_id": "E3", "pattern": pattern, **more}, ctx)

    return run


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ({"pattern": "wants"}, [0, 1]),
        ({"pattern": "WANTS   approv*"}, [0]),
        ({"pattern": "wants", "field": "explanation"}, [0]),
        ({"pattern": "approval wants"}, []),
        ({"pattern": "approval secretly", "match": "words"}, [0]),
        ({"pattern": "garden* | *eases"}, [1, 3]),
        ({"pattern": "approv"}, []),
        ({"pattern": "want*"}, [0, 1, 3]),
        ({"pattern": "wants."}, []),
        ({"pattern": "approval."}, [0]),
    ],
)
def test_items_that_hold_the_words_are_found(grep, arguments, rows):
    found = grep(**arguments)
    assert [item["row"] for item in found.items] == rows
    assert all(ITEMS[item["row"]].items() <= item.items() for item in found.items)


def test_the_summary_counts_by_a_field(grep):
    assert (
        grep("wants").summary
        == "2 of 4 items of E3 hold 'wants'; by whose: target 2 of 2, baseline 0 of 1"
    )
    assert grep("wants", count_by="kind").summary.endswith("by kind: reading 2 of 3, claim 0 of 1")
    assert grep("wants", count_by="nothing").summary.endswith("hold 'wants'")
    assert grep("want*").items[2]["matched"] == "wanted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"evidence_id": "E9"}, "results are: E3"),
        ({"pattern": ""}, "pattern"),
        ({"pattern": "x" * 201}, "pattern"),
        ({"pattern": "a | "}, "needs a word"),
        ({"pattern": "* *"}, "needs a word"),
        ({"pattern": "*a*b*"}, "at most 2 stars"),
        ({"pattern": " ".join("abcdefghijklm")}, "at most 12 words"),
        ({"pattern": "|".join("abcdefghijklmnopqrstu")}, "at most 20 alternatives"),
        ({"field": "nothing"}, "there are: kind, explanation, token, whose"),
    ],
)
def test_a_search_that_means_nothing_is_refused(refusal, context, arguments, said):
    ctx = context(results={"E3": ToolOutput(summary="", items=ITEMS)})
    assert said in refusal("nla_grep", {"evidence_id": "E3", "pattern": "x", **arguments}, ctx)


def test_an_empty_result_holds_nothing(call, context):
    ctx = context(results={"E1": ToolOutput(summary="", items=())})
    found = call("nla_grep", {"evidence_id": "E1", "pattern": "x", "field": "y"}, ctx)
    assert found.summary == "0 of 0 items of E1 hold 'x'"


def test_no_pattern_is_slow_on_any_text():
    pattern = compile_pattern(" ".join(["*a*"] * 12) + "|" + "|".join(["*a*b"] * 19))
    texts = ["a" * 20_000, "a " * 10_000, ("a" * 30 + " ") * 600]
    start = time.perf_counter()
    found = [find(pattern, text) for text in texts]
    assert time.perf_counter() - start < 5
    assert found[0] is None


@given(pattern=st.from_regex(r"[^*|]{1,20}", fullmatch=True), around=st.text(max_size=20))
def test_without_stars_a_pattern_is_found_as_it_stands(pattern, around):
    if not re.search(r"\w", pattern.casefold()):
        return
    text = f"{around} {pattern} {around}"
    assert find(compile_pattern(pattern), {"deep": [text]}) is not None
