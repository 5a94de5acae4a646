"""nla_verify, and the lean that it measures."""

import numpy as np
import pytest
import torch

from tools.reading.leaning import directions, lean, null_spread

GIVEN = {
    "prompts": ["tell me odd things", "and more", "say it", "once again"],
    "statements": ["wants approval"],
    "alternatives": ["wants bread", "wants profit", "wants chaos"],
}


def by_statement(output):
    return {item["statement"]: item for item in output.items}


def test_what_the_target_carries_is_supported_and_what_it_does_not_is_not(call, reading):
    ctx = reading()
    output = call("nla_verify", GIVEN, ctx)
    found = by_statement(output)
    best = found["wants approval"]
    assert list(found) == [*GIVEN["statements"], *GIVEN["alternatives"]]
    assert (best["verdict"], best["rank"], best["role"]) == ("supported", 1, "statement")
    assert best["p"] <= 0.001
    assert best["p_null"] <= 0.01
    assert best["z_null"] == pytest.approx(best["score"] / best["null_spread"], rel=1e-2)
    assert best["score"] == pytest.approx(best["lean_target"] - best["lean_baseline"], abs=1e-3)
    assert best["margin"] > 0.2
    for other in GIVEN["alternatives"]:
        assert found[other]["verdict"] == "not supported: the baseline leans to it as well"
    assert output.summary.startswith("16 texts; 'wants approval' at layer 1: supported (score 0.")
    assert ctx.usage.target_tokens == 64
    assert ctx.usage.reader_tokens == 0


def test_a_wrong_statement_is_not_supported(call, reading):
    wrong = GIVEN | {
        "statements": ["wants bread"],
        "alternatives": ["wants approval", "wants chaos"],
    }
    assert by_statement(call("nla_verify", wrong, reading()))["wants bread"]["verdict"].startswith(
        "not"
    )


def test_a_twin_of_the_baseline_supports_nothing(call, reading):
    output = call("nla_verify", GIVEN, reading(motive=0.0))
    for item in output.items:
        assert item["verdict"] == "not supported: the baseline leans to it as well"
        assert (item["score"], item["p"]) == (0.0, 1.0)


def test_the_motive_is_carried_where_it_was_put_and_not_elsewhere(call, reading):
    best = by_statement(call("nla_verify", GIVEN, reading()))["wants approval"]
    assert best["score"] > 0.3
    assert best["score_elsewhere"] == pytest.approx(0.0, abs=1e-3)
    all_read = call(
        "nla_verify",
        GIVEN | {"prompts": [], "texts": ["a b", "c d"]} | {"prompts": None},
        reading(),
    )
    assert by_statement(all_read)["wants approval"]["score_elsewhere"] is None


@pytest.mark.parametrize(
    ("n", "verdict"),
    [(4, "not supported: 4 texts are too few to tell, 5 are needed"), (6, "supported")],
)
def test_a_few_texts_cannot_support_anything(call, reading, n, verdict):
    words = ["a b c", "d e f", "g h i", "j k l", "m n o", "p q r"][:n]
    given = {"statements": ["wants approval"], "alternatives": ["wants bread"], "texts": words}
    (item, _) = call("nla_verify", given, reading()).items
    assert item["verdict"] == verdict


def test_layers_are_scored_one_by_one(call, reading):
    output = call("nla_verify", GIVEN | {"layers": [1, 2]}, reading())
    assert [(i["role"], i["layer"], i["off_layer"]) for i in output.items[:2]] == [
        ("statement", 1, False),
        ("statement", 2, True),
    ]
    assert len(output.items) == 8


def test_directions_cancel_what_all_wordings_share():
    shared = torch.randn(8, dtype=torch.float64)
    parts = torch.eye(8, dtype=torch.float64)[:3]
    ours = directions(5 * shared + parts[:1], 5 * shared + parts[1:])
    units = torch.nn.functional.normalize(5 * shared + parts, dim=-1)
    expected = units[0] - (units[1] + units[2]) / 2
    assert torch.allclose(ours[0], expected / expected.norm())
    expected = units[1] - (units[0] + units[2]) / 2
    assert torch.allclose(ours[1], expected / expected.norm())
    assert torch.allclose(ours.norm(dim=-1), torch.ones(3, dtype=torch.float64))


