"""The sparse autoencoder of a scenario: where it is, and whether it fits the targets."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from auditor.errors import Mistake
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.readers import first_misfit
from auditor.scenario.schema import Model, SAESpec, TargetSpec
from auditor.scenario.validate import salvage


class OpenedSAE(NamedTuple):
    """What a scenario says of its sparse autoencoder, checked."""

    folder: Path | None
    """Absolute path; None when there is none or it cannot be used."""
    mistakes: list[Mistake]


def open_sae(document: Document, folder: Path, targets: Iterable[TargetSpec]) -> OpenedSAE:
    """Find the autoencoder, inspect its files and compare it with every target and baseline.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """
    from auditor.target.saes import preflight_sae, sae_misfit

    written = document.data.get("sae")
    spec = None if written is None else salvage(SAESpec, written)
    if spec is None:
        return OpenedSAE(None, [])
    place = absolute(spec.path, folder)
    found = preflight_sae(place)
    config = found.config

    def misfit(model: Model) -> str | None:
        return None if config is None else sae_misfit(config, model)

    problem = found.problem
    if problem is None:
        problem = first_misfit(targets, misfit)
        problem = None if problem is None else f"{problem}; name an autoencoder of that model"
    if problem is not None:
        return OpenedSAE(None, [document.mistake(("sae", "path"), problem)])
    return OpenedSAE(place, [])
