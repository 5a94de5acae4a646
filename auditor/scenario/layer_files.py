"""What works on one layer's activations and lies in a folder: where it is, and whom it fits."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from auditor.errors import Mistake
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.readers import first_misfit
from auditor.scenario.schema import Model, ProbeSpec, SAESpec, TargetSpec
from auditor.scenario.validate import salvage

Misfit = Callable[[Model], str | None]
"""Says why it cannot work on a model's activations; None when nothing speaks against it."""


class Inspected(NamedTuple):
    """What the files in a folder tell."""

    misfit: Misfit
    problem: str | None
    """The first thing that is wrong with them, in one line; None when nothing is."""


class Opened(NamedTuple):
    """What a scenario names, checked."""

    folder: Path | None
    """Absolute path; None when there is none or it cannot be used."""
    mistakes: list[Mistake]


def open_probe(document: Document, folder: Path, targets: Iterable[TargetSpec]) -> Opened:
    """Find the probe, inspect its files and compare it with every target and baseline.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """

    def inspect(place: Path) -> Inspected:
        from auditor.target.probes import preflight_probe, probe_misfit

        record, problem = preflight_probe(place)
        return Inspected(
            lambda model: None if record is None else probe_misfit(record, model), problem
        )

    spec = _written(document, "probe", ProbeSpec)
    return _opened(document, "probe", spec, folder, targets, inspect, "a probe")


def open_sae(document: Document, folder: Path, targets: Iterable[TargetSpec]) -> Opened:
    """Find the sparse autoencoder, inspect it and compare it with every target and baseline.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """

    def inspect(place: Path) -> Inspected:
        from auditor.target.saes import preflight_sae, sae_misfit

        config, problem = preflight_sae(place)
        return Inspected(
            lambda model: None if config is None else sae_misfit(config, model), problem
        )

    spec = _written(document, "sae", SAESpec)
    return _opened(document, "sae", spec, folder, targets, inspect, "an autoencoder")


def _written(
    document: Document, key: str, kind: type[ProbeSpec] | type[SAESpec]
) -> ProbeSpec | SAESpec | None:
    written = document.data.get(key)
    return None if written is None else salvage(kind, written)


def _opened(
    document: Document,
    key: str,
    spec: ProbeSpec | SAESpec | None,
    folder: Path,
    targets: Iterable[TargetSpec],
    inspect: Callable[[Path], Inspected],
    what: str,
) -> Opened:
    if spec is None:
        return Opened(None, [])
    place = absolute(spec.path, folder)
    misfit, problem = inspect(place)
    if problem is None:
        problem = first_misfit(targets, misfit)
        problem = None if problem is None else f"{problem}; name {what} of that model"
    if problem is not None:
        return Opened(None, [document.mistake((key, "path"), problem)])
    return Opened(place, [])
