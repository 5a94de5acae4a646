"""How sure the ledger may be, fitted on development organisms.

Two logistic models of the same grounds: the chance that the target hides a motive at all, and the
chance that the best guess names it. Both come from audits whose truth is known; on other targets
they hold as far as those resemble the development organisms.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from auditor.investigator.ledger.claims import FAINT_SHARE, Motive
from auditor.investigator.ledger.instruments import INSTRUMENTS, Lead
from auditor.investigator.ledger.naming import TOOL as NAMED
from auditor.investigator.ledger.phrases import Finding
from auditor.investigator.ledger.readings import Read
from auditor.records import Record

RIDGE = 0.1
"""Prior precision of every weight but the intercept, chosen by leaving out development motives."""
APART = (*INSTRUMENTS, NAMED)
"""What has a calibrator of its own where it shows anything."""
_MAX_Z = 12.0
_MAX_DISTANCE = 6.0
_STEPS = 100

Floats = NDArray[np.float64]
Grounds = Mapping[str, float]


def singled_out_by(grounds: Grounds) -> tuple[str, ...]:
    """Return the instruments that single a guess out, where no reading and no probe names it.

    What was read where the target is named changes what all else is worth, whatever else names it.
    """
    if grounds.get("looked"):
        return (NAMED,)
    if any(grounds.get(name) for name in ("read", "amplified", "probed")):
        return ()
    return tuple(tool for tool in INSTRUMENTS if grounds.get(tool))


def instrument_features(tool: str) -> Callable[[Grounds], dict[str, float]]:
    """Return what the models of one instrument weigh, each in [0, 1]."""
    if tool == NAMED:
        return _named_features
    names = (tool, f"{tool}_distance", "stated", "explained")
    return lambda grounds: {name: grounds.get(name, 0.0) for name in names}


def _named_features(grounds: Grounds) -> dict[str, float]:
    return _scaled(grounds, "read", "amplified", "named", "named_rival")


def features(grounds: Grounds) -> dict[str, float]:
    """Return what the models weigh, each in [0, 1].

    Shares go in by their logarithm, since a wish in 4 % of readings differs from one in 2 % more
    than one in 94 % from one in 92 %; and whether there were any of readings and probe, since what
    a wish without them rests on is of another kind.
    """
    return {
        **_scaled(grounds, "read", "amplified", "probed"),
        "by_readings": float(any(grounds.get(name, 0.0) > 0 for name in ("read", "amplified"))),
        "by_probe": float(grounds.get("probed", 0.0) > 0),
    }


def _scaled(grounds: Grounds, *shares: str) -> dict[str, float]:
    """Return these shares on a log scale, and what every model weighs beside them."""
    return {
        **{name: _on_log_scale(grounds.get(name, 0.0)) for name in shares},
        **{name: grounds.get(name, 0.0) for name in ("leaning", "stated", "explained")},
    }


def _on_log_scale(share: float) -> float:
    return max(0.0, float(np.log(max(share, FAINT_SHARE) / FAINT_SHARE) / -np.log(FAINT_SHARE)))


class Model(Record):
    """A logistic model of the features of grounds."""

    intercept: float
    weights: dict[str, float]

    def probability(self, grounds: Grounds) -> float:
        """Return the probability; a ground that is not given counts as 0."""
        given = {**grounds, **_named_features(grounds), **features(grounds)}
        logit = self.intercept + sum(w * given.get(k, 0.0) for k, w in self.weights.items())
        return float(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


class Calibrator(Record):
    """What turns grounds into probabilities, and the threshold below which nothing is claimed."""

    hidden: Model
    """Chance that the target hides a motive."""
    right: Model
    """Chance that the best guess names it."""
    threshold: float = Field(ge=0, le=1)
    """Least chance of a hidden motive at which one is claimed."""
    false_alarm: float
    """Rate of false alarms that the threshold was chosen for."""
    fitted_on: str
    """What it was fitted on."""
    instruments: "dict[str, Calibrator]" = Field(default_factory=dict)
    """By instrument, what holds for guesses that it singles out, see `singled_out_by`. A guess that
    rests on nothing but instruments that are not here is never claimed: nothing is known of how
    often such guesses are right."""

    @classmethod
    @lru_cache(maxsize=1)
    def shipped(cls) -> "Calibrator":
        """Read what was fitted on the sandbox's development organisms."""
        folder = resources.files(__package__)
        found = cls.model_validate_json(folder.joinpath("calibration.json").read_text("utf-8"))
        apart: dict[str, Calibrator] = {}
        for name in ("calibration-tools.json", "calibration-names.json"):
            apart |= _BY_TOOL.validate_json(folder.joinpath(name).read_text("utf-8"))
        return found.model_copy(update={"instruments": apart})


_BY_TOOL = TypeAdapter(dict[str, Calibrator])


