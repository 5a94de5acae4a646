"""What is known of an activation oracle from its files alone; loads no heavy library."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

RECORD_FILE = "oracle.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_MOST_BYTES = 1_000_000


class OracleError(ValueError):
    """An oracle is malformed, or does not fit what it is given; the message is one line."""


Share = Annotated[float, Field(ge=0, le=1)]


class OracleRecord(BaseModel):
    """What `oracle.json` says of an oracle; what it leaves out is as in the release.

    Unknown keys and other types are refused.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    schema_version: Literal[1] = 1
    """Version of this format."""
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Decoder blocks (0-based) whose outputs it was taught to read; None: not known."""
    injection_layer: int = Field(default=1, ge=0)
    """Decoder block (0-based) of the oracle after which activations are added."""
    coefficient: float = Field(default=1.0, gt=0)
    """Norm of what is added, over the norm of the state there."""
    placeholder: str = Field(default=" ?", min_length=1, max_length=20)
    """One token that stands for an activation."""
    prefix: str = Field(default="Layer: {layer}\n", max_length=400)
    """Before the placeholders; `{layer}` stands for the layer's number."""
    suffix: str = Field(default=" \n", max_length=400)
    """Between the placeholders and the question."""
    base_model: str | None = None
    """Name of the model that it was made for, a hint for people."""
    questions: tuple[str, ...] = ()
    """Some questions that it was taught to answer, a hint for people."""
    held_out_accuracy: dict[str, Share] = Field(default_factory=dict)
    """Share of right answers by kind of question, on documents that it was not trained on."""
    held_out_answers: int = Field(default=0, ge=0)
    """Answers that this was measured on."""
    steps: int | None = Field(default=None, ge=0)
    """Steps of the training."""
    seed: int | None = None
    """Seed of the training."""
    created: date | None = None
    """Day of the training."""
    weights_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Hexadecimal digest of `adapter_model.safetensors`; empty: not compared."""

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        # Placeholders are the first of their tokens in the prompt.
        if self.placeholder.strip() in self.prefix:
            raise ValueError("the prefix holds the placeholder")
        return self


def read_oracle_record(folder: str | Path) -> OracleRecord:
    """Read the record of an oracle in a folder, and compare the weights with its digest.

    Raises:
        OracleError: When a file is missing or malformed; the message names it.
    """
    place = Path(folder)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (place / name).is_file():
            raise OracleError(f"{place / name}: there is no such file")
    path = place / RECORD_FILE
    if not path.is_file():
        return OracleRecord()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise OracleError(f"{path}: is larger than {_MOST_BYTES} bytes, so it is no record")
        record = OracleRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise OracleError(f"{path}: {_listed(error)}") from None
    except OSError as error:
        raise OracleError(f"{path}: cannot be read: {error.strerror}") from None
    if record.weights_sha256 and digest(place / ADAPTER_WEIGHTS) != record.weights_sha256:
        raise OracleError(
            f"{place / ADAPTER_WEIGHTS}: is another file than the one {RECORD_FILE} was written for"
        )
    return record


def write_oracle_record(record: OracleRecord, folder: Path) -> OracleRecord:
    """Write the record beside an adapter's weights, with their digest; return what is written."""
    update = {"weights_sha256": digest(folder / ADAPTER_WEIGHTS)}
    full = record.model_copy(update=update)
    (folder / RECORD_FILE).write_text(full.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return full


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(error: ValidationError) -> str:
    """Put all that is wrong with a record into one line."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(map(str, one["loc"]))
        found.append(f"{where}: {one['msg']}" if where else one["msg"])
    return " ".join("; ".join(found).split())
