"""Probes: whether the files of one can be used, and one in memory."""

from functools import partial
from pathlib import Path

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target.inspecting import Inspected, inspect_folder, weights_problem
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


def preflight_probe(folder: Path) -> Inspected[ProbeRecord]:
    """Inspect the record of a probe and the header of its weights, loading nothing."""

    def check(folder: Path, record: ProbeRecord) -> str | None:
        return weights_problem(folder / WEIGHTS_FILE, partial(shape_problem, record))

    return inspect_folder(folder, read_record, error=ProbeError, check=check)


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
