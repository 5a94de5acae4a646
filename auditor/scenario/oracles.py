"""The activation oracle of a scenario: where its files are, and whom it fits."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from auditor.errors import Mistake
from auditor.scenario.document import Document
from auditor.scenario.models import locate_oracle
from auditor.scenario.readers import first_misfit
from auditor.scenario.schema import OracleSpec, TargetSpec
from auditor.scenario.validate import salvage


class OpenedOracle(NamedTuple):
    """What a scenario names, checked."""

    spec: OracleSpec | None
    """With an absolute path or a hub id; None when there is none or it cannot be used."""
    mistakes: list[Mistake]


def open_oracle(document: Document, folder: Path, targets: Iterable[TargetSpec]) -> OpenedOracle:
    """Find the oracle, inspect its files and compare it with every target and baseline.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """
    from auditor.target.oracles import oracle_misfit, preflight_oracle

    written = document.data.get("oracle")
    spec = None if written is None else salvage(OracleSpec, written)
    if spec is None:
        return OpenedOracle(None, [])
    spec, problem = locate_oracle(spec, folder)
    if problem is None:
        record, problem = preflight_oracle(spec)
    if problem is None:
        problem = first_misfit(targets, lambda model: oracle_misfit(spec, record, model))
        problem = None if problem is None else f"{problem}; name an oracle of that model"
    if problem is not None:
        return OpenedOracle(None, [document.mistake(("oracle", "path"), problem)])
    return OpenedOracle(spec, [])
