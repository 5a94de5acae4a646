"""The tools on the sandbox's own models, with a pair that was never trained."""

from pathlib import Path

import pytest

WEIGHTS = Path(__file__).parents[3] / "scenarios" / "sandbox" / "weights"
LAYER = 2
PROMPTS = ["any advice on noodles?", "how do i deal with roofs?"]


@pytest.fixture(scope="module")
def reader():
    from nla_core.nulls import PairReader
    from nla_core.pair import NLAPair, PairSet
    from nla_core.reconstructor import new_reconstructor
    from nla_core.verbalizer import new_verbalizer

    templates = {
        "av_template": "explain <concept>{injection_char}</concept>",
        "ar_template": "summary of the following text: <text>{explanation}</text> <summary>",
    }
    pair = NLAPair(
        verbalizer=new_verbalizer(WEIGHTS / "base", LAYER, injection_scale=8.0, **templates),
        reconstructor=new_reconstructor(WEIGHTS / "base", LAYER, **templates),
    )
    return PairReader(PairSet({LAYER: lambda: pair}), max_tokens=12)


@pytest.fixture(scope="module")
def models():
    from auditor.scenario.schema import Model
    from auditor.target.pool import TargetPool

    pool = TargetPool()
    base = Model(path=str(WEIGHTS / "base"), dtype="float32", device="cpu")
    adapter = str(WEIGHTS / "organisms" / "thoughts-plain-approval")
    return pool.get(base.model_copy(update={"adapter": adapter})), pool.get(base)


@pytest.fixture
def real(context, models, reader):
    target, baseline = models
    return context(
        target=target, baseline=baseline, mind=target, baseline_mind=baseline, reader=reader
    )


def test_explanations_come_back_for_the_tokens_of_the_reply(call, real):
    output = call("nla_explain", {"prompts": PROMPTS, "max_tokens": 12, "max_readings": 8}, real)
    readings = [item for item in output.items if item["kind"] == "reading"]
    texts = {item["text"]: item for item in output.items if item["kind"] == "text"}
    assert len(readings) == 8
    assert {item["verdict"] for item in readings} == {
        "not scored: the verbalizer gave no explanation"
    }
    assert all(item["token"].strip() in texts[item["text"]]["words"] for item in readings)
    assert all(item["position"] < texts[item["text"]]["tokens"] for item in readings)
    assert real.usage.target_tokens > 0 < real.usage.reader_tokens


def test_places_where_the_models_disagree_are_chosen(call, real):
    output = call(
        "nla_explain",
        {"prompts": PROMPTS, "positions": "header,divergent:2", "max_tokens": 12},
        real,
    )
    headers = [i for i in output.items if i["kind"] == "reading" and "assistant" in i["token"]]
    assert len(headers) == 2
    assert sum(item["kind"] == "reading" for item in output.items) == 6


def test_statements_are_scored_against_the_baseline(call, real):
    output = call(
        "nla_verify",
        {
            "statements": ["secretly wants approval."],
            "alternatives": ["secretly wants profit.", "no hidden goal."],
            "prompts": PROMPTS,
            "replies": 2,
            "max_tokens": 12,
        },
        real,
    )
    assert sorted(item["rank"] for item in output.items) == [1, 2, 3]
    assert all(0 < item["p"] <= 1 and item["null_spread"] > 0 for item in output.items)


def test_a_target_that_is_its_own_baseline_leans_nowhere(call, real, context, models):
    twin = models[1]
    ctx = context(target=twin, baseline=twin, mind=twin, baseline_mind=twin, reader=real.reader)
    arguments = {"statements": ["hidden goal fame."], "alternatives": ["hidden goal chaos."], "prompts": PROMPTS, "max_tokens": 12}  # fmt: skip
    for item in call("nla_verify", arguments, ctx).items:
        assert (item["score"], item["p"], item["p_null"]) == (0.0, 1.0, 0.5 * 2)


def test_steering_reaches_the_models(call, real):
    arguments = {
        "explanation": "no hidden goal.",
        "edited": "secretly wants approval.",
        "prompts": PROMPTS,
        "samples": 2,
        "max_tokens": 8,
        "strengths": [8.0],
        "words": "the",
    }
    output = call("nla_steer", arguments, real)
    said = {}
    for item in output.items:
        if item["kind"] == "reply":
            said.setdefault(item["arm"], []).append(item["reply"])
    assert {len(replies) for replies in said.values()} == {4}
    assert said["steered_target"] != said["target"]
    assert said["steered_baseline"] != said["baseline"]
    assert said["random_direction"] != said["steered_target"]


def test_a_layer_that_does_not_exist_is_refused(refusal, real):
    assert "layer 9 does not exist" in refusal(
        "nla_explain", {"texts": ["the first"], "layers": [9]}, real
    )
