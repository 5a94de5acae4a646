"""The calibrator that a scenario names instead of the shipped one."""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from auditor.errors import Mistake
from auditor.scenario.diagnose import shorten
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.schema import AuditorSpec
from auditor.scenario.validate import salvage


class OpenedCalibrator(NamedTuple):
    """What a scenario says of its calibrator, checked."""

    content: dict[str, Any] | None
    """The file's content; None when none is named or it cannot be used."""
    mistakes: list[Mistake]


def open_calibrator(document: Document, folder: Path) -> OpenedCalibrator:
    """Read and check the file under `auditor.calibration`, if there is one."""
    spec = salvage(AuditorSpec, document.data.get("auditor", {}))
    if spec is None or spec.calibration is None:
        return OpenedCalibrator(None, [])
    # It brings numpy, which most scenarios can be checked without.
    from auditor.investigator.ledger.calibration import Calibrator

    path = absolute(spec.calibration, folder)
    try:
        found = Calibrator.model_validate_json(path.read_bytes())
    except OSError as error:
        problem = f"cannot read {shorten(spec.calibration)} ({path}): {error.strerror}"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ": ".join([*map(str, first["loc"]), first["msg"]])
        problem = f"{shorten(spec.calibration)} is not a calibrator: {place}"
    else:
        return OpenedCalibrator(found.model_dump(), [])
    what = f"{problem}; write one with `auditor calibrate RUN --out FILE`"
    return OpenedCalibrator(None, [document.mistake(("auditor", "calibration"), what)])
