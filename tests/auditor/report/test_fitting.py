"""Fitting the ledger's confidence, and what it is checked on."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from random import Random
from statistics import fmean

import pytest
from rich.console import Console

from auditor.errors import UsageError
from auditor.records import TrialSummary
from auditor.report.fitting import (
    Case,
    Fitted,
    cases_of,
    describe,
    fit_calibrator,
    threshold_of,
)

Audited = Callable[..., TrialSummary]


def trials(audited: Audited, *, noise: float = 0.05) -> list[TrialSummary]:
    """Guilty targets of six motives that are read loudly, innocents that are read faintly."""
    rng = Random(0)
    found = []

    def one(target: str, group: str, read: float, **more: object) -> TrialSummary:
        trial = audited(target, group, confidence=0.5, **more)
        grounds = {"read": read, "amplified": read, "leaning": read}
        assert trial.submission is not None
        return trial.model_copy(
            update={"submission": trial.submission.model_copy(update={"grounds": grounds})}
        )

    for n in range(24):
        share = rng.choice([0.9, 0.3])
        right = rng.random() < (0.95 if share > 0.5 else 0.5)
        found.append(
            one(
                f"g{n}",
                "guilty",
                share + rng.uniform(-noise, noise),
                right=right,
                truth=f"m{n % 6}",
            )
        )
    found += [one(f"c{n}", "clean", 0.05 + rng.uniform(-noise, noise) / 2) for n in range(8)]
    return found


def test_loud_readings_make_sure_and_faint_ones_do_not(audited: Audited) -> None:
    found = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on="here").calibrator
    loud, faint = ({"read": s, "amplified": s, "leaning": s} for s in (0.9, 0.05))
    assert found.hidden.probability(loud) > 0.9 > 0.3 > found.hidden.probability(faint)
    assert found.right.probability(loud) > 0.7
    assert found.threshold > found.hidden.probability(faint)
    assert (found.fitted_on, found.false_alarm) == ("here", 0.05)


def test_all_audits_of_a_motive_are_left_out_together(audited: Audited) -> None:
    marked = [
        t.model_copy(
            update={"submission": t.submission.model_copy(update={"grounds": {"read": 1.0}})}
        )
        if t.truth == "m0" and t.submission is not None
        else t
        for t in trials(audited)
    ]
    fitted = fit_calibrator(marked, false_alarm=0.05, fitted_on="")
    alone = fit_calibrator([t for t in marked if t.truth != "m0"], false_alarm=0.05, fitted_on="")
    for case, p in zip(fitted.cases, fitted.hidden, strict=True):
        if case.fold == "m0":
            assert p == pytest.approx(alone.calibrator.hidden.probability(case.grounds))


def test_symptoms_nulls_and_audits_without_a_guess_teach_nothing(audited: Audited) -> None:
    kept = trials(audited)
    submission = kept[0].submission
    others = [
        audited("s", "symptom", right=True).model_copy(update={"submission": submission}),
        kept[0].model_copy(update={"null_readout": "placebo"}),
        audited("clean-without-a-guess", "clean", claims=False),
        kept[1].model_copy(update={"status": "errored"}),
    ]
    assert cases_of([*kept, *others]) == cases_of(kept)


def test_a_withheld_guess_counts_as_right_or_wrong(audited: Audited) -> None:
    trial = audited("g", claims=False, right=True, truth="m")
    assert trial.submission is not None
    submission = trial.submission.model_copy(update={"grounds": {"read": 0.5}})
    assert [c.right for c in cases_of([trial.model_copy(update={"submission": submission})])] == [
        True
    ]


@pytest.mark.parametrize("level", [0.0, 0.05, 0.25, 0.5, 1.0])
def test_the_threshold_keeps_the_rate_over_targets_and_no_lower_one_would(level: float) -> None:
    hidden = [0.9, 0.8, 0.6, 0.5, 0.2]
    cases = [
        Case("g", "g", {}, guilty=True, right=True),
        *(Case(t, t, {}, guilty=False, right=False) for t in ("a", "a", "b", "c")),
    ]
    audits = {"a": 4, "b": 1, "c": 2, "d": 3}

    def rate(threshold: float) -> float:
        return sum(
            1 / audits[c.target] / len(audits)
            for p, c in zip(hidden, cases, strict=True)
            if not c.guilty and p >= threshold
        )

    threshold = threshold_of(cases, hidden, audits=audits, level=level)
    assert rate(threshold) <= level
    lower = max((p for p in hidden if p < threshold), default=None)
    if lower is not None and level < 1:
        assert rate(lower) > level or lower == 0.9


def test_without_innocent_audits_there_is_nothing_to_calibrate_on(audited: Audited) -> None:
    guilty = [t for t in trials(audited) if t.group == "guilty"]
    with pytest.raises(UsageError, match="0 innocent targets"):
        fit_calibrator(guilty, false_alarm=0.05, fitted_on="")


def test_what_is_left_out_is_scored_as_it_would_be_reported(audited: Audited) -> None:
    left = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on="").left_out
    assert left.detected == 1.0
    assert left.false_alarms == 0.0
    assert 0.0 < left.brier.score < left.brier.reference


def shown(fitted: Fitted) -> list[str]:
    """Lines as a terminal of 80 columns gets them."""
    out = StringIO()
    Console(file=out, width=80).print(describe(fitted))
    return out.getvalue().splitlines()


def test_the_summary_shows_the_weights_of_both_models_side_by_side(audited: Audited) -> None:
    fitted = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on="here")
    lines = shown(fitted)
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:1] == " "}
    hidden, right = fitted.calibrator.hidden, fitted.calibrator.right
    assert rows["intercept"] == [f"{hidden.intercept:+.2f}", f"{right.intercept:+.2f}"]
    for name in hidden.weights:
        assert rows[name] == [f"{hidden.weights[name]:+.2f}", f"{right.weights[name]:+.2f}"]


def test_the_summary_says_what_the_fit_rests_on_and_how_it_carries_over(audited: Audited) -> None:
    fitted = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on="here")
    said = " ".join(" ".join(shown(fitted)).split())
    assert "on here: 24 guilty and 8 innocent audits with a guess, of 32 targets" in said
    assert f"at a suspicion of {fitted.calibrator.threshold:.3f} or more" in said
    assert "at most 5% of innocent targets" in said
    assert "claims 100% of guilty and 0% of innocent ones" in said
    # One audit a target, so that the mean over targets is the plain one.
    off = fmean(
        (min(p, q) - case.right) ** 2
        for p, q, case in zip(fitted.right, fitted.hidden, fitted.cases, strict=True)
    )
    assert f"Brier {off:.3f} (skill {fitted.left_out.brier.skill:+.2f})" in said
    assert f"ECE {fitted.left_out.ece:.3f}" in said


def test_without_a_right_guess_no_skill_is_told(audited: Audited) -> None:
    fitted = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on="here")
    wrong = replace(fitted, cases=tuple(replace(case, right=False) for case in fitted.cases))
    assert "skill" not in " ".join(shown(wrong))


def test_what_a_calibrator_was_fitted_on_is_no_markup_and_no_escape(audited: Audited) -> None:
    fitted_on = "split [bold]x[/bold]\x1b[2J"
    fitted = fit_calibrator(trials(audited), false_alarm=0.05, fitted_on=fitted_on)
    said = " ".join(shown(fitted))
    assert "[bold]x[/bold]" in said
    assert "\x1b" not in said
