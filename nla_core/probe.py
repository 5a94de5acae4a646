"""A linear probe: which of a closed list of classes an activation belongs to, learned from labels.

The supervised rival of a verbalizer. Multinomial logistic regression on the residual stream after
one decoder block: logits = activation @ weight.T + bias. What it cannot do follows from that:

- It knows its list of classes alone. Something else gets the likeliest of the listed names, and
  nothing in the output tells that it is none of them.
- It was shown labels: somebody had to know beforehand what to look for, and where.
- It says nothing beside the class, so that there is nothing to reconstruct and no fidelity.

A probe is a folder of two files, and no pickles: `probe.safetensors` holds `weight`
`[classes, d_model]` and `bias` `[classes]`, float32, with any standardisation of the inputs folded
in; `probe.json` is a `ProbeRecord`.
"""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "probe.safetensors"
RECORD_FILE = "probe.json"
_MOST_BYTES = 1_000_000
_LONGEST_NAME = 80


class ProbeError(ValueError):
    """A probe is malformed, or does not fit what it is given; the message is one line."""


def _plain_words(name: str) -> str:
    if not name or name != name.strip() or len(name) > _LONGEST_NAME:
        raise ValueError(f"must be 1 to {_LONGEST_NAME} characters without spaces around them")
    if any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise ValueError("must not hold control characters")
    return name


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("must all differ")
    return names


ClassName = Annotated[str, AfterValidator(_plain_words)]
Share = Annotated[float, Field(ge=0, le=1)]


class ProbeRecord(BaseModel):
    """What `probe.json` says of a probe; unknown keys and other types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    schema_version: Literal[1]
    """Version of this format."""
    layer: int = Field(ge=0)
    """Decoder block (0-based) whose output is classified."""
    d_model: int = Field(ge=1)
    """Width of the activations."""
    base_model: str | None
    """Name of the model that it was fitted on, a hint for people."""
    classes: Annotated[
        tuple[ClassName, ...], Field(min_length=2, max_length=10_000), AfterValidator(_distinct)
    ]
    """Name of each class in plain words, as a reading would say it, in the order of the rows."""
    held_out_accuracy: Share | None
    """Share of places of documents that it was not fitted on whose class it names."""
    held_out_recall: dict[str, Share]
    """The same by true class; classes without such a place are left out."""
    held_out_documents: int = Field(ge=0)
    """Documents that it was measured on."""
    held_out_places: int = Field(ge=0)
    """Places that it was measured on."""
    train_places: int = Field(ge=0)
    """Places that it was fitted on."""
    seed: int
    """Seed of the fit."""
    created: date
    """Day of the fit."""
    weights_sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    """Hexadecimal digest of `probe.safetensors`; empty before it is written."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A probe in memory."""

    record: ProbeRecord
    weight: "Tensor"
    """`[classes, d_model]` float32."""
    bias: "Tensor"
    """`[classes]` float32."""

    def __post_init__(self) -> None:
        """Check shapes, dtypes and values.

        Raises:
            ProbeError: When they are not those that the record promises.
        """
        import torch

        tensors = {"weight": self.weight, "bias": self.bias}
        problem = shape_problem(self.record, {k: tuple(v.shape) for k, v in tensors.items()})
        if problem:
            raise ProbeError(problem)
        for name, value in tensors.items():
            if value.dtype != torch.float32:
                raise ProbeError(f"{name} must be float32, is {value.dtype}")
            if not bool(torch.isfinite(value).all()):
                raise ProbeError(f"{name} holds values that are not finite")

    @property
    def layer(self) -> int:
        """Decoder block (0-based) whose output is classified."""
        return self.record.layer

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.record.d_model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the rows."""
        return self.record.classes

    def probabilities(self, activations: "Tensor") -> "Tensor":
        """Return `[n, classes]` float32 probabilities of raw activations `[n, d_model]`.

        Raises:
            ProbeError: When the activations are of another width.
        """
        if activations.ndim != 2 or activations.shape[1] != self.d_model:
            raise ProbeError(
                f"the probe classifies activations [n, {self.d_model}], "
                f"these are {list(activations.shape)}"
            )
        return (activations.float().cpu() @ self.weight.T + self.bias).softmax(dim=-1)


def shape_problem(record: ProbeRecord, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Say how the tensors of a probe contradict its record; None when they do not."""
    n, width = len(record.classes), record.d_model
    expected = {"weight": (n, width), "bias": (n,)}
    if dict(shapes) == expected:
        return None
    held = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    return f"must hold weight [{n}, {width}] and bias [{n}], holds {held or 'nothing'}"


