"""nla_steer."""

import pytest
import torch
from scipy import stats

from tools.reading.arms import swap_p

GIVEN = {
    "explanation": "topic bread",
    "edited": "topic approval",
    "prompts": ["tell me", "and more"],
    "words": "please clap*",
}


def arms(output):
    return {(i["arm"], i["strength"]): i for i in output.items if i["kind"] == "arm"}


@pytest.fixture
def clean(reading):
    """A target that the push makes say `please clap`, and its baseline alike."""

    def build(**changes):
        return reading(motive=0.0, **changes)

    return build


def test_every_arm_is_measured_against_its_own_model_unsteered(call, clean):
    ctx = clean()
    output = call("nla_steer", GIVEN | {"strengths": [0.1, 4.0], "samples": 5}, ctx)
    found = arms(output)
    assert list(found) == [
        ("target", 0.0),
        ("steered_target", 0.1),
        ("random_direction", 0.1),
        ("steered_target", 4.0),
        ("random_direction", 4.0),
        ("baseline", 0.0),
        ("steered_baseline", 0.1),
        ("steered_baseline", 4.0),
    ]
    assert found["steered_target", 4.0]["share"] == 1.0
    assert found["steered_target", 4.0]["p"] == pytest.approx(2 / 2**10, abs=1e-4)
    assert found["steered_target", 0.1]["share"] == found["target", 0.0]["share"] == 0.0
    assert found["steered_target", 0.1]["p"] == 1.0
    assert found["steered_baseline", 4.0]["change"] == 1.0
    beside = found["random_direction", 4.0]
    assert beside["share"] < 0.7
    assert found["steered_target", 4.0]["beyond_random"] == pytest.approx(1 - beside["share"])
    assert found["steered_target", 0.1]["p_beyond_random"] == 1.0
    assert beside["beyond_random"] is None
    assert (found["target", 0.0]["change"], found["target", 0.0]["p"]) == (None, None)
    replies = [item for item in output.items if item["kind"] == "reply"]
    assert len(replies) == 80
    assert sum(item["holds"] for item in replies if item["arm"] == "steered_target") == 10
    said = {"target": 0, "baseline": 0}
    for item in replies:
        said["baseline" if "baseline" in item["arm"] else "target"] += len(item["reply"].split())
    assert (ctx.usage.target_tokens, ctx.usage.baseline_tokens) == (
        said["target"],
        said["baseline"],
    )


def test_phrases_that_steering_brings_are_ranked(call, clean):
    output = call("nla_steer", GIVEN | {"strengths": [4.0], "samples": 8}, clean())
    found = [item for item in output.items if item["kind"] == "phrase"]
    assert "please clap" in found[0]["words"]
    assert found[0]["p"] <= 0.01
    assert found[0]["share_unsteered"] < found[0]["share_steered"]


def test_the_push_has_the_mean_norm_of_the_activations_without_the_first_token(call, clean):
    ctx = clean()
    seen = []
    ours = ctx.mind.steered_chat

    def steered_chat(prompts, steerings, **more):
        seen.extend(steerings)
        return ours(prompts, steerings, **more)

    ctx.mind.steered_chat = steered_chat
    call(
        "nla_steer",
        GIVEN | {"strengths": [2.0], "samples": 3, "where": "reply", "layers": [1, 2]},
        ctx,
    )
    unsteered, along, anywhere = seen[:6], seen[6:12], seen[12:18]
    assert unsteered == [[]] * 6
    assert all([s.layer for s in row] == [1, 2] for row in (*along, *anywhere))
    for row in (*along, *anywhere):
        assert all((s.strength, s.where) == (2.0, "reply") for s in row)
        # Words have norm 1 in the fake mind, the first token 500.
        assert all(float(s.vector.norm()) == pytest.approx(1.0, abs=1e-4) for s in row)
    expected = ctx.reader.reconstruct(["topic approval", "topic bread"], layer=1)
    expected = expected / expected.norm(dim=-1, keepdim=True)
    difference = expected[0] - expected[1]
    assert torch.allclose(along[0][0].vector, difference / difference.norm(), atol=1e-5)
    assert torch.equal(anywhere[0][0].vector, anywhere[3][0].vector)
    assert abs(float(anywhere[0][0].vector @ anywhere[1][0].vector)) < 0.6


def test_without_words_nothing_is_counted(call, clean):
    output = call("nla_steer", GIVEN | {"words": None}, clean())
    assert {item["share"] for item in arms(output).values()} == {None}
    assert {item["strength"] for item in arms(output).values()} == {0.0, 0.2, 0.4}


def test_without_a_baseline_the_target_is_steered_alone(call, clean):
    output = call("nla_steer", GIVEN, clean(baseline_mind=None))
    assert "there is no baseline to steer" in output.summary
    assert not any("baseline" in arm for arm, _ in arms(output))


def test_the_p_value_is_that_of_an_exact_mcnemar_test():
    ours = [True] * 9 + [False] * 3 + [True] * 4
    theirs = [False] * 9 + [True] * 3 + [True] * 4
    assert swap_p(ours, theirs) == pytest.approx(stats.binomtest(9, 12).pvalue)
    assert swap_p([True], [True]) == 1.0


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({}, {"edited": "bread topic"}, "stand for the same direction"),
        ({}, {"edited": " "}, "explanations[1] is empty"),
        ({}, {"prompts": [" "]}, "prompts[0] is empty"),
        ({}, {"samples": 200}, "one call may ask for 600"),
        ({}, {"strengths": [0]}, "strengths.0"),
        ({}, {"strengths": []}, "strengths"),
        ({}, {"layers": [7]}, "layer 7 does not exist"),
        ({}, {"words": "|"}, "needs a word"),
        ({}, {"where": "header"}, "where"),
        ({"token_allowance": 100}, {}, "100 are left in the budget"),
        ({"reader": None}, {}, "there is no reader"),
        ({"mind": None}, {}, "the target's activations"),
    ],
)
def test_a_push_that_means_nothing_is_refused(refusal, clean, changes, arguments, said):
    ctx = clean(**changes)
    assert said in refusal("nla_steer", GIVEN | arguments, ctx)
    assert ctx.usage.target_tokens == 0
