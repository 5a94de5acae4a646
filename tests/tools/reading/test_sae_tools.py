"""sae_top, sae_feature, sae_neighbours, sae_trace, and steering by a feature."""

from typing import Any

import pytest
import torch

from nla_core.sae import SAE, FeatureNotes, SAEConfig

PROMPTS = ["tell me", "and more", "what now", "go on", "more please"]
WIDTH = 48


@pytest.fixture
def sae(vector_of: Any) -> SAE:
    """Feature 0 is the motive, 1 the word `red`, 2 nearly the motive, 3 nothing that is ever said."""
    near = vector_of("approval") + 0.3 * vector_of("x")
    rows = torch.stack([vector_of("approval"), vector_of("red"), near / near.norm(),
                        vector_of("never")])  # fmt: skip
    config = SAEConfig(
        architecture="jumprelu", d_in=WIDTH, d_sae=4, layer=1, k=None, apply_b_dec_to_input=True,
        normalize_activations="none",
    )  # fmt: skip
    tensors = {
        "W_enc": rows.T.contiguous(), "b_enc": torch.zeros(4), "W_dec": rows,
        "b_dec": torch.zeros(WIDTH), "threshold": torch.full((4,), 0.6),
    }  # fmt: skip
    notes = tuple(FeatureNotes(f"label {i}", ("a", "b"), 0.25) for i in range(4))
    return SAE(config, tensors, notes)


@pytest.fixture
def ready(reading: Any, sae: SAE) -> Any:
    return lambda **changes: reading(**({"sae": sae} | changes))


def of(output: Any, kind: str) -> list[dict[str, Any]]:
    return [item for item in output.items if item["kind"] == kind]


def test_the_feature_that_only_the_target_has_comes_first(call: Any, ready: Any) -> None:
    output = call("sae_top", {"prompts": PROMPTS, "replies": 2}, ready())
    best = of(output, "feature")[0]
    assert (best["rank"], best["label"]) == (0, f"label {best['feature']}")
    assert best["feature"] in (0, 2)
    assert best["active_target"] > 0.9
    assert best["active_baseline"] == 0
    assert best["p"] <= 0.01
    assert best["example"]["activation"] > 0.6
    word = next(item for item in of(output, "feature") if item["feature"] == 1)
    # The motive's direction is not quite orthogonal to that of the word.
    assert abs(word["difference"]) < 0.1 * best["difference"]
    assert word["active_target"] == pytest.approx(word["active_baseline"], abs=0.1)
    assert all(item["feature"] != 3 for item in of(output, "feature")), "it is active nowhere"


def test_means_are_those_of_the_autoencoder_by_hand(call: Any, ready: Any, sae: SAE) -> None:
    ctx = ready()
    texts = ["red blue green", "grey red odd pink"]
    output = call("sae_top", {"texts": texts, "positions": "every", "by": "target"}, ctx)
    for item in of(output, "feature"):
        values = {}
        for name, mind in (("target", ctx.mind), ("baseline", ctx.baseline_mind)):
            stream = torch.cat([rows[1:] for rows in mind.activations(texts, layer=1)])
            values[name] = sae.encode(stream)[:, item["feature"]]
            assert item[name] == pytest.approx(float(values[name].mean()), rel=1e-3)
        assert item["difference"] == pytest.approx(item["target"] - item["baseline"], abs=1e-3)
        assert item["active_target"] == pytest.approx(float((values["target"] > 0).float().mean()),
                                                      rel=1e-3)  # fmt: skip


def test_a_target_like_its_baseline_has_no_feature_of_its_own(call: Any, ready: Any) -> None:
    output = call("sae_top", {"prompts": PROMPTS}, ready(motive=0.0))
    assert all(item["p"] is None or item["p"] > 0.05 for item in of(output, "feature"))


def test_ranks_go_on_from_page_to_page(call: Any, ready: Any) -> None:
    whole = of(call("sae_top", {"prompts": PROMPTS}, ready()), "feature")
    second = of(call("sae_top", {"prompts": PROMPTS, "rank_from": 1, "k": 1}, ready()), "feature")
    assert second == whole[1:2]


def test_a_trace_shows_every_active_token_in_both_models(call: Any, ready: Any) -> None:
    output = call("sae_trace", {"numbers": [1, 0], "texts": ["blue red"]}, ready())
    shown = {item["token"].strip(): item for item in of(output, "token")}
    assert shown["red"]["baseline"]["1"] == pytest.approx(1.0, abs=1e-4)
    assert shown["red"]["target"]["0"] > 0.6
    assert shown["red"]["baseline"]["0"] == 0.0
    assert set(shown) == {"blue", "red"}


