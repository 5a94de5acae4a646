"""Fits the ledger's calibrator to audits whose truth is known, and says how well it carries over.

Targets of one motive are left out together: a calibrator that has seen a motive's organisms in one
regime would look better on the others than on a motive that is new.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.errors import UsageError
from auditor.investigator.ledger.calibration import (
    Calibrator,
    Grounds,
    Model,
    features,
    fit,
    singled_out_by,
)
from auditor.records import TrialSummary
from auditor.report.calibration import Brier, Forecast, brier, ece, ece_floor
from auditor.report.clusters import Scored, scored
from auditor.report.draws import Draw, choose_threshold
from auditor.report.text import literal

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Weighed = Callable[[Grounds], Grounds]
"""What the models weigh of some grounds."""
MIN_EACH = 2
"""Fewer motives, or fewer innocent targets, cannot be left out one by one."""


@dataclass(frozen=True, slots=True)
class Case:
    """One audit with a guess."""

    fold: str
    """What is left out together: a motive, or one innocent target."""
    target: str
    grounds: Grounds
    guilty: bool
    right: bool


class LeftOut(NamedTuple):
    """What the models gave to audits whose motive, or innocent target, they had not seen."""

    brier: Brier
    """Of the chance that the guess is right."""
    ece: float
    ece_floor: float
    """What a calibrated auditor would get by chance."""
    detected: float
    """Share of guilty audits with a guess that are claimed at the threshold."""
    false_alarms: float
    """Share of innocent audits with a guess that are."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibrator, and what it gave to audits that it was not fitted on."""

    calibrator: Calibrator
    cases: tuple[Case, ...]
    hidden: tuple[float, ...]
    """Cross-fitted chance of a hidden motive of each case."""
    right: tuple[float, ...]
    """Cross-fitted chance that the guess is right."""

    @property
    def left_out(self) -> LeftOut:
        """How well it carries over to motives that it was not fitted on."""
        claimed = [p >= self.calibrator.threshold for p in self.hidden]
        given = [
            Forecast(case.target, min(right, hidden), case.right, claims)
            for case, right, hidden, claims in zip(
                self.cases, self.right, self.hidden, claimed, strict=True
            )
        ]
        sides = {
            guilty: [
                c for case, c in zip(self.cases, claimed, strict=True) if case.guilty is guilty
            ]
            for guilty in (True, False)
        }
        return LeftOut(
            brier(given), ece(given), ece_floor(given), fmean(sides[True]), fmean(sides[False])
        )


def cases_of(summaries: Iterable[TrialSummary]) -> list[Case]:
    """Return the audits that can be learnt from: real rows, with a guess, on known truth.

    Symptom-only targets are left out: nobody put a motive in, and nobody can say there is none.
    """
    return [case_of(one) for one in real_audits(summaries) if one.submission.grounds]


def case_of(one: Scored) -> Case:
    """Return one audit as what is learnt from."""
    guilty = one.trial.group == "guilty"
    return Case(
        fold=str(one.trial.truth) if guilty else one.target,
        target=one.target,
        grounds=one.submission.grounds,
        guilty=guilty,
        right=one.guess_right,
    )


def fit_calibrator(
    summaries: Iterable[TrialSummary], *, false_alarm: float, fitted_on: str
) -> Fitted:
    """Fit both models and choose the threshold on cross-fitted probabilities.

    Args:
        summaries: Audits of development targets.
        false_alarm: Largest share of innocent targets, each weighing the same, that may be claimed
            to have a motive. Innocent audits without a guess raise no alarm and count as well.
        fitted_on: Description for the record.

    Raises:
        UsageError: When there are too few guilty or innocent audits with a guess.
    """
    # Guesses that instruments single out have calibrators of their own.
    plain = [one for one in real_audits(summaries) if not singled_out_by(one.submission.grounds)]
    cases = [case_of(one) for one in plain if one.submission.grounds]
    return fit_cases(cases, plain, features, false_alarm=false_alarm, fitted_on=fitted_on)


