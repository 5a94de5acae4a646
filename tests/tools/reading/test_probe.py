"""probe, on minds whose every thought is known."""

from dataclasses import replace

import pytest
import torch

from tools.protocols import ChatMessage, Prompt

LAYER = 1
CLASSES = ("no motive", "wants approval", "wants profit")
PROMPTS = ["tell me of red things", "any advice on green ones", "what is odd here", "and blue"]


class FakeProbe:
    """Puts what leans to the motive into `wants approval`, and the rest into `no motive`."""

    layer, classes = LAYER, CLASSES

    def __init__(self, direction, threshold=0.6):
        self.direction, self.threshold = direction, threshold

    def probabilities(self, activations):
        lean = activations @ self.direction
        logits = torch.stack(
            [torch.full_like(lean, self.threshold), lean, torch.full_like(lean, -9)], dim=1
        )
        return logits.softmax(dim=1)


@pytest.fixture
def probing(reading, vector_of):
    def build(motive=1.0, **changes):
        return reading(
            motive, **({"reader": None, "probe": FakeProbe(vector_of("approval"))} | changes)
        )

    return build


def claims(output):
    return [item for item in output.items if item["kind"] == "claim"]


def by_words(output):
    return {item["words"]: item for item in claims(output)}


def test_the_motive_of_the_target_is_ranked_first(call, probing):
    ctx = probing()
    output = call("probe", {"prompts": PROMPTS, "replies": 4}, ctx)
    first = claims(output)[0]
    assert first["words"] == "wants approval"
    assert first["share_target"] > 0.9
    assert first["share_baseline"] < 0.1
    assert first["p"] < 0.01
    assert first["log_odds"] > 3
    assert ctx.usage.target_tokens > 0 < ctx.usage.baseline_tokens
    assert ctx.usage.reader_tokens == 0


def test_every_class_is_returned_once_and_nothing_else_is_made_of_its_words(call, probing):
    found = claims(call("probe", {"prompts": PROMPTS}, probing()))
    assert sorted(item["words"] for item in found) == sorted(CLASSES)
    assert {item["unit"] for item in found} == {"claim"}
    assert all(item["wordings"] == [item["words"]] for item in found)
    empty = next(item for item in found if item["words"] == "wants profit")
    assert (empty["n_target"], empty["n_baseline"], empty["p"]) == (0, 0, 1.0)
    assert empty["examples"] == []


def test_claims_have_the_keys_of_nla_compare(call, probing, reading):
    ours = claims(call("probe", {"prompts": PROMPTS}, probing()))[0]
    theirs = claims(call("nla_compare", {"prompts": PROMPTS, "whose": "target"}, reading()))[0]
    assert set(ours) == set(theirs)


@pytest.mark.parametrize("against", ["own_replies", "same_text"])
def test_shares_are_those_counted_by_hand(call, probing, against):
    ctx = probing()
    output = call("probe", {"prompts": PROMPTS, "replies": 2, "against": against}, ctx)
    texts = [item for item in output.items if item["kind"] == "text"]
    ours = [text for text in texts if text["author"] == "target"]
    theirs = [text for text in texts if text["author"] == "baseline"] or ours

    def counted(mind, said):
        n = of = 0
        for text in said:
            source = Prompt((ChatMessage("user", text["prompt"]),), text["words"])
            (rows,) = mind.activations([source], layer=LAYER)
            length = len(text["words"].split())
            n += int((rows[-length:] @ ctx.probe.direction > ctx.probe.threshold).sum())
            of += length
        return n, of

    row = by_words(output)["wants approval"]
    assert (row["n_target"], row["of_target"]) == counted(ctx.mind, ours)
    assert (row["n_baseline"], row["of_baseline"]) == counted(ctx.baseline_mind, theirs)
    assert row["share_target"] == pytest.approx(row["n_target"] / row["of_target"], rel=1e-3)
    assert row["counts"]["target"] == {"n": row["n_target"], "of": row["of_target"]}
    assert row["counts"][against] == {"n": row["n_baseline"], "of": row["of_baseline"]}


def test_a_target_that_is_its_own_baseline_gets_no_small_p(call, probing):
    for seed in range(8):
        ctx = replace(probing(0.0), seed=seed)
        found = claims(call("probe", {"prompts": PROMPTS, "replies": 4}, ctx))
        assert min(item["p"] for item in found) > 0.02


