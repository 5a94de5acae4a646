"""Fitting what holds for guesses that instruments single out."""

import json
from collections.abc import Callable
from io import StringIO

from rich.console import Console

from auditor.investigator.ledger.calibration import Calibrator, confidence
from auditor.records import TrialSummary
from auditor.report.fitting import fit_calibrator
from auditor.report.fitting_instruments import (
    describe_instruments,
    fit_instruments,
    instruments_json,
)

Audited = Callable[..., TrialSummary]


def with_grounds(trial: TrialSummary, grounds: dict[str, float]) -> TrialSummary:
    assert trial.submission is not None
    return trial.model_copy(
        update={"submission": trial.submission.model_copy(update={"grounds": grounds})}
    )


def trials(audited: Audited) -> list[TrialSummary]:
    """A lens that leads far in guilty targets, and little or not at all in innocent ones."""
    found = []
    for n in range(12):
        trial = audited(f"g{n}", "guilty", confidence=0.5, right=True, truth=f"m{n % 4}")
        found.append(with_grounds(trial, {"logit_lens": 0.9, "logit_lens_distance": 0.5}))
    for n in range(6):
        trial = audited(f"c{n}", "clean", confidence=0.5)
        found.append(with_grounds(trial, {"logit_lens": 0.5} if n < 2 else {}))
    return found


def test_an_instrument_that_tells_guilty_from_innocent_is_trusted_where_it_leads_far(
    audited: Audited,
) -> None:
    found = fit_instruments(trials(audited), false_alarm=0.05, fitted_on="here")
    assert set(found) == {"logit_lens"}
    own = {"logit_lens": found["logit_lens"].calibrator}
    known = Calibrator.shipped().model_copy(update={"instruments": own})
    assert confidence({"logit_lens": 0.9, "logit_lens_distance": 0.5}, known).claimed
    assert not confidence({"logit_lens": 0.5}, known).claimed


def test_one_that_leads_as_far_in_innocent_targets_claims_nothing(audited: Audited) -> None:
    alike = [
        with_grounds(one, {"logit_lens": 0.9}) if one.submission is not None else one
        for one in trials(audited)
    ]
    found = fit_instruments(alike, false_alarm=0.05, fitted_on="here")["logit_lens"]
    known = Calibrator.shipped().model_copy(
        update={"instruments": {"logit_lens": found.calibrator}}
    )
    assert not confidence({"logit_lens": 0.9}, known).claimed


def test_guesses_that_readings_name_are_no_part_of_it(audited: Audited) -> None:
    read = [
        with_grounds(one, {**one.submission.grounds, "read": 0.5})
        for one in trials(audited)
        if one.submission is not None
    ]
    assert fit_instruments(read, false_alarm=0.05, fitted_on="here") == {}
    assert fit_calibrator(read, false_alarm=0.05, fitted_on="here").cases


def test_the_file_holds_one_calibrator_for_each_instrument(audited: Audited) -> None:
    found = fit_instruments(trials(audited), false_alarm=0.05, fitted_on="here")
    (one,) = json.loads(instruments_json(found)).values()
    assert Calibrator.model_validate(one) == found["logit_lens"].calibrator


def test_instruments_without_one_are_named(audited: Audited) -> None:
    found = fit_instruments(trials(audited), false_alarm=0.05, fitted_on="here")
    console = Console(file=StringIO(), width=80)
    console.print(describe_instruments(found))
    assert isinstance(console.file, StringIO)
    text = " ".join(console.file.getvalue().split())
    assert text.startswith("logit_lens: feature")
    assert "Singled out too few motives: activation_diff, sae_top, sae_feature, " in text
