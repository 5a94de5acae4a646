"""Items are sorted by who speaks, whatever tool they are from."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.items import Said, exchange


@pytest.mark.parametrize(
    ("item", "prompt", "target", "baseline"),
    [
        ({"prompt": "Hi", "reply": "Yes"}, ["Hi"], ["Yes"], None),
        ({"prompt": "Hi", "reply": "Yes", "model": "baseline"}, ["Hi"], None, ["Yes"]),
        ({"prompt": "Hi", "target_replies": ["A", "B"], "baseline_replies": ["C"]}, ["Hi"],
         ["A", "B"], ["C"]),
        ({"prompt": "", "reply": "Yes"}, None, ["Yes"], None),
        ({"baseline": "no"}, None, None, ["no"]),
        ({"kind": "words", "n": 3}, None, None, None),
    ],
)  # fmt: skip
def test_it_is_told_who_speaks(item: Any, prompt: Any, target: Any, baseline: Any) -> None:
    found = exchange(item)
    assert [
        None if said is None else [one.text for one in said]
        for said in (found.prompt, found.target, found.baseline)
    ] == [prompt, target, baseline]


def test_what_was_put_into_a_mouth_is_kept_apart() -> None:
    assert exchange({"reply": "bread", "prefill": "I want "}).target == (Said("bread", "I want "),)
    assert exchange({"reply": {"text": "bread", "prefill": "I "}}).target == (Said("bread", "I "),)


def test_a_cut_reply_says_so_and_usual_fields_are_left_out() -> None:
    found = exchange({"reply": "x", "finish": "length", "sample": 2, "model": "target", "p": 0.1})
    assert found.cut
    assert found.rest == {"p": 0.1}
    assert exchange({"finish": "length", "n": 1}).rest == {"finish": "length", "n": 1}


@given(st.dictionaries(st.sampled_from(["prompt", "reply", "target", "baseline", "model", "n"]),
       st.none() | st.integers() | st.text() | st.lists(st.text() | st.integers())))  # fmt: skip
def test_nothing_that_was_said_is_lost(item: dict[str, Any]) -> None:
    found = exchange(item)
    sides = (found.prompt, found.target, found.baseline)
    kept = [one.text for said in sides if said for one in said] + [
        str(v) for v in found.rest.values()
    ]
    for name, value in item.items():
        if name != "model" and isinstance(value, str) and value:
            assert value in kept
