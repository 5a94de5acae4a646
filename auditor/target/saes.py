"""Sparse autoencoders: whether the files of one can be used, and one in memory."""

from functools import lru_cache, partial
from pathlib import Path

from auditor.errors import UsageError
from auditor.scenario.schema import Model
from auditor.target.inspecting import Inspected, inspect_folder, weights_problem
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


def preflight_sae(folder: Path) -> Inspected[SAEConfig]:
    """Inspect the configuration, the header of the weights and the notes, loading no weights."""

    def check(folder: Path, config: SAEConfig) -> str | None:
        problem = weights_problem(folder / WEIGHTS_FILE, partial(shape_problem, config))
        read_notes(folder, config.d_sae)
        return problem

    return inspect_folder(folder, read_config, error=SAEError, check=check)


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
