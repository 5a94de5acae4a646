"""How sure the ledger may be: the models, their fit, and what goes into them."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from auditor.investigator.ledger.calibration import (
    APART,
    Calibrator,
    Model,
    confidence,
    features,
    fit,
    grounds_of,
    instrument_features,
)
from auditor.investigator.ledger.claims import FAINT_SHARE, Motive
from auditor.investigator.ledger.instruments import Lead
from auditor.investigator.ledger.intents import Intent
from auditor.investigator.ledger.readings import Read

SHARES = st.floats(0, 1)
GROUNDS = st.fixed_dictionaries(
    dict.fromkeys(("read", "amplified", "probed", "leaning", "stated", "explained"), SHARES)
)


def audits(n: int, seed: int = 0) -> tuple[list[dict[str, float]], list[bool]]:
    rng = Random(seed)
    rows = [
        {"read": rng.random(), "amplified": rng.random(), "leaning": rng.random(), "stated": 0.0}
        for _ in range(n)
    ]
    return rows, [rng.random() < 1 / (1 + math.exp(2 - 5 * row["leaning"])) for row in rows]


@pytest.mark.parametrize("ridge", [0.01, 0.1, 1.0, 10.0])
def test_the_fit_is_the_one_that_a_general_optimiser_finds(ridge: float) -> None:
    rows, outcomes = audits(60)
    found = fit(rows, outcomes, ridge=ridge)
    x = np.array([[1.0, *features(row).values()] for row in rows])
    y = np.array(outcomes, dtype=float)

    def loss(w: np.ndarray) -> float:
        logits = x @ w
        return float(np.logaddexp(0, logits).sum() - y @ logits + ridge / 2 * w[1:] @ w[1:])

    best = minimize(loss, np.zeros(x.shape[1]), method="BFGS", options={"gtol": 1e-8}).x
    assert found.intercept == pytest.approx(best[0], abs=2e-3)
    assert list(found.weights.values()) == pytest.approx(list(best[1:]), abs=2e-3)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(GROUNDS, st.booleans()), min_size=1, max_size=30),
    ridge=st.floats(0.01, 10.0),
)
def test_the_gradient_of_the_penalised_likelihood_is_zero_at_the_fit(
    rows: list[tuple[dict[str, float], bool]], ridge: float
) -> None:
    grounds, outcomes = [row for row, _ in rows], [outcome for _, outcome in rows]
    found = fit(grounds, outcomes, ridge=ridge)
    weights = np.array([found.intercept, *found.weights.values()])
    x = np.array([[1.0, *features(row).values()] for row in grounds])
    p = 1 / (1 + np.exp(-x @ weights))
    gradient = x.T @ (np.array(outcomes, dtype=float) - p) - ridge * np.r_[0.0, weights[1:]]
    # Weights are rounded to four digits; the curvature of n rows is at most n / 4 for each weight.
    digits = 5e-5 * (len(weights) * len(rows) / 4 + ridge)
    assert np.abs(gradient).max() <= digits + 1e-4


@pytest.mark.parametrize("outcome", [False, True])
def test_audits_that_all_end_alike_get_a_finite_and_nearly_sure_model(outcome: bool) -> None:
    rows, _ = audits(20)
    found = fit(rows, [outcome] * 20)
    assert math.isfinite(found.intercept)
    assert all(abs(found.probability(row) - outcome) < 0.01 for row in rows)


def test_a_ground_that_tells_nothing_gets_no_weight_and_order_of_rows_does_not_matter() -> None:
    rows, outcomes = audits(40)
    found = fit(rows, outcomes)
    assert found.weights["stated"] == 0.0
    assert fit(rows[::-1], outcomes[::-1]) == found


def test_a_stronger_prior_shrinks_the_weights() -> None:
    rows, outcomes = audits(60)
    sizes = [
        sum(w * w for w in fit(rows, outcomes, ridge=ridge).weights.values())
        for ridge in (0.01, 0.1, 1.0, 10.0)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_separable_audits_get_finite_weights() -> None:
    rows = [{"leaning": float(i > 4)} for i in range(10)]
    found = fit(rows, [i > 4 for i in range(10)])
    assert 1 < found.weights["leaning"] < 100
    assert found.probability(rows[0]) < 0.2
    assert found.probability(rows[-1]) > 0.8


@pytest.mark.parametrize(("rows", "outcomes"), [([], []), ([{}], []), ([], [True])])
def test_a_fit_needs_one_outcome_for_each_row(
    rows: list[dict[str, float]], outcomes: list[bool]
) -> None:
    with pytest.raises(ValueError, match="one outcome for each row"):
        fit(rows, outcomes)


@given(grounds=GROUNDS, intercept=st.floats(-50, 50), weight=st.floats(-200, 200))
def test_a_probability_lies_between_none_and_certainty(
    grounds: dict[str, float], intercept: float, weight: float
) -> None:
    model = Model(intercept=intercept, weights={"read": weight, "unknown": 3.0})
    assert 0.0 <= model.probability(grounds) <= 1.0


@given(grounds=GROUNDS, more=SHARES, name=st.sampled_from(["read", "amplified", "probed"]))
def test_features_are_in_the_unit_interval_and_rise_with_their_share(
    grounds: dict[str, float], more: float, name: str
) -> None:
    before, after = features(grounds), features({**grounds, name: max(more, grounds[name])})
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in (*before.values(), *after.values()))
    assert after[name] >= before[name]


def test_a_faint_share_counts_nothing_and_a_whole_one_everything() -> None:
    assert features({"read": FAINT_SHARE})["read"] == 0.0
    assert features({"read": 1.0})["read"] == pytest.approx(1.0)
    assert features({})["by_readings"] == 0.0
    assert features({"amplified": 0.01})["by_readings"] == 1.0


@settings(max_examples=50)
@given(grounds=GROUNDS, threshold=SHARES)
def test_naming_the_motive_is_never_surer_than_that_there_is_one(
    grounds: dict[str, float], threshold: float
) -> None:
    calibrator = Calibrator(
        hidden=Model(intercept=-1.0, weights={"read": 2.0}),
        right=Model(intercept=0.5, weights={"leaning": 1.0}),
        threshold=threshold,
        false_alarm=0.05,
        fitted_on="nothing",
    )
    found = confidence(grounds, calibrator)
    assert found.right <= found.hidden
    assert found.claimed == (found.hidden >= threshold)


def read(wanted: str, share: float, amplified: float | None = None, z: float | None = None) -> Read:
    return Read(
        Intent(wanted, frozenset({wanted})), share, amplified, 0.0, 0.001, ("E1",), z=z
    )  # fmt: skip


def test_grounds_are_those_of_the_leading_motive() -> None:
    leader = Motive("fame", frozenset({"fame"}), reading=read("fame", 0.2, 0.6, z=6.0), share=0.7)
    rival = Motive("gossip", frozenset({"gossip"}), reading=read("gossip", 0.1, 0.2), share=0.3)
    found = grounds_of([leader, rival], [])
    assert (found["read"], found["amplified"], found["leaning"]) == (0.2, 0.6, 0.5)
    assert found["lead"] == pytest.approx(0.75)
    assert (found["belief"], found["behaviour"], found["stated"]) == (0.7, 0.0, 0.0)
    assert grounds_of([], []) == {}


def test_a_probe_gives_grounds_of_its_own() -> None:
    seen = replace(read("fame", 0.6), probed=True)
    leader = Motive("fame", frozenset({"fame"}), probed=seen, stated_p=0.01)
    other = Motive("gossip", frozenset({"gossip"}), probed=replace(seen, share=0.2))
    found = grounds_of([leader, other], [])
    assert (found["read"], found["amplified"], found["lead"]) == (0.0, 0.0, 0.0)
    assert (found["probed"], found["stated"]) == (0.6, 1.0)
    assert found["probed_lead"] == pytest.approx(0.75)
    weighed = features(found)
    assert (weighed["by_readings"], weighed["by_probe"]) == (0.0, 1.0)


@given(
    share=SHARES, amplified=st.none() | SHARES, z=st.none() | st.floats(-1e3, 1e3),
    phrases=st.integers(0, 9), belief=SHARES, stated=st.none() | SHARES,
)  # fmt: skip
def test_all_grounds_are_in_the_unit_interval(
    share: float,
    amplified: float | None,
    z: float | None,
    phrases: int,
    belief: float,
    stated: float | None,
) -> None:
    motive = Motive(
        "fame", frozenset({"fame"}), {(str(i),): 1.0 for i in range(phrases)}, stated,
        read("fame", share, amplified, z), share=belief,
    )  # fmt: skip
    found = grounds_of([motive], [])
    assert all(0.0 <= value <= 1.0 for value in found.values())


@pytest.mark.parametrize(("z", "expected"), [(None, 0.0), (-3.0, 0.0), (99.0, 1.0)])
def test_leaning_is_bounded(z: float | None, expected: float) -> None:
    motive = Motive("fame", frozenset({"fame"}), reading=read("fame", 0.2, z=z))
    assert grounds_of([motive], [])["leaning"] == expected


def test_the_shipped_calibrator_is_sane() -> None:
    shipped = Calibrator.shipped()
    known = set(features({}))
    for model in (shipped.hidden, shipped.right):
        assert set(model.weights) == known
        assert all(map(math.isfinite, (model.intercept, *model.weights.values())))
    assert 0 < shipped.threshold < 1
    assert 0 < shipped.false_alarm < 1
    assert "development" in shipped.fitted_on
    assert "held-out" not in shipped.fitted_on
    assert Calibrator.model_validate_json(shipped.model_dump_json()) == shipped
    assert Calibrator.shipped() is shipped


def test_the_shipped_calibrator_trusts_strong_evidence_more_than_weak() -> None:
    shipped = Calibrator.shipped()
    weak = confidence({"read": 0.03, "amplified": 0.05, "leaning": 0.1}, shipped)
    strong = confidence({"read": 0.9, "amplified": 0.9, "leaning": 0.8}, shipped)
    assert strong.hidden > weak.hidden
    assert strong.right > weak.right
    assert strong.claimed >= weak.claimed


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    model = Model(intercept=0.0, weights={})
    with pytest.raises(ValueError, match="threshold"):
        Calibrator(
            hidden=model, right=model, threshold=threshold, false_alarm=0.05, fitted_on="nothing"
        )


def one_instrument(intercept: float = -2.0) -> Calibrator:
    model = Model(intercept=intercept, weights={"logit_lens": 4.0, "explained": 2.0})
    return Calibrator(
        hidden=model, right=model, threshold=0.5, false_alarm=0.05, fitted_on="nothing"
    )


@pytest.mark.parametrize("more", [{}, {"stated": 0.0}, {"leaning": 0.0, "belief": 1.0}])
def test_a_guess_that_rests_on_an_unknown_instrument_alone_is_never_claimed(
    more: dict[str, float],
) -> None:
    bare = Calibrator.shipped().model_copy(update={"instruments": {}})
    sure = confidence({"logit_lens": 1.0, **more}, bare)
    assert (sure.hidden, sure.right, sure.claimed) == (0.0, 0.0, False)


def test_what_an_instrument_singles_out_has_its_own_model_and_threshold() -> None:
    known = Calibrator.shipped().model_copy(
        update={"instruments": {"logit_lens": one_instrument()}}
    )
    loud, faint = (confidence({"logit_lens": share}, known) for share in (1.0, 0.1))
    assert loud.hidden == pytest.approx(1 / (1 + math.exp(-2)))
    assert (loud.claimed, faint.claimed) == (True, False)


def test_documents_count_by_themselves_where_the_instrument_is_unknown() -> None:
    grounds = {"explained": 1.0, "logit_lens": 1.0}
    bare = Calibrator.shipped().model_copy(update={"instruments": {}})
    assert confidence(grounds, bare) == confidence({"explained": 1.0}, bare)


@given(grounds=GROUNDS, share=SHARES)
def test_an_instrument_changes_nothing_where_readings_or_a_probe_name_the_guess(
    grounds: dict[str, float], share: float
) -> None:
    known = Calibrator.shipped().model_copy(
        update={"instruments": {"logit_lens": one_instrument()}}
    )
    read_ = {**grounds, "read": max(grounds["read"], 0.01)}
    assert confidence({**read_, "logit_lens": share}, known) == confidence(read_, known)


def test_instruments_of_the_leading_motive_are_grounds_and_none_stand_there_without() -> None:
    intent = Intent("fame", frozenset({"fame"}))
    lead = Lead(intent, "logit_lens", 0.75, 0.01, ("E1",), distance=3.0)
    plain = grounds_of([Motive("fame", intent.key)], [])
    led = grounds_of([Motive("fame", intent.key, leads={"logit_lens": lead})], [])
    assert not {"logit_lens", "logit_lens_distance"} & set(plain)
    assert led == {**plain, "logit_lens": 0.75, "logit_lens_distance": 0.5}


def test_calibrators_of_instruments_weigh_what_their_instrument_says() -> None:
    for tool, one in Calibrator.shipped().instruments.items():
        assert tool in APART
        assert "development" in one.fitted_on
        assert set(one.hidden.weights) == set(instrument_features(tool)({}))