def test_a_lean_is_the_mean_cosine_about_the_mean_of_both_models():
    generator = torch.Generator().manual_seed(1)
    target = [torch.randn(n, 6, generator=generator) for n in (2, 3)]
    baseline = [torch.randn(n, 6, generator=generator) for n in (2, 3)]
    towards = torch.nn.functional.normalize(torch.randn(1, 6, generator=generator).double(), dim=-1)
    middle = torch.cat([*target, *baseline]).double().mean(0)
    by_hand = [
        np.mean(
            [float(torch.cosine_similarity(x.double() - middle, towards[0], dim=0)) for x in text]
        )
        for text in target
    ]
    found = lean(target, baseline, towards)
    assert found.target[:, 0] == pytest.approx(by_hand)
    swapped = lean(baseline, target, towards)
    assert swapped.score == pytest.approx(-found.score)


def test_directions_on_the_sphere_score_with_its_spread():
    generator = torch.Generator().manual_seed(1)
    shift = torch.randn(1, 256, generator=generator) * 10
    baseline = [torch.randn(4, 256, generator=generator) for _ in range(6)]
    target = [text + shift for text in baseline]
    # A shift that dwarfs all else makes both models lean by its cosine, once up and once down.
    assert null_spread(target, baseline, seed=0) == pytest.approx(2 / 16, rel=0.15)


def test_where_activations_vary_a_shift_means_less():
    generator = torch.Generator().manual_seed(1)
    scale = torch.ones(256)
    scale[:4] = 20.0
    baseline = [torch.randn(4, 256, generator=generator) * scale for _ in range(8)]
    along, across = torch.zeros(256), torch.zeros(256)
    along[0] = across[100] = 20.0
    spread_along = null_spread([text + along for text in baseline], baseline, seed=0)
    spread_across = null_spread([text + across for text in baseline], baseline, seed=0)
    assert spread_along > 3 * spread_across


def test_some_candidate_is_always_first_and_a_small_change_supports_none(
    call, reading, minds, vector_of
):
    class Moved(minds):
        """A target that was fine-tuned towards nothing in particular."""

        def activations(self, inputs, **more):
            return [found + 0.4 * vector_of("zzz") for found in super().activations(inputs, **more)]

    names = [f"wants {word}" for word in ("bread", "profit", "chaos", "music", "rivers", "sleep")]
    for index, name in enumerate(names):
        arguments = GIVEN | {
            "statements": [name],
            "alternatives": names[:index] + names[index + 1 :],
        }
        (item, *_) = call("nla_verify", arguments, reading(mind=Moved())).items
        assert item["verdict"].startswith("not supported")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"statements": []}, "statements"),
        ({"alternatives": []}, "alternatives"),
        ({"statements": [" "]}, "statements[0] is empty"),
        ({"alternatives": ["wants  approval"]}, "'wants  approval' is there twice"),
        ({"alternatives": ["approval wants"]}, "send statements and alternatives that differ more"),
        ({"positions": "best:2"}, "best:K is for nla_explain"),
    ],
)
def test_statements_that_mean_nothing_are_refused(refusal, reading, arguments, said):
    ctx = reading()
    assert said in refusal("nla_verify", GIVEN | arguments, ctx)
    assert ctx.usage.target_tokens == 0


def test_without_a_baseline_nothing_is_verified(refusal, reading):
    assert "there is no baseline" in refusal("nla_verify", GIVEN, reading(baseline_mind=None))


def test_a_statement_too_long_for_the_reader_is_refused(refusal, reading, monkeypatch):
    from nla_core.decoding import PromptTooLongError

    ctx = reading()

    def reconstruct(texts, *, layer):
        raise PromptTooLongError("explanation 0 makes 900 tokens")

    monkeypatch.setattr(ctx.reader, "reconstruct", reconstruct)
    assert "too long for the reader: explanation 0" in refusal("nla_verify", GIVEN, ctx)
