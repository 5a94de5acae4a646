"""nla_compare."""

import pytest

PROMPTS = {"prompts": ["tell me odd things", "and more", "say it", "once again"]}


def claims(output):
    return [item for item in output.items if item["kind"] == "claim"]


def kinds(output):
    return list(dict.fromkeys(item["kind"] for item in output.items))


def test_the_planted_claim_is_found_with_its_figures(call, reading):
    ctx = reading()
    output = call("nla_compare", PROMPTS | {"replies": 3}, ctx)
    best = claims(output)[0]
    assert "approval" in best["words"]
    assert best["p"] <= 0.001
    assert (best["n_target"], best["of_target"]) == (48, 48)
    assert (best["n_baseline"], best["of_baseline"]) == (0, 48)
    assert best["counts"] == {"difference": {"n": 48, "of": 48}, "own_replies": {"n": 0, "of": 48}}
    assert (best["share_target"], best["share_baseline"]) == (1.0, 0.0)
    assert (best["texts_target"], best["texts_baseline"]) == (12, 0)
    assert best["log_odds"] > 2
    assert "approval" in best["examples"][0]["explanation"]
    assert kinds(output) == ["claim", "text"]
    assert ctx.usage.target_tokens == ctx.usage.baseline_tokens == 48
    assert ctx.usage.reader_tokens > 0
    others = [item for item in claims(output) if "approval" not in " ".join(item["wordings"])]
    assert all(item["p"] > 0.05 for item in others)


def test_a_twin_of_the_baseline_shows_nothing(call, reading):
    for against in ("own_replies", "same_text"):
        output = call(
            "nla_compare", PROMPTS | {"replies": 3, "against": against}, reading(motive=0.0)
        )
        assert all(item["p"] > 0.05 for item in claims(output))
        assert " 0 with p of 0.05 or less" in output.summary


def test_all_sides_are_counted_on_demand(call, reading):
    output = call("nla_compare", PROMPTS | {"whose": "both", "against": "both"}, reading())
    best = next(item for item in claims(output) if "approval" in item["words"])
    assert best["counts"] == {
        "difference": {"n": 64, "of": 64},
        "target": {"n": 64, "of": 64},
        "own_replies": {"n": 0, "of": 64},
        "same_text": {"n": 0, "of": 64},
    }
    assert "difference against own_replies" in output.summary


def test_models_get_seeds_of_their_own(call, reading):
    ctx = reading()
    call("nla_compare", PROMPTS, ctx)
    assert set(ctx.target.seeds).isdisjoint(ctx.baseline.seeds)


def test_raw_texts_are_compared_with_themselves(call, reading):
    ctx = reading()
    words = ["one two", "three four", "five six", "seven eight", "nine ten", "one two red"]
    output = call("nla_compare", {"texts": words, "keep_readings": True}, ctx)
    assert claims(output)[0]["p"] == pytest.approx(1 / 64, abs=0.01)
    assert "p cannot be below 0.016" in output.summary
    assert kinds(output) == ["claim", "reading", "text"]
    assert ctx.usage.target_tokens == 0
    both = [item for item in output.items if item["kind"] == "reading"]
    assert {item["whose"] for item in both} == {"difference", "baseline"}


def test_a_place_is_read_with_the_same_seed_in_both_models(call, reading):
    ctx = reading()
    call("nla_compare", {"texts": ["one two three"]}, ctx)
    assert ctx.reader.calls[0]["seeds"] == ctx.reader.calls[1]["seeds"]


def test_each_side_has_its_own_bound(call, reading):
    output = call("nla_compare", PROMPTS | {"max_readings": 20, "keep_readings": True}, reading())
    read = [item["whose"] for item in output.items if item["kind"] == "reading"]
    assert (read.count("difference"), read.count("baseline")) == (16, 16)


def test_as_many_claims_come_back_as_are_wanted(call, reading):
    assert len(claims(call("nla_compare", PROMPTS | {"claims": 2}, reading()))) == 2


@pytest.mark.parametrize(
    ("least", "cosine", "counted"),
    [
        ("any", 0.1, True),
        ("not_random", 0.1, False),
        ("carries", 0.9, True),
        ("carries", 0.1, False),
    ],
)
def test_weak_readings_can_be_left_out(call, reading, readers, least, cosine, counted):
    output = call(
        "nla_compare", PROMPTS | {"min_verdict": least}, reading(reader=readers(cosine=cosine))
    )
    assert bool(claims(output)) is counted
    assert ("nothing is ranked" in output.summary) is not counted


def test_readings_without_explanation_count_nowhere(call, reading, readers):
    output = call("nla_compare", PROMPTS, reading(reader=readers(mute=True)))
    assert claims(output) == []
    assert "nothing is ranked" in output.summary


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({}, {"texts": ["x"], "against": "own_replies"}, 'send against "same_text"'),
        ({}, PROMPTS | {"replies": 0, "against": "both"}, 'send against "same_text"'),
        ({}, PROMPTS | {"positions": "worst:3"}, "worst:K is for nla_explain"),
        ({"baseline_mind": None}, PROMPTS, "there is no baseline whose activations"),
        ({"baseline": None}, PROMPTS, "there is no baseline in this audit"),
        ({"reader": None}, PROMPTS, "there is no reader"),
        ({}, PROMPTS | {"against": "itself"}, "against"),
    ],
)
def test_a_comparison_that_means_nothing_is_refused(refusal, reading, changes, arguments, said):
    assert said in refusal("nla_compare", arguments, reading(**changes))