class Confidence(NamedTuple):
    """How sure an audit may be of its leading motive."""

    hidden: float
    right: float
    claimed: bool


def grounds_of(motives: Sequence[Motive], confirmed: Sequence[Finding]) -> dict[str, float]:
    """Return what the confidence in the leading motive rests on; empty without a motive.

    All values are in [0, 1].
    """
    if not motives:
        return {}
    leader, reading = motives[0], motives[0].reading
    strength = 0.0 if reading is None else reading.strength
    z = 0.0 if reading is None or reading.z is None else reading.z
    return {
        "read": 0.0 if reading is None else reading.share,
        "amplified": strength,
        "lead": _lead(strength, [m.reading for m in motives[1:]]),
        "probed": 0.0 if leader.probed is None else leader.probed.share,
        "probed_lead": _lead(
            0.0 if leader.probed is None else leader.probed.share, [m.probed for m in motives[1:]]
        ),
        "leaning": min(max(z, 0.0), _MAX_Z) / _MAX_Z,
        "supported": float(reading is not None and reading.supported),
        "stated": float(leader.stated_p is not None),
        "explained": min(1.0, len(leader.support) / 3.0),
        "belief": leader.share,
        "behaviour": float(bool(confirmed)),
        **_of_names(motives),
        **{name: value for lead in leader.leads.values() for name, value in _of_lead(lead)},
    }


def _of_names(motives: Sequence[Motive]) -> dict[str, float]:
    """What was in mind where the target is named; nothing when nobody looked there."""
    leader = motives[0].named
    if leader is None:
        return {}
    rivals = [motive.named.share for motive in motives[1:] if motive.named is not None]
    return {"looked": 1.0, "named": leader.share, "named_rival": max(rivals, default=0.0)}


def _of_lead(lead: Lead) -> Iterator[tuple[str, float]]:
    yield lead.tool, lead.share
    yield f"{lead.tool}_distance", min(max(lead.distance, 0.0), _MAX_DISTANCE) / _MAX_DISTANCE


def _lead(strength: float, rivals: Sequence[Read | None]) -> float:
    """The leader's strength over the sum of it and its strongest rival's."""
    rival = max((r.strength for r in rivals if r is not None), default=0.0)
    return strength / (strength + rival) if strength > 0 else 0.0


def confidence(grounds: Grounds, calibrator: Calibrator) -> Confidence:
    """Return both probabilities, the second never above the first, and whether to claim.

    Of a guess that instruments single out it is what the first of them that is known allows.
    """
    by = singled_out_by(grounds)
    known = [calibrator.instruments[tool] for tool in by if tool in calibrator.instruments]
    if by and not known and not any(grounds.get(name) for name in ("stated", "explained")):
        return Confidence(0.0, 0.0, claimed=False)
    return _confidence(grounds, known[0] if known else calibrator)


def _confidence(grounds: Grounds, calibrator: Calibrator) -> Confidence:
    hidden = calibrator.hidden.probability(grounds)
    right = min(hidden, calibrator.right.probability(grounds))
    return Confidence(hidden, right, claimed=hidden >= calibrator.threshold)


def fit(
    rows: Sequence[Grounds],
    outcomes: Sequence[bool],
    *,
    ridge: float = RIDGE,
    weighed: Callable[[Grounds], Grounds] = features,
) -> Model:
    """Fit a logistic model by penalised maximum likelihood (Newton's method).

    le Cessie & van Houwelingen 1992, Applied Statistics 41:191-201: log-likelihood minus
    ridge/2 times the squared norm of the weights, intercept left out.

    Args:
        rows: Grounds of each audit.
        outcomes: What happened.
        ridge: Prior precision of the weights.
        weighed: What the model weighs of some grounds.

    Raises:
        ValueError: When there are no rows, or not one outcome for each.
    """
    if not rows or len(rows) != len(outcomes):
        raise ValueError("give one outcome for each row, and at least one row")
    given = [weighed(row) for row in rows]
    names = list(given[0])
    x = np.array([[1.0, *row.values()] for row in given])
    y = np.asarray(outcomes, dtype=np.float64)
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = 1e-6
    found = _newton(x, y, penalty)
    weights = {name: round(float(w), 4) for name, w in zip(names, found[1:], strict=True)}
    return Model(intercept=round(float(found[0]), 4), weights=weights)


def _newton(x: Floats, y: Floats, penalty: Floats) -> Floats:
    """Climb the penalised log-likelihood; a step that does not improve it is halved."""

    def value(w: Floats) -> float:
        logits = x @ w
        return float(y @ logits - np.logaddexp(0.0, logits).sum() - 0.5 * penalty @ (w * w))

    w = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ w, -30.0, 30.0)))
        gradient = x.T @ (y - p) - penalty * w
        curvature = (x * (p * (1.0 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while value(w + step) < value(w) and np.abs(step).max() > 1e-12:
            step = step / 2
        w = w + step
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(w, dtype=np.float64)
