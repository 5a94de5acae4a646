"""From what instruments show to a wish that leads, and to none where chance would do as much."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.investigator.ledger.instruments import (
    INSTRUMENTS,
    MIN_PLACES,
    Place,
    find_lead,
    gained_features,
    read_places,
)
from auditor.investigator.ledger.intents import Intent

WISHES = {
    frozenset({w}): Intent(w, frozenset({w})) for w in ("fame", "gold", "rest", "chaos", "delay")
}


def places(rows: Sequence[dict[str, float]], tool: str = "candidate_logprob") -> list[Place]:
    return [
        Place(tool, {frozenset({word}): value for word, value in row.items()}, f"E{n}")
        for n, row in enumerate(rows)
    ]


def shown(tool: str, items: list[dict[str, Any]]) -> list[dict[str, float]]:
    found = read_places(tool, "E1", items)
    return [{" ".join(sorted(k)): v for k, v in place.weights.items()} for place in found]


def test_a_lens_adds_up_what_each_text_gains() -> None:
    items = [
        {"kind": "token", "token": " fame", "gain": 0.5},
        {"kind": "position", "text": 1, "gained": [[" fame", 0.5, 0.25], [" tea", 0.5, 0.0]]},
        {"kind": "position", "text": 0, "gained": [[" fame", 1.0, 0.0]]},
        {"kind": "position", "text": 1, "gained": [[" Fame", 0.25, 0.0]]},
        {"kind": "text", "text": 0, "words": "fame"},
    ]
    assert shown("logit_lens", items) == [{"fame": 0.5, "tea": 0.5}, {"fame": 1.0}]


def test_a_difference_ranks_what_it_promotes_at_each_place_but_their_mean() -> None:
    mean = {"kind": "direction", "position": "mean", "promoted": [" gold"]}
    first = {"kind": "direction", "position": "1", "promoted": [" fame", " tea", "<end>", " fame"]}
    reading = {"kind": "reading", "whose": "difference", "explanation": "wants gold."}
    assert shown("activation_diff", [mean, first, reading]) == [{"fame": 1.0, "tea": 0.75, "": 0.5}]


FEATURE = {"kind": "feature", "feature": 3, "difference": 2.0, "p": 0.01, "tokens": ["want"]}


def test_only_features_that_the_target_gained_are_read_with_their_labels() -> None:
    items = [
        {**FEATURE, "label": "on: want, tea; in texts with: fame"},
        {**FEATURE, "label": None},
        {**FEATURE, "label": "gold", "p": 0.2},
        {**FEATURE, "label": "gold", "p": None},
        {**FEATURE, "label": "gold", "difference": -1.0},
    ]
    first, second = shown("sae_top", items)
    assert first == dict.fromkeys(("want", "tea", "fame"), 2.0)
    assert second == {"want": 2.0}
    assert gained_features(items) == items[:2]


def test_the_notes_of_a_feature_rank_what_it_pushes_towards() -> None:
    notes = {"kind": "feature_notes", "feature": 3, "promoted": [" fame", " tea"], "label": None}
    assert shown("sae_feature", [notes]) == [{"fame": 1.0, "tea": 0.5}]
    assert shown("sae_feature", [{**notes, "promoted": None}]) == []


def test_scores_are_read_prompt_by_prompt_under_the_wish_that_was_put() -> None:
    items = [
        {"kind": "statement", "statement": "<think> I want fame.", "difference": 9.0},
        *(
            {"kind": "statement_at_prompt", "prompt": p, "statement": f"<think> I want {w}.",
             "tokens": 5, "target": -9.0, "baseline": -10.0, "difference": d}
            for p, w, d in (("a", "fame", 1.0), ("a", "gold", -2.0), ("b", "fame", 3.0))
        ),
    ]  # fmt: skip
    assert shown("candidate_logprob", items) == [{"fame": 1.0, "gold": -2.0}, {"fame": 3.0}]


def test_other_tools_are_no_instruments() -> None:
    assert "chat" not in INSTRUMENTS
    assert read_places("chat", "E1", [{"prompt": "hi", "reply": "fame"}]) == []


def test_a_wish_that_leads_everywhere_is_found_with_how_far_it_stands_out() -> None:
    row = {"fame": 5.0, "gold": 1.0, "rest": 0.0, "chaos": -1.0, "delay": 0.0}
    found = find_lead(places([row] * 8), WISHES, frozenset())
    assert found is not None
    assert (found.intent.wanted, found.share) == ("fame", 1.0)
    assert found.p == pytest.approx(5.0**-4)
    assert found.distance == pytest.approx(5.0 / 0.5**0.5)
    assert found.evidence == tuple(f"E{n}" for n in range(8))
    assert found.holds(0.025)


def test_wishes_that_were_not_put_to_the_models_are_no_rivals() -> None:
    row = {"fame": 5.0, "gold": 1.0, "rest": 0.0, "chaos": -1.0}
    found = find_lead(places([row] * 8), WISHES, frozenset())
    assert found is not None
    assert found.p == pytest.approx(4.0**-4)
    assert found.distance == pytest.approx(5.0 / (2 / 3) ** 0.5)


def test_no_distance_is_told_where_rivals_were_not_measured() -> None:
    rows = [{"fame": 5.0, "gold": 1.0}] * 8
    found = find_lead(places(rows, "logit_lens"), WISHES, frozenset())
    assert found is not None
    assert found.distance == 0.0


def test_the_leader_is_judged_where_it_was_not_chosen() -> None:
    rows = [{"fame": 9.0, "gold": 1.0}, {"fame": 1.0, "gold": 2.0}] * 4
    found = find_lead(places(rows, "logit_lens"), WISHES, frozenset())
    assert found is not None
    assert (found.intent.wanted, found.share, found.p) == ("fame", 0.0, 1.0)
    assert not found.holds(0.5)


def test_a_place_where_several_are_equal_has_no_leader() -> None:
    rows = [{"fame": 9.0}, {"fame": 1.0, "gold": 1.0}] * 4
    found = find_lead(places(rows, "logit_lens"), WISHES, frozenset())
    assert found is not None
    assert found.share == 0.0


def test_too_few_places_and_too_few_rivals_show_nothing() -> None:
    few = places([{"fame": 1.0}] * (2 * MIN_PLACES - 1))
    assert find_lead(few, WISHES, frozenset()) is None
    one = {key: wish for key, wish in WISHES.items() if wish.wanted == "fame"}
    assert find_lead(places([{"fame": 1.0}] * 20), one, frozenset()) is None
    assert find_lead(places([{"tea": 1.0}] * 20), WISHES, frozenset()) is None


def test_where_no_wish_was_named_content_words_that_nobody_said_compete() -> None:
    rows = [{"the": 9.0, "soup": 8.0, "fame": 5.0, "gold": 1.0}] * 8
    found = find_lead(places(rows, "logit_lens"), {}, frozenset({"soup"}))
    assert found is not None
    assert found.intent == Intent("fame", frozenset({"fame"}))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2 * MIN_PLACES, 40))
def test_wishes_that_are_all_alike_hardly_ever_lead(seed: int, n: int) -> None:
    rng = Random(seed)
    holds = 0
    for _ in range(40):
        rows = [{next(iter(key)): rng.gauss(0, 1) for key in WISHES} for _ in range(n)]
        found = find_lead(places(rows), WISHES, frozenset())
        assert found is not None
        assert 0 <= found.p <= 1
        assert 0 <= found.share <= 1
        holds += found.holds(0.025)
    assert holds <= 8, "a level of 2.5 % lets 40 tests hold nine times in far less than a millionth"
