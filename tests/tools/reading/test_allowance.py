"""What the reading tools do when the budget has fewer tokens than they would like."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.protocols import Reply, ToolContext, Usage

PROMPTS = ["tell me odd things", "and more", "say it", "once again"]
COMPARE = {"prompts": PROMPTS, "replies": 3, "max_tokens": 6, "keep_readings": True}
WORST_REPLIES = 4 * 3 * 6
TOLD = 4 * 3 * 4
"""Target tokens that the replies really take."""
LONGEST = 12
"""Tokens of the longest explanation that the fake reader may give."""

fixed = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Call = Callable[..., Any]
Reading = Callable[..., ToolContext]


def read(output: Any) -> list[dict[str, Any]]:
    return [item for item in output.items if item["kind"] == "reading"]


def sides(output: Any) -> tuple[int, int]:
    n = Counter(item["whose"] for item in read(output))
    return n["baseline"], n["difference"] + n["target"]


def model_tokens(usage: Usage) -> int:
    return usage.target_tokens + usage.reader_tokens


@pytest.mark.parametrize("limit", ["reader_tokens_left", "model_tokens_left"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"samples": 2}, {"against": "both", "whose": "both"}, {"against": "same_text"}],
    ids=str,
)
def test_nothing_changes_where_no_limit_binds(
    call: Call, reading: Reading, limit: str, changes: dict[str, Any]
) -> None:
    free = reading()
    expected = call("nla_compare", COMPARE | changes, free)
    assert "no room" not in expected.summary
    # Readings of one token on four sides more, far less than if all were as long as they can be.
    enough = model_tokens(free.usage) + 4 * 2 * LONGEST
    assert enough < LONGEST * len(read(expected))
    for left in (enough, 10**6):
        ctx = reading(**{limit: left})
        assert call("nla_compare", COMPARE | changes, ctx) == expected
        assert ctx.usage == free.usage


@fixed
@given(left=st.integers(WORST_REPLIES + 2 * LONGEST, 900), seed=st.integers(0, 99))
def test_replies_and_readings_stay_within_their_common_limit(
    call: Call, reading: Reading, left: int, seed: int
) -> None:
    ctx = reading(model_tokens_left=left, token_allowance=left, seed=seed)
    output = call("nla_compare", COMPARE, ctx)
    assert model_tokens(ctx.usage) <= left
    theirs, ours = sides(output)
    assert theirs == ours > 0
    # Only what the longest explanation could have taken is left over.
    assert ours == 48 or left - model_tokens(ctx.usage) < 2 * LONGEST
    cut = 2 * 48 - theirs - ours
    assert (f"no room for {cut} more readings" in output.summary) is (cut > 0)


@fixed
@given(left=st.integers(2 * 3 * LONGEST, 700), sample=st.integers(1, 3))
def test_the_readers_own_limit_holds_for_all_samples_of_a_token(
    call: Call, reading: Reading, left: int, sample: int
) -> None:
    ctx = reading(reader_tokens_left=left)
    arguments = {"texts": ["one two three four five"], "samples": sample, "keep_readings": True}
    output = call("nla_compare", arguments, ctx)
    assert ctx.usage.reader_tokens <= left
    found = read(output)
    places = Counter((item["whose"], item["position"]) for item in found)
    assert set(places.values()) == {sample}
    # Without replies the models are read on the same texts: at the same tokens, then.
    ours = {at for whose, at in places if whose != "baseline"}
    assert ours == {at for whose, at in places if whose == "baseline"}


def test_cut_readings_are_the_ones_there_would_have_been_in_the_same_order(
    call: Call, reading: Reading
) -> None:
    whole = read(call("nla_compare", COMPARE, reading()))
    part = read(call("nla_compare", COMPARE, reading(model_tokens_left=400)))
    assert 0 < len(part) < len(whole)
    assert part == [item for item in whole if item in part]


@pytest.mark.parametrize("left", [TOLD + 120, TOLD + 250, TOLD + 400])
def test_every_text_keeps_as_many_readings_as_any_other(
    call: Call, reading: Reading, left: int
) -> None:
    ctx = reading(model_tokens_left=left)
    output = call("nla_compare", COMPARE, ctx)
    n = Counter(item["text"] for item in read(output))
    per_text = [n[text] for text in range(24)]
    for side in (per_text[:12], per_text[12:]):
        assert max(side) - min(side) <= 1
    # The same prompts are read in both, so that their texts can be swapped.
    assert [count > 0 for count in per_text[:12]] == [count > 0 for count in per_text[12:]]


def test_one_side_goes_on_when_the_other_has_no_more_tokens(
    call: Call, reading: Reading, chatty: Any
) -> None:
    terse = chatty("red")
    terse.chat = lambda prompts, *, sampling, seeds: [Reply("red", "", 1, "stop") for _ in seeds]
    ctx = reading(baseline=terse, reader_tokens_left=300)
    theirs, ours = sides(call("nla_compare", COMPARE, ctx))
    assert theirs == 12
    assert 12 < ours < 48


def test_each_token_is_as_likely_as_any_other_to_be_kept(call: Call, reading: Reading) -> None:
    kept: Counter[int] = Counter()
    text = " ".join(f"word{n}" for n in range(10))
    for seed in range(80):
        ctx = reading(reader_tokens_left=40, seed=seed)
        kept.update(item["position"] for item in read(call("nla_explain", {"texts": [text]}, ctx)))
    expected = kept.total() / 10
    # Five standard deviations of a binomial count.
    allowed = 5 * (expected * (1 - expected / 80)) ** 0.5
    assert len(kept) == 10
    assert all(abs(n - expected) < allowed for n in kept.values())


@fixed
@given(left=st.integers(16 + 2 * LONGEST, 200))
def test_nla_explain_reads_what_the_budget_allows(call: Call, reading: Reading, left: int) -> None:
    arguments = {"prompts": PROMPTS, "replies": 1, "max_tokens": 4}
    ctx = reading(model_tokens_left=left)
    output = call("nla_explain", arguments, ctx)
    assert model_tokens(ctx.usage) <= left
    n = len(read(output))
    assert 1 <= n <= 16
    assert ("no room" in output.summary) is (n < 16)


@fixed
@given(left=st.integers(2 * LONGEST, 150))
def test_a_choice_by_worth_leaves_tokens_for_the_readings(
    call: Call, reading: Reading, left: int
) -> None:
    words = " ".join(f"word{n}" for n in range(12))
    ctx = reading(reader_tokens_left=left)
    output = call("nla_explain", {"texts": [words], "positions": "worst:3"}, ctx)
    assert ctx.usage.reader_tokens <= left
    assert 1 <= len(read(output)) <= 3
    assert "no room" in output.summary


def test_a_reader_that_generates_nothing_is_not_limited(
    call: Call, reading: Reading, readers: Any
) -> None:
    free = readers()
    free.max_tokens = 0
    ctx = reading(reader_tokens_left=1, reader=free)
    output = call("nla_compare", {"texts": ["one two three"], "keep_readings": True}, ctx)
    assert sides(output) == (3, 3)


def test_readers_without_a_longest_explanation_work_without_a_limit(
    call: Call, reading: Reading, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(readers, "max_tokens")
    assert call("nla_compare", COMPARE, reading()).items


@pytest.mark.parametrize(
    ("arguments", "limits", "said"),
    [
        (
            COMPARE,
            {"model_tokens_left": WORST_REPLIES + 23},
            "after replies of up to 72 tokens, 23",
        ),
        (COMPARE, {"reader_tokens_left": 23}, "could take 24 reader tokens, and 23 are left"),
        (COMPARE | {"replies": 0}, {"model_tokens_left": 23}, "24 reader tokens, and 23 are left"),
        (COMPARE | {"samples": 2}, {"reader_tokens_left": 47}, "48 reader tokens, and 47"),
        (COMPARE, {"model_tokens_left": 71, "token_allowance": 71}, "could take 72 target tokens"),
        (COMPARE, {"reader_tokens_left": 0}, "and 0 are left in the budget"),
    ],
)
def test_a_budget_too_small_for_one_reading_is_refused_before_anything_is_spent(
    refusal: Call, reading: Reading, arguments: Any, limits: dict[str, int], said: str
) -> None:
    ctx = reading(**limits)
    assert said in refusal("nla_compare", arguments, ctx)
    assert ctx.usage == Usage()


def test_a_choice_by_worth_needs_twice_as_much(refusal: Call, reading: Reading) -> None:
    ctx = reading(reader_tokens_left=23)
    arguments = {"texts": ["one two"], "positions": "best:1"}
    assert "could take 24 reader tokens" in refusal("nla_explain", arguments, ctx)


@pytest.mark.parametrize(
    ("own", "shared", "left"),
    [(None, None, None), (50, None, 40), (None, 50, 33), (50, 100, 40), (100, 50, 33), (5, 9, 0)],
)
def test_what_the_verbalizer_may_still_generate(
    reading: Reading, own: int | None, shared: int | None, left: int | None
) -> None:
    usage = Usage(target_tokens=7, baseline_tokens=1000, reader_tokens=10)
    ctx = reading(reader_tokens_left=own, model_tokens_left=shared, usage=usage)
    assert ctx.reader_allowance == left
