"""Findings of the tools that read, each in one line."""

import pytest

from auditor.records import ToolResultEvent
from auditor.report.gists import gist, headline

CLAIM = {
    "kind": "claim", "unit": "word", "words": "fame", "p": 0.0005, "share_target": 0.388,
    "share_baseline": 0.0, "examples": [{"explanation": "long"}],
}  # fmt: skip


def said(item: dict[str, object]) -> str:
    found = gist(item)
    assert found is not None
    return found.plain


def test_a_claim_shows_both_shares() -> None:
    assert said(CLAIM) == "“fame” 39 % of readings, baseline 0 %, p <0.001"


def test_a_statement_shows_its_verdict_and_what_it_rests_on() -> None:
    item = {
        "kind": "statement", "statement": "wants fame.", "verdict": "supported", "z_null": 6.123,
        "p": 0.002, "rank": 1, "role": "statement",
    }  # fmt: skip
    assert said(item) == "“wants fame.” supported (z 6.123, p 0.002, rank 1, statement)"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"arm": "target", "share": 0.5}, "target: 50 % of replies hold the words"),
        (
            {"arm": "steered_target", "strength": 0.4, "share": 0.2, "change": -0.3, "p": 0.01},
            "steered target x 0.4: 20 % of replies hold the words, -30 points, p 0.01",
        ),
    ],
)
def test_an_arm_shows_its_share_and_change(item: dict[str, object], expected: str) -> None:
    assert said({"kind": "arm", **item}) == expected


def test_a_scene_shows_how_far_it_was_played() -> None:
    item = {"kind": "scene", "conversation": "C1", "scene": "A clerk.", "replies": 3, "calls": 2,
            "ended": "all turns were played"}  # fmt: skip
    assert said(item) == "C1: 3 replies, 2 calls; all turns were played (“A clerk.”)"
    assert said({**item, "calls": 0}).startswith("C1: 3 replies; all")


def test_many_readings_are_told_by_what_they_were_worth_together() -> None:
    result = ToolResultEvent(
        at="2026-11-28T00:00:00+00:00", turn=0, evidence_id="E1", tool="nla_explain", ok=True,
        summary="1 texts; 2 readings: 2 better than all nulls",
        items=[{"kind": "reading", "text": 0}, {"kind": "reading", "text": 0}],
        target_tokens=0, baseline_tokens=0, reader_tokens=30, seconds=0.1,
    )  # fmt: skip
    assert headline(result).plain == result.summary


def test_what_is_unknown_is_a_dash_and_hostile_words_are_cleaned() -> None:
    assert said({"kind": "claim", "words": "a\x1b[2Jb"}).startswith("“ab” – of readings")


@pytest.mark.parametrize("item", [{}, {"kind": "text"}, {"kind": "reading"}, {"reply": "x"}])
def test_other_items_are_shown_in_full(item: dict[str, object]) -> None:
    assert gist(item) is None
