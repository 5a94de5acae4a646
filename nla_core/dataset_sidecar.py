"""`<file>.parquet.nla_meta.yaml`: what a dataset of activations says about itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from nla_core._sidecar_fields import Fields, load_mapping, show
from nla_core.sidecar import TokenIds, read_text, read_token_ids, sidecar_path

__all__ = [
    "DatasetSidecar",
    "Extraction",
    "Stage",
    "parse_dataset_sidecar",
    "read_dataset_sidecar",
    "write_dataset_sidecar",
]

Stage = Literal["base", "av_sft", "ar_sft", "rl"]
_STAGES: dict[str, Stage] = {"base": "base", "av_sft": "av_sft", "ar_sft": "ar_sft", "rl": "rl"}
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Extraction(BaseModel):
    """Where the vectors come from."""

    model_config = _FROZEN

    base_model: str
    d_model: int = Field(ge=1)
    layer_index: int = Field(ge=0)
    """K: the 0-based decoder block whose raw output was stored."""
    norm: Literal["none"] = "none"
    corpus: str | None = None
    corpus_slice: Mapping[str, int | None] | None = None
    """`start` and `length`, in documents."""
    positions_per_doc: int | None = Field(default=None, ge=1)


class DatasetSidecar(BaseModel):
    """One dataset's sidecar. It holds no injection scale: that is a choice of training."""

    model_config = _FROZEN

    dataset_id: str
    stage: Stage
    row_count: int = Field(ge=0)
    extraction: Extraction
    tokens: TokenIds | None = None
    prompt_templates: Mapping[str, str] | None = None
    """Keys `actor` and `critic`."""
    keep_debug_metadata: bool = True
    api_summaries: Mapping[str, str | int | float | None] | None = None
    parent_datasets: tuple[str, ...] = ()
    created_at: str | None = None
    created_by: str | None = None
    git_commit: str | None = None

    def to_yaml(self) -> str:
        """Render; null top-level keys are left out, as readers expect."""
        mapping: dict[str, Any] = self.model_dump(mode="json")
        mapping |= {"kind": "nla_dataset", "schema_version": 1}
        mapping = {key: value for key, value in mapping.items() if value is not None}
        return yaml.safe_dump(mapping, sort_keys=False)


def read_dataset_sidecar(data_file: str | Path) -> DatasetSidecar:
    """Read the sidecar of a data file.

    Raises:
        SidecarError: When it is missing or malformed; the message names the field.
    """
    path = sidecar_path(data_file)
    return parse_dataset_sidecar(read_text(path), source=str(path))


def write_dataset_sidecar(sidecar: DatasetSidecar, data_file: str | Path) -> Path:
    """Write a sidecar beside its data file and return its path."""
    path = sidecar_path(data_file)
    path.write_text(sidecar.to_yaml(), encoding="utf-8")
    return path


def parse_dataset_sidecar(text: str, *, source: str) -> DatasetSidecar:
    """Parse the YAML of a dataset sidecar.

    Unknown top-level keys are ignored; unknown keys inside a block are a mistake.

    Raises:
        SidecarError: When the text is malformed; the message names the field.
    """
    top = load_mapping(text, source=source)
    kind = top.string("kind")
    if kind != "nla_dataset":
        raise top.error("kind", f"must be nla_dataset, got {show(kind)}")
    if top.integer("schema_version") != 1:
        raise top.error("schema_version", f"must be 1, got {show(top.raw('schema_version'))}")
    stage = top.string("stage")
    if stage not in _STAGES:
        raise top.error("stage", f"must be one of {', '.join(_STAGES)}, got {show(stage)}")
    keep = top.raw("keep_debug_metadata")
    return DatasetSidecar(
        dataset_id=top.string("dataset_id"),
        stage=_STAGES[stage],
        row_count=top.integer("row_count"),
        extraction=_extraction(top.section("extraction")),
        tokens=_tokens(top),
        prompt_templates=_templates(top),
        keep_debug_metadata=keep if isinstance(keep, bool) else True,
        api_summaries=_api_summaries(top),
        parent_datasets=top.notes("parent_datasets"),
        created_at=top.note("created_at"),
        created_by=top.note("created_by"),
        git_commit=top.note("git_commit"),
    )


def _only(fields: Fields, allowed: set[str]) -> Fields:
    unknown = [key for key in fields.keys() if key not in allowed]  # noqa: SIM118
    if unknown:
        raise fields.error(unknown[0], f"is unknown; allowed: {', '.join(sorted(allowed))}")
    return fields


def _extraction(fields: Fields) -> Extraction:
    _only(fields, set(Extraction.model_fields))
    norm = fields.optional_string("norm")
    if norm not in (None, "none"):
        raise fields.error("norm", f"must be none (vectors are stored raw), got {show(norm)}")
    cut: dict[str, int | None] | None = None
    if fields.raw("corpus_slice") is not None:
        part = _only(fields.section("corpus_slice"), {"start", "length"})
        cut = {key: part.optional_integer(key) for key in ("start", "length") if key in part}
    return Extraction(
        base_model=fields.string("base_model"),
        d_model=fields.integer("d_model", at_least=1),
        layer_index=fields.integer("layer_index"),
        corpus=fields.optional_string("corpus"),
        corpus_slice=cut,
        positions_per_doc=fields.optional_integer("positions_per_doc", at_least=1),
    )


def _tokens(top: Fields) -> TokenIds | None:
    if top.raw("tokens") is None:
        return None
    return read_token_ids(_only(top.section("tokens"), set(TokenIds.model_fields)))


def _templates(top: Fields) -> dict[str, str] | None:
    if top.raw("prompt_templates") is None:
        return None
    section = top.section("prompt_templates")
    found = {
        name: section.optional_string(name) or section.optional_string(other)
        for name, other in (("actor", "av"), ("critic", "ar"))
    }
    return {name: text for name, text in found.items() if text}


def _api_summaries(top: Fields) -> dict[str, str | int | float | None] | None:
    if top.raw("api_summaries") is None:
        return None
    _only(
        top.section("api_summaries"), {"model", "max_tokens", "temperature", "instruction_prompt"}
    )
    return top.scalars("api_summaries")
