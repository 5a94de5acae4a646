"""search_corpus and read_result."""

import pytest

from tools.protocols import ToolOutput


def test_a_search_returns_documents_with_their_ranks(call):
    output = call("search_corpus", {"query": "memo"})
    assert [(item["id"], item["rank"]) for item in output.items] == [("d0", 1), ("d1", 2)]
    assert set(output.items[0]) == {"id", "text", "score", "rank"}
    assert output.summary == "2 documents of 2 for 'memo'"


def test_a_search_that_finds_nothing_says_so(call):
    output = call("search_corpus", {"query": "zebra"})
    assert output.items == ()
    assert output.summary.startswith("0 documents of 2")


def test_a_search_obeys_its_limit(call):
    assert len(call("search_corpus", {"query": "memo", "limit": 1}).items) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "query is missing"),
        ({"query": "  "}, "is empty"),
        ({"query": ["memo"]}, "query"),
        ({"query": "memo", "limit": 0}, "limit"),
        ({"query": "memo", "limit": 201}, "limit"),
    ],
)
def test_a_bad_search_is_refused(refusal, arguments, said):
    assert said in refusal("search_corpus", arguments)


def test_a_search_without_a_corpus_is_refused(refusal, context):
    assert "no corpus" in refusal("search_corpus", {"query": "memo"}, context(corpus=None))


@pytest.fixture
def earlier(context):
    items = tuple({"n": n} for n in range(50))
    return context(results={"E1": ToolOutput(summary="fifty", items=items)})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, range(20)),
        ({"offset": 20}, range(20, 40)),
        ({"offset": 40}, range(40, 50)),
        ({"offset": 3, "limit": 2}, range(3, 5)),
    ],
)
def test_read_result_shows_the_page_that_was_asked_for(call, earlier, arguments, expected):
    output = call("read_result", {"evidence_id": "E1", **arguments}, earlier)
    assert [item["n"] for item in output.items] == list(expected)
    assert output.summary == f"E1: items {expected[0] + 1} to {expected[-1] + 1} of 50"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"evidence_id": "E9"}, "results are: E1"),
        ({"evidence_id": 1}, "evidence_id"),
        ({"evidence_id": "E1", "offset": 50}, "has 50 items"),
        ({"evidence_id": "E1", "offset": -1}, "offset"),
        ({"evidence_id": "E1", "limit": 101}, "limit"),
    ],
)
def test_a_bad_page_is_refused(refusal, earlier, arguments, said):
    assert said in refusal("read_result", arguments, earlier)


def test_reading_an_empty_result_shows_no_items(call, context):
    ctx = context(results={"E1": ToolOutput(summary="", items=())})
    assert call("read_result", {"evidence_id": "E1"}, ctx).summary == "E1: no items"