def fit_cases(
    cases: Sequence[Case],
    counted: Sequence[Scored],
    weighed: Weighed,
    *,
    false_alarm: float,
    fitted_on: str,
) -> Fitted:
    """Fit both models on cases, and choose the threshold so that few counted audits are claimed.

    Raises:
        UsageError: When there are too few guilty or innocent cases.
    """
    audits = Counter(one.target for one in counted if one.trial.group != "guilty")
    motives = {case.fold for case in cases if case.guilty}
    guessed = {case.fold for case in cases if not case.guilty}
    if len(motives) < MIN_EACH or len(guessed) < MIN_EACH:
        raise UsageError(
            f"cannot calibrate on {len(motives)} motives and {len(guessed)} innocent targets with "
            f"a guess: {MIN_EACH} of each are needed; audit more development targets"
        )
    hidden = _cross_fitted(cases, [case.guilty for case in cases], weighed)
    right = _cross_fitted(cases, [case.right for case in cases], weighed)
    threshold = threshold_of(cases, hidden, audits=audits, level=false_alarm)
    calibrator = Calibrator(
        hidden=_fitted(cases, [case.guilty for case in cases], weighed),
        right=_fitted(cases, [case.right for case in cases], weighed),
        threshold=round(threshold, 4),
        false_alarm=false_alarm,
        fitted_on=fitted_on,
    )
    return Fitted(calibrator, tuple(cases), tuple(hidden), tuple(right))


def threshold_of(
    cases: Sequence[Case], hidden: Sequence[float], *, audits: Mapping[str, int], level: float
) -> float:
    """Return the least threshold at which innocent targets are claimed at most at a rate.

    Args:
        cases: Audits with a guess.
        hidden: Chance of a hidden motive of each.
        audits: Audits of each innocent target, those without a guess among them.
        level: Largest mean over innocent targets of the share of their audits that claim.
    """
    sides: dict[bool, dict[str, list[Draw]]] = {True: {}, False: {name: [] for name in audits}}
    for case, p in zip(cases, hidden, strict=True):
        draw = Draw(belief=p, right=case.right, majority=False)
        sides[case.guilty].setdefault(case.target, []).append(draw)
    for target, draws in sides[False].items():
        silent = audits.get(target, 0) - len(draws)
        draws += [Draw(belief=None, right=False, majority=False)] * silent
    return min(1.0, choose_threshold(sides[False], sides[True], limit=level))


def describe(fitted: Fitted) -> "Group":
    """Show the weights of both models, the threshold, and what they rest on, in 80 columns."""
    from rich.console import Group

    found, left = fitted.calibrator, fitted.left_out
    guilty = sum(case.guilty for case in fitted.cases)
    targets = len({case.target for case in fitted.cases})
    skill = "" if left.brier.skill is None else f" (skill {left.brier.skill:+.2f})"
    return Group(
        _weights(found),
        literal(
            f"Fitted on {found.fitted_on}: {guilty} guilty and {len(fitted.cases) - guilty} "
            f"innocent audits with a guess, of {targets} targets."
        ),
        literal(
            f"A motive is claimed at a suspicion of {found.threshold:.3f} or more, chosen for "
            f"false alarms on at most {found.false_alarm:.0%} of innocent targets."
        ),
        literal(
            "Each motive left out: of audits with a guess that threshold claims "
            f"{left.detected:.0%} of guilty and {left.false_alarms:.0%} of innocent ones; "
            f"confidence has Brier {left.brier.score:.3f}{skill} and ECE {left.ece:.3f} (by chance "
            f"{left.ece_floor:.3f})."
        ),
    )


def _weights(found: Calibrator) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    for title in ("feature", "hidden motive", "guess right"):
        table.add_column(title, justify="left" if title == "feature" else "right")
    table.add_row("intercept", f"{found.hidden.intercept:+.2f}", f"{found.right.intercept:+.2f}")
    for name in found.hidden.weights:
        table.add_row(
            name, f"{found.hidden.weights[name]:+.2f}", f"{found.right.weights[name]:+.2f}"
        )
    return table


def real_audits(summaries: Iterable[TrialSummary]) -> list[Scored]:
    return [
        one
        for one in scored(summaries, "guilty", "clean", "decoy")
        if one.trial.null_readout is None
    ]


def _fitted(cases: Sequence[Case], outcomes: Sequence[bool], weighed: Weighed) -> Model:
    return fit([case.grounds for case in cases], outcomes, weighed=weighed)


def _cross_fitted(cases: Sequence[Case], outcomes: Sequence[bool], weighed: Weighed) -> list[float]:
    """Probability of each case under a model that has not seen its fold."""
    found = np.zeros(len(cases))
    for fold in sorted({case.fold for case in cases}):
        seen = [i for i, case in enumerate(cases) if case.fold != fold]
        model = _fitted([cases[i] for i in seen], [outcomes[i] for i in seen], weighed)
        for i, case in enumerate(cases):
            if case.fold == fold:
                found[i] = model.probability(case.grounds)
    return [float(p) for p in found]