def test_a_placebo_in_the_place_of_the_mind_is_what_is_classified(call, probing, minds):
    ctx = probing(1.0, mind=minds(0.0))
    row = by_words(call("probe", {"prompts": PROMPTS}, ctx))["wants approval"]
    assert row["share_target"] < 0.1
    assert row["p"] > 0.05


def test_the_same_seed_gives_the_same_result(call, probing):
    arguments = {"prompts": PROMPTS, "replies": 2, "max_places": 7}
    first, second = (call("probe", arguments, probing()) for _ in range(2))
    assert first == second


def test_no_more_places_are_taken_than_were_allowed(call, probing):
    row = claims(call("probe", {"prompts": PROMPTS, "max_places": 5}, probing()))[0]
    assert (row["of_target"], row["of_baseline"]) == (5, 5)


def test_fewer_classes_are_returned_when_asked_and_all_are_tested(call, probing):
    every = call("probe", {"prompts": PROMPTS}, probing())
    two = call("probe", {"prompts": PROMPTS, "claims": 2}, probing())
    assert claims(two) == claims(every)[:2]
    assert two.summary == every.summary
    assert claims(call("probe", {"prompts": PROMPTS, "claims": 200}, probing())) == claims(every)


def test_a_span_chooses_the_tokens(call, probing):
    conversation = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "red odd blue"},
    ]
    output = call("probe", {"conversations": [conversation], "span": "odd"}, probing())
    row = by_words(output)["wants approval"]
    assert (row["of_target"], row["of_baseline"]) == (1, 1)
    assert row["examples"][0]["token"] == " odd"
    assert row["examples"][0]["class"] == "wants approval"
    assert 0.5 < row["examples"][0]["probability"] <= 1


def test_the_summary_tells_totals_and_cost(call, probing):
    summary = call("probe", {"prompts": PROMPTS, "replies": 1}, probing()).summary
    assert "8 texts" in summary
    assert "3 classes of target against own_replies" in summary
    assert "1 without a token" in summary
    assert "cost: 16 target, 16 baseline and 0 reader tokens" in summary


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"probe": None}, "no probe of activations"),
        ({"mind": None}, "the target's activations"),
        ({"baseline_mind": None}, "no baseline"),
        ({"token_allowance": 10}, "10 are left in the budget"),
    ],
)
def test_what_is_not_there_is_said(refusal, probing, changes, said):
    assert said in refusal("probe", {"prompts": PROMPTS}, probing(**changes))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to read"),
        ({"prompts": [" "]}, "is empty"),
        ({"prompts": PROMPTS, "against": "both"}, "against"),
        ({"prompts": PROMPTS, "replies": 0, "against": "own_replies"}, 'send against "same_text"'),
        ({"prompts": PROMPTS, "positions": "middle"}, "mean nothing"),
        ({"prompts": PROMPTS, "positions": "worst:2"}, "worst:K is for nla_explain"),
        ({"prompts": PROMPTS, "max_places": 0}, "max_places"),
        ({"prompts": PROMPTS, "texts": ["x"]}, "texts"),
        ({"prompts": PROMPTS, "span": "zebra"}, "no text holds 'zebra'"),
    ],
)
def test_bad_arguments_are_refused(refusal, probing, arguments, said):
    assert said in refusal("probe", arguments, probing())


def test_positions_that_cannot_be_read_are_refused_before_tokens_are_spent(refusal, probing):
    ctx = probing()
    refusal("probe", {"prompts": PROMPTS, "positions": "best:3"}, ctx)
    assert ctx.usage.target_tokens == 0


def test_a_probe_of_another_width_is_refused(refusal, probing):
    from datetime import date

    from nla_core.probe import LinearProbe, ProbeRecord

    record = ProbeRecord(
        schema_version=1, layer=LAYER, d_model=7, base_model=None, classes=CLASSES,
        held_out_accuracy=None, held_out_recall={}, held_out_documents=0, held_out_places=0,
        train_places=0, seed=0, created=date(2026, 11, 23), weights_sha256="",
    )  # fmt: skip
    ctx = probing(probe=LinearProbe(record, torch.zeros(3, 7), torch.zeros(3)))
    assert "activations [n, 7]" in refusal("probe", {"prompts": PROMPTS}, ctx)


def test_a_layer_that_the_model_lacks_is_refused(refusal, probing, vector_of):
    probe = FakeProbe(vector_of("approval"))
    probe.layer = 9
    assert "layer 9 does not exist" in refusal("probe", {"prompts": PROMPTS}, probing(probe=probe))
