"""Fits calibrators of guesses that single instruments lead to, one for each instrument."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.investigator.ledger.calibration import APART, instrument_features, singled_out_by
from auditor.records import TrialSummary
from auditor.report.fitting import Fitted, case_of, describe, fit_cases, real_audits
from auditor.report.text import literal

if TYPE_CHECKING:
    from rich.console import Group


def fit_instruments(
    summaries: Iterable[TrialSummary], *, false_alarm: float, fitted_on: str
) -> dict[str, Fitted]:
    """Fit, by instrument, what holds for guesses that it singles out.

    Innocent audits of the rows in which the instrument singled out anything count as well where it
    singled out nothing: to be silent there is what it should do. An instrument that singles out
    guesses of too few guilty targets has no calibrator.

    Args:
        summaries: Audits of development targets.
        false_alarm: As for `fit_calibrator`.
        fitted_on: Description for the record.
    """
    real = real_audits(summaries)
    found = {}
    for tool in APART:
        led = [one for one in real if tool in singled_out_by(one.submission.grounds)]
        rows = {one.trial.key.tool_set for one in led}
        within = [one for one in real if one.trial.key.tool_set in rows]
        innocent = [one for one in within if one.trial.group != "guilty"]
        guilty = [one for one in led if one.trial.group == "guilty"]
        with suppress(UsageError):
            found[tool] = fit_cases(
                [case_of(one) for one in (*guilty, *innocent)],
                within,
                instrument_features(tool),
                false_alarm=false_alarm,
                fitted_on=fitted_on,
            )
    return found


def instruments_json(found: Mapping[str, Fitted]) -> str:
    """Return what stands under `instruments` of a calibrator's file."""
    plain = {name: one.calibrator.model_dump(exclude_defaults=True) for name, one in found.items()}
    return json.dumps(plain, indent=1) + "\n"


def describe_instruments(found: Mapping[str, Fitted]) -> "Group":
    """Show each instrument's calibrator, and name the instruments that have none, in 80 columns."""
    from rich.console import Group

    shown = [part for tool, one in found.items() for part in (literal(f"{tool}:"), describe(one))]
    without = [tool for tool in APART if tool not in found]
    if without:
        shown.append(
            literal(
                f"Singled out too few motives: {', '.join(without)}. Guesses that rest on these "
                "alone will not be claimed."
            )
        )
    return Group(*shown)
