"""Whether a verbalizer, a reconstructor and a baseline belong together."""

import math
import warnings
from pathlib import Path

from nla_core._sidecar_fields import show
from nla_core.fidelity import Baseline
from nla_core.sidecar import Sidecar, SidecarError

_SCALE_TOLERANCE = 1e-3


class PairWarning(UserWarning):
    """Something about a pair looks odd and does not stop it from working."""


def check_pair(av: Sidecar, ar: Sidecar, *, av_name: str = "", ar_name: str = "") -> None:
    """Refuse two sidecars that do not belong together.

    Warns with `PairWarning` when they name different base checkpoints: one model has many names.

    Raises:
        SidecarError: Listing every field that differs.
    """
    names = f"{av_name or 'the verbalizer'} and {ar_name or 'the reconstructor'}"
    if (av.role, ar.role) == ("ar", "av"):
        raise SidecarError(f"{names} are the wrong way round")
    if (av.role, ar.role) != ("av", "ar"):
        both = "verbalizers" if av.role == "av" else "reconstructors"
        raise SidecarError(f"{names} are both {both}; a pair needs one of each")
    differing = [
        f"{name} is {_short(ours)} and {_short(theirs)}"
        for name, ours, theirs, optional in (
            ("d_model", av.d_model, ar.d_model, False),
            ("layer", av.layer, ar.layer, True),
            ("the reconstructor's template", av.ar_template, ar.ar_template, True),
        )
        if ours != theirs and not (optional and None in (ours, theirs))
    ]
    if not _same_scale(av.mse_scale, ar.mse_scale):
        differing.append(f"mse_scale is {av.mse_scale} and {ar.mse_scale}")
    if differing:
        raise SidecarError(f"{names} do not belong together: {'; '.join(differing)}")
    bases = (av.base_checkpoint, ar.base_checkpoint)
    if None not in bases and bases[0] != bases[1]:
        warnings.warn(
            f"{names} name different base checkpoints, {_short(bases[0])} and "
            f"{_short(bases[1])}; make sure that these are one model",
            PairWarning,
            stacklevel=2,
        )


def check_baseline(baseline: Baseline, sidecar: Sidecar, path: Path) -> None:
    """Refuse the baseline in a file that does not fit its reconstructor.

    Raises:
        SidecarError: Saying what differs.
    """
    if len(baseline.mu) != sidecar.d_model:
        raise SidecarError(
            f"{path}: mu has {len(baseline.mu)} values, d_model is {sidecar.d_model}"
        )
    if not _same_scale(baseline.mse_scale, sidecar.mse_scale):
        raise SidecarError(
            f"{path}: mse_scale is {baseline.mse_scale}, the reconstructor's is {sidecar.mse_scale}"
        )


def _same_scale(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=_SCALE_TOLERANCE)


def _short(value: object) -> str:
    """Render a value for a message that has to stay on one line."""
    return show(value) if isinstance(value, str) else str(value)
