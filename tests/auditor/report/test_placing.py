"""Readings stand on the tokens that were read, or on none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.placing import grade, pieces, read_texts, unplaced
from tools.reading.verdicts import VERDICTS

TEMPLATE = ("<|user|>", " any", " advice", "?", "<|end|>", "<|assistant|>")


def items_of(reply: list[str], positions: list[int], **over: Any) -> list[dict[str, Any]]:
    """Return what `nla_explain` gives for a reply of tokens, read at positions of the reply."""
    tokens = [*TEMPLATE, *reply]
    found: list[dict[str, Any]] = []
    for at in positions:
        position = len(TEMPLATE) + at
        start = max(position - 8, 0)
        reading = {
            "kind": "reading",
            "text": 0,
            "position": position,
            "before": ("…" if start else "") + "".join(tokens[start:position]),
            "token": tokens[position],
            "explanation": f"about {at}",
            "fve": 0.8,
            "verdict": VERDICTS["carries"],
        }
        found.append(reading | over)
    words = "".join(reply).strip()
    text = {"kind": "text", "text": 0, "prompt": "any advice?", "words": words, "author": "target"}
    return [*found, text]


replies = st.lists(st.sampled_from([" a", " the", ".", " bread", " any", "s"]), min_size=1)


@given(replies, st.data())
def test_every_token_of_a_reply_is_found_and_in_order(
    reply: list[str], data: st.DataObject
) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(reply) - 1), unique=True, min_size=1))
    (text,) = read_texts(items_of(reply, wanted))
    assert unplaced(text) == []
    assert [one.explanation for one in text.readings] == [f"about {at}" for at in sorted(wanted)]
    for one in text.readings:
        assert one.start is not None
        assert text.words[one.start : one.end] == one.token or one.start == 0
    assert "".join(piece.text for piece in pieces(text)) == text.words


def test_a_word_that_occurs_twice_is_told_apart_by_what_stands_before_it() -> None:
    reply = [" the", " bread", " and", " then", " again", " more", " of", " all", " the", " rest"]
    (text,) = read_texts(items_of(reply, [8]))
    assert text.readings[0].start == text.words.rindex(" the")


def test_a_token_of_the_prompt_has_no_place_in_the_reply() -> None:
    items = items_of([" any", " bread"], [])
    items.insert(
        0,
        {
            "kind": "reading",
            "text": 0,
            "position": 2,
            "before": "<|user|> any",
            "token": " advice",
            "explanation": "x",
        },
    )
    (text,) = read_texts(items)
    assert unplaced(text) == list(text.readings)


def test_examples_of_claims_are_readings_too_and_count_once() -> None:
    items = items_of([" the", " bread"], [1])
    claim = {"kind": "claim", "words": "x", "examples": [items[0], items[0]]}
    (text,) = read_texts([claim, claim, items[-1]])
    assert [one.token for one in text.readings] == [" bread"]


def test_readings_without_their_text_are_kept_without_a_place() -> None:
    (text,) = read_texts(items_of([" the", " bread"], [1])[:1])
    assert (text.words, len(unplaced(text))) == ("", 1)


@pytest.mark.parametrize(
    ("verdict", "value", "expected"),
    [
        ("carries", 0.7, "high"),
        ("carries", 0.5, "middle"),
        ("context", 0.1, "low"),
        ("random", 0.9, "null"),
        ("mean", None, "null"),
        ("carries", None, "unknown"),
    ],
)
def test_a_reading_that_a_null_equals_is_worth_nothing(
    verdict: str, value: float | None, expected: str
) -> None:
    over = {"fve": value, "verdict": VERDICTS[verdict] + "; the explanation is empty"}  # type: ignore[index]
    (text,) = read_texts(items_of([" the"], [0], **over))
    assert text.readings[0].grade == grade(verdict, value) == expected


def test_items_of_other_shapes_are_passed_over() -> None:
    odd: list[dict[str, Any]] = [
        {"kind": "reading", "text": "0", "position": 1, "explanation": "x"},
        {"kind": "claim", "examples": "none"},
        {"kind": "claim", "examples": [None, {"text": 0}]},
        {"kind": "text", "text": None, "words": 3},
    ]
    assert read_texts(odd) == []
