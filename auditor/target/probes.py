"""Probes: whether the files of one can be used, and one in memory."""

from pathlib import Path
from typing import NamedTuple

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target.preflight import BadFileError, read_shapes
from auditor.target.reader_preflight import stream_misfit
from nla_core.probe import (
    WEIGHTS_FILE,
    ProbeError,
    ProbeRecord,
    load_probe,
    read_record,
    shape_problem,
)
from tools.protocols import Probe


class Inspected(NamedTuple):
    """What the files of a probe tell."""

    record: ProbeRecord | None
    problem: str | None
    """The first thing that is wrong with them, in one line; None when nothing is."""


def preflight_probe(folder: Path) -> Inspected:
    """Inspect the record of a probe and the header of its weights, loading nothing."""
    try:
        is_there = folder.is_dir()
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        return Inspected(None, f"there is no folder {str(folder)!r}; check the path")
    path = folder / WEIGHTS_FILE
    try:
        record = read_record(folder)
        if not path.is_file():
            return Inspected(None, f"{path}: there is no such file")
        problem = shape_problem(record, read_shapes(path))
    except (ProbeError, BadFileError) as error:
        return Inspected(None, str(error))
    return Inspected(record, None if problem is None else f"{path}: {problem}")


def probe_misfit(record: ProbeRecord, model: Model) -> str | None:
    """Say why a probe cannot classify a model's activations; None when nothing speaks against it.

    Width and depth are compared, of local folders alone: another layer of the same width cannot
    be told from the probe's own.
    """
    return stream_misfit(model, width=record.d_model, layer=record.layer)


def load(folder: Path) -> Probe:
    """Return the probe in a folder.

    Raises:
        UsageError: When it cannot be loaded; the message names the file and the cause.
    """
    try:
        return load_probe(folder)
    except ProbeError as error:
        raise UsageError(f"cannot load a probe: {error}") from None