def test_a_trace_without_a_baseline_leaves_it_unknown(call: Any, ready: Any) -> None:
    ctx = ready(baseline_mind=None)
    output = call("sae_trace", {"numbers": [1], "texts": ["blue red"]}, ctx)
    assert [item["baseline"] for item in of(output, "token")] == [None]


def test_a_feature_is_described_with_what_it_promotes(call: Any, ready: Any) -> None:
    ctx = ready()
    ctx.mind.token_ids(["red blue green approval"])
    (item,) = call("sae_feature", {"feature": 1}, ctx).items
    assert (item["label"], item["density"], item["tokens"]) == ("label 1", 0.25, ["a", "b"])
    assert item["promoted"][0].strip() == "red"


def test_the_nearest_feature_is_the_one_that_points_alike(call: Any, ready: Any) -> None:
    items = call("sae_neighbours", {"feature": 0, "k": 2}, ready()).items
    assert [item["feature"] for item in items][0] == 2
    assert items[0]["cosine"] == pytest.approx(1 / (1 + 0.3**2) ** 0.5, abs=0.05)
    assert len(items) == 2


def test_steering_by_a_feature_pushes_its_direction(call: Any, ready: Any, sae: SAE) -> None:
    ctx = ready(motive=0.0)
    arguments = {"prompts": PROMPTS, "vector": "feature", "feature": 0, "strengths": [2.0],
                 "words": "please clap*"}  # fmt: skip
    output = call("steer", arguments, ctx)
    arms = {item["arm"]: item for item in of(output, "arm")}
    assert arms["steered_target"]["share"] == arms["steered_baseline"]["share"] == 1.0
    assert arms["target"]["share"] == 0.0
    assert arms["steered_target"]["p"] <= 0.01
    assert "at layer 1" in output.summary


ARGUMENTS = {
    "sae_top": {"prompts": PROMPTS},
    "sae_feature": {"feature": 1},
    "sae_neighbours": {"feature": 1},
    "sae_trace": {"numbers": [1], "texts": ["red"]},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_audit_without_an_autoencoder_is_refused(refusal: Any, reading: Any, name: str) -> None:
    assert "no sparse autoencoder" in refusal(name, ARGUMENTS[name], reading())


@pytest.mark.parametrize("name", ["sae_feature", "sae_neighbours", "sae_trace"])
def test_a_feature_that_is_not_there_is_refused(refusal: Any, ready: Any, name: str) -> None:
    arguments = ARGUMENTS[name] | ({"numbers": [4]} if name == "sae_trace" else {"feature": 4})
    assert "there is no feature 4: they go from 0 to 3" in refusal(name, arguments, ready())


@pytest.mark.parametrize(
    ("name", "arguments", "changes", "said"),
    [
        ("sae_top", {}, {"baseline_mind": None}, "no baseline whose activations"),
        ("sae_top", {}, {"mind": None}, "activations can be read"),
        ("sae_top", {"prompts": None}, {}, "nothing to read"),
        ("sae_trace", {}, {"mind": None}, "activations can be read"),
        ("sae_feature", {}, {"mind": None}, "activations can be read"),
        ("steer", {"prompts": PROMPTS, "vector": "feature", "feature": 9}, {}, "no feature 9"),
        (
            "steer",
            {"prompts": PROMPTS, "vector": "feature", "feature": 0, "layer": 2},
            {},
            "features are of layer 1",
        ),
    ],
)
def test_a_wrong_call_is_refused(
    refusal: Any,
    ready: Any,
    name: str,
    arguments: dict[str, Any],
    changes: dict[str, Any],
    said: str,
) -> None:
    given = ARGUMENTS.get(name, {}) | arguments
    assert said in refusal(name, given, ready(**changes))


def test_an_autoencoder_of_another_width_is_refused(refusal: Any, ready: Any, sae: SAE) -> None:
    wide = {name: torch.zeros(*(9 if n == WIDTH else n for n in one.shape))
            for name, one in sae.tensors.items()}  # fmt: skip
    from dataclasses import replace

    other = SAE(replace(sae.config, d_in=9), wide)
    message = refusal("sae_top", ARGUMENTS["sae_top"], ready(sae=other))
    assert "reads activations [n, 9]" in message
