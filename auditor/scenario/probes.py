"""The probe of a scenario: where it is, and whether it fits the targets."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from auditor.errors import Mistake
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.readers import first_misfit
from auditor.scenario.schema import Model, ProbeSpec, TargetSpec
from auditor.scenario.validate import salvage


class OpenedProbe(NamedTuple):
    """What a scenario says of its probe, checked."""

    folder: Path | None
    """Absolute path; None when there is no probe or it cannot be used."""
    mistakes: list[Mistake]


def open_probe(document: Document, folder: Path, targets: Iterable[TargetSpec]) -> OpenedProbe:
    """Find the probe, inspect its files and compare it with every target and baseline.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """
    from auditor.target.probes import preflight_probe, probe_misfit

    written = document.data.get("probe")
    spec = None if written is None else salvage(ProbeSpec, written)
    if spec is None:
        return OpenedProbe(None, [])
    place = absolute(spec.path, folder)
    found = preflight_probe(place)
    record = found.record

    def misfit(model: Model) -> str | None:
        return None if record is None else probe_misfit(record, model)

    problem = found.problem
    if problem is None:
        problem = first_misfit(targets, misfit)
        problem = None if problem is None else f"{problem}; name a probe of that model"
    if problem is not None:
        return OpenedProbe(None, [document.mistake(("probe", "path"), problem)])
    return OpenedProbe(place, [])
