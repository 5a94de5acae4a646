"""Whether activations on disk, and a warm start, are what a recipe and its models expect.

All layers of a model have the same width and all files the same names: nothing else would tell
another layer's activations from the right ones.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nla_core.dataset_sidecar import DatasetSidecar, Extraction, Stage, read_dataset_sidecar
from nla_core.sidecar import Sidecar, SidecarError
from nla_core.training.config import Recipe, public_name
from nla_core.training.dataset import VECTOR, Dataset

Difference = tuple[str, Any, Any]
"""What differs, what is there, what was expected."""


def check_dataset(
    data: Dataset, *, stage: Stage, base_model: str, layer: int, model: Sidecar | None = None
) -> None:
    """Compare the sidecar of each file of a dataset with what is to be trained or measured.

    Args:
        data: Files with sidecars.
        stage: What kind of rows they must hold.
        base_model: Model that the activations must come from, a folder or hub id.
        layer: Decoder block that they must come from.
        model: Of the verbalizer or reconstructor; None compares no width, tokens and templates.

    Raises:
        SidecarError: When a sidecar is missing or malformed, or says something else.
    """
    for path in data.paths:
        found = read_dataset_sidecar(path)
        differences = list(_of_dataset(found, stage, base_model, layer))
        if model is not None:
            differences += _of_model(found, model, pq.read_schema(path))
        _refuse(path, differences, "name the folder of activations that were harvested for this")


def check_shard(path: Path, expected: Extraction) -> None:
    """Compare a harvested file with what a harvest would write there now.

    Raises:
        SidecarError: Saying what differs.
    """
    found = read_dataset_sidecar(path).extraction
    differences = [
        (name, getattr(found, name), getattr(expected, name))
        for name in Extraction.model_fields
        if name != "base_model" and getattr(found, name) != getattr(expected, name)
    ]
    if not same_model(found.base_model, expected.base_model):
        differences.append(("base_model", found.base_model, expected.base_model))
    _refuse(path, differences, "harvest into another folder")


def check_checkpoint(sidecar: Sidecar, recipe: Recipe, folder: Path) -> None:
    """Compare a checkpoint that a training goes on from with the recipe.

    Raises:
        SidecarError: Saying what differs.
    """
    pairs: list[Difference] = [
        ("layer", sidecar.layer, recipe.layer),
        ("the verbalizer's template", sidecar.av_template, recipe.av_template),
        ("the reconstructor's template", sidecar.ar_template, recipe.ar_template),
    ]
    if sidecar.role == "av":
        pairs.append(("injection_scale", sidecar.injection_scale, recipe.injection_scale))
    differences = [pair for pair in pairs if pair[1] is not None and pair[1] != pair[2]]
    start = recipe.initial or recipe.model
    if sidecar.base_checkpoint and not same_model(sidecar.base_checkpoint, start):
        differences.append(("base_checkpoint", sidecar.base_checkpoint, public_name(start)))
    _refuse(folder, differences, "train into another folder")


def same_model(one: str, other: str) -> bool:
    """Tell whether two names may mean one model: hub ids are compared, of folders only the name."""
    one, other = public_name(one), public_name(other)
    if one.count("/") == other.count("/") == 1:
        return one == other
    return Path(one).name == Path(other).name


def _of_dataset(
    found: DatasetSidecar, stage: Stage, base_model: str, layer: int
) -> Iterator[Difference]:
    if found.stage != stage:
        yield "stage", found.stage, stage
    if found.extraction.layer_index != layer:
        yield "layer_index", found.extraction.layer_index, layer
    if not same_model(found.extraction.base_model, base_model):
        yield "base_model", found.extraction.base_model, public_name(base_model)


def _of_model(found: DatasetSidecar, model: Sidecar, columns: pa.Schema) -> Iterator[Difference]:
    if found.extraction.d_model != model.d_model:
        yield "d_model", found.extraction.d_model, model.d_model
    kind = columns.field(VECTOR).type
    if pa.types.is_fixed_size_list(kind) and kind.list_size != model.d_model:
        yield f"the width of {VECTOR}", kind.list_size, model.d_model
    if found.tokens is not None:
        for name in type(found.tokens).model_fields:
            there, expected = getattr(found.tokens, name), getattr(model.tokens, name)
            # Only reconstructor prompts end with the suffix, and only their sidecars name it.
            if there != expected and (name != "critic_suffix_ids" or None not in (there, expected)):
                yield f"tokens.{name}", there, expected
    for name, expected in (("actor", model.av_template), ("critic", model.ar_template)):
        there = (found.prompt_templates or {}).get(name)
        if None not in (there, expected) and there != expected:
            yield f"prompt_templates.{name}", there, expected


def _refuse(path: Path, differences: list[Difference], advice: str) -> None:
    if differences:
        said = "; ".join(
            f"{name} is {there!r}, must be {expected!r}" for name, there, expected in differences
        )
        raise SidecarError(f"{path}: {said[:1000]}; {advice}")
