"""Sparse autoencoders: whether the files of one can be used, and one in memory."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target.preflight import BadFileError, read_shapes
from auditor.target.reader_preflight import stream_misfit
from nla_core.sae import (
    WEIGHTS_FILE,
    SAEConfig,
    SAEError,
    load_sae,
    read_config,
    read_notes,
    shape_problem,
)
from tools.protocols import SparseAutoencoder


class Inspected(NamedTuple):
    """What the files of an autoencoder tell."""

    config: SAEConfig | None
    problem: str | None
    """The first thing that is wrong with them, in one line; None when nothing is."""


def preflight_sae(folder: Path) -> Inspected:
    """Inspect the configuration, the header of the weights and the notes, loading no weights."""
    try:
        is_there = folder.is_dir()
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        return Inspected(None, f"there is no folder {str(folder)!r}; check the path")
    path = folder / WEIGHTS_FILE
    try:
        config = read_config(folder)
        if not path.is_file():
            return Inspected(None, f"{path}: there is no such file")
        problem = shape_problem(config, read_shapes(path))
        read_notes(folder, config.d_sae)
    except (SAEError, BadFileError) as error:
        return Inspected(None, str(error))
    return Inspected(config, None if problem is None else f"{path}: {problem}")


def sae_misfit(config: SAEConfig, model: Model) -> str | None:
    """Say why an autoencoder cannot read a model's activations; None: nothing speaks against it."""
    return stream_misfit(model, width=config.d_in, layer=config.layer)


@lru_cache(maxsize=2)
def load(folder: Path) -> SparseAutoencoder:
    """Return the autoencoder in a folder, read once.

    Raises:
        UsageError: When it cannot be loaded; the message names the file and the cause.
    """
    try:
        return load_sae(folder)
    except SAEError as error:
        raise UsageError(f"cannot load a sparse autoencoder: {error}") from None