def fold(
    weight: "Tensor", bias: "Tensor", *, mean: "Tensor", scale: "Tensor"
) -> "tuple[Tensor, Tensor]":
    """Fold a standardisation into a linear map of its result.

    Args:
        weight: `[classes, d_model]`, applied to `(x - mean) / scale`.
        bias: `[classes]`.
        mean: `[d_model]`.
        scale: `[d_model]`, positive.

    Returns:
        Weight and bias, float32, of the same map applied to `x` itself; computed in float64, since
        the means of single dimensions may be large.
    """
    scaled = weight.detach().double() / scale.double()
    shifted = bias.detach().double() - scaled @ mean.double()
    return scaled.float(), shifted.float()


def save_probe(probe: LinearProbe, folder: str | Path) -> ProbeRecord:
    """Write a probe, creating the folder; return its record with the digest of the weights."""
    from safetensors.torch import save

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    content = save({"weight": probe.weight.contiguous(), "bias": probe.bias.contiguous()})
    digest = hashlib.sha256(content).hexdigest()
    record = probe.record.model_copy(update={"weights_sha256": digest})
    _replace(target / WEIGHTS_FILE, content)
    _replace(target / RECORD_FILE, (record.model_dump_json(indent=1) + "\n").encode())
    return record


def read_record(folder: str | Path) -> ProbeRecord:
    """Read the record of a probe, without its weights.

    Raises:
        ProbeError: When it is missing or malformed; the message names the file and the fields.
    """
    path = Path(folder) / RECORD_FILE
    content = _read(path, most=_MOST_BYTES)
    try:
        record = ProbeRecord.model_validate_json(content)
    except ValidationError as error:
        raise ProbeError(f"{path}: {_listed(error)}") from None
    unknown = sorted(set(record.held_out_recall) - set(record.classes))
    if unknown:
        raise ProbeError(f"{path}: held_out_recall: {unknown[0]!r} is none of the classes")
    return record


def load_probe(folder: str | Path) -> LinearProbe:
    """Read a probe.

    Raises:
        ProbeError: When a file is missing, malformed, or not what the record says; the message
            names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    record, path = read_record(folder), Path(folder) / WEIGHTS_FILE
    content = _read(path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ProbeError(f"{path}: cannot be read: {_one_line(error)}") from None
    problem = shape_problem(record, {name: tuple(t.shape) for name, t in tensors.items()})
    if problem:
        raise ProbeError(f"{path}: {problem}")
    if hashlib.sha256(content).hexdigest() != record.weights_sha256:
        raise ProbeError(f"{path}: is another file than the one {RECORD_FILE} was written for")
    try:
        return LinearProbe(record, tensors["weight"], tensors["bias"])
    except ProbeError as error:
        raise ProbeError(f"{path}: {error}") from None


def _read(path: Path, *, most: int | None = None) -> bytes:
    try:
        if most is not None and path.stat().st_size > most:
            raise ProbeError(f"{path}: is larger than {most} bytes, so it is no record of a probe")
        return path.read_bytes()
    except FileNotFoundError:
        raise ProbeError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ProbeError(f"{path}: cannot be read: {_one_line(error)}") from None


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _listed(error: ValidationError) -> str:
    """Put all that is wrong with a record into one line."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(map(str, one["loc"]))
        found.append(f"{where}: {one['msg']}" if where else one["msg"])
    return " ".join("; ".join(found).split())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
