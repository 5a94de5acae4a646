"""`nla_meta.yaml`: what a Natural Language Autoencoder's checkpoint says about itself.

The released files and the reference trainer spell some keys differently (av/ar and actor/critic);
both are read, into one value. Nothing here needs a tokenizer or a model: see `sidecar_checks`.
"""

import math
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from nla_core._sidecar_fields import Fields, SidecarError, load_mapping, show

__all__ = [
    "SIDECAR_NAME",
    "Sidecar",
    "SidecarError",
    "TokenIds",
    "parse_sidecar",
    "read_sidecar",
    "sidecar_path",
    "write_sidecar",
]

SIDECAR_NAME = "nla_meta.yaml"
_KIND, _AFFINE_KIND = "nla_model", "nla_model_affine"
Role = Literal["av", "ar"]

_ROLES: dict[str, Role] = {"av": "av", "actor": "av", "ar": "ar", "critic": "ar"}
_TRAINER_ROLE = {"av": "actor", "ar": "critic"}
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class TokenIds(BaseModel):
    """Token ids that the tokenizer beside the sidecar must reproduce."""

    model_config = _FROZEN

    injection_char: str = Field(min_length=1, max_length=1)
    """The marker: one character that is one token, whose embedding is replaced."""
    injection_token_id: int = Field(ge=0)
    injection_left_neighbor_id: int = Field(ge=0)
    injection_right_neighbor_id: int = Field(ge=0)
    critic_suffix_ids: tuple[int, ...] | None = None
    """Last ids of every reconstructor prompt."""


class Sidecar(BaseModel):
    """One checkpoint's sidecar, spellings resolved."""

    model_config = _FROZEN

    role: Role
    d_model: int = Field(ge=1)
    tokens: TokenIds
    av_template: str | None = None
    """User message of the verbalizer, with `{injection_char}` once."""
    ar_template: str | None = None
    """Raw prompt of the reconstructor, with `{explanation}` once."""
    layer: int | None = Field(default=None, ge=0)
    """K: the 0-based decoder block whose output is explained; None when the file does not say."""
    injection_scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """L2 norm of the injected row; every verbalizer has one."""
    mse_scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """L2 norm to which vectors are scaled before they are compared; None: they are not scaled."""
    stage: str | None = None
    base_checkpoint: str | None = None
    """The model that the activations come from."""
    schema_version: int | None = 2
    trained_on: tuple[str, ...] = ()
    parent_checkpoints: tuple[str, ...] = ()
    created_at: str | None = None
    created_by: str | None = None
    training: Mapping[str, str | int | float | None] = Field(default_factory=dict)
    affine: bool = False
    """Whether the injected vector passes a learned map; readers of the released format refuse."""

    def reconstructor_layer(self, n_blocks: int | None = None) -> int:
        """Return K of a reconstructor.

        Args:
            n_blocks: Decoder blocks of the checkpoint, the last resort: K + 1 of them are kept.

        Raises:
            SidecarError: When neither the sidecar nor the checkpoint says.
        """
        if self.layer is not None:
            return self.layer
        if n_blocks is None or n_blocks < 1:
            raise SidecarError(
                "the sidecar does not say which layer it is for; add extraction_layer_index"
            )
        return n_blocks - 1

    def to_yaml(self) -> str:
        """Render so that both the reference trainer and the released client load it."""
        return yaml.safe_dump(self._mapping(), sort_keys=False)

    def _mapping(self) -> dict[str, Any]:
        templates = {"actor": self.av_template, "critic": self.ar_template}
        mapping: dict[str, Any] = {
            "kind": _AFFINE_KIND if self.affine else _KIND,
            "schema_version": 2,
            "role": _TRAINER_ROLE[self.role],
            "stage": self.stage,
            "base_checkpoint": self.base_checkpoint,
            "d_model": self.d_model,
            "extraction": {"injection_scale": self.injection_scale, "mse_scale": self.mse_scale},
            "tokens": self.tokens.model_dump(mode="json"),
            "prompt_templates": {key: text for key, text in templates.items() if text is not None},
        }
        if self.layer is not None:
            if self.role == "ar":
                mapping["critic"] = {"extraction_layer_index": self.layer}
            mapping["extraction_layer_index"] = self.layer
        mapping |= {
            "trained_on": list(self.trained_on),
            "parent_checkpoints": list(self.parent_checkpoints),
            "created_at": self.created_at,
            "created_by": self.created_by,
        }
        if self.training:
            mapping["training"] = dict(self.training)
        return mapping


def sidecar_path(path: str | Path) -> Path:
    """Return where the sidecar of a checkpoint folder or a data file lies.

    A slice such as `file.parquet@[0:100]` is cut off first; a path that does not exist counts as a
    folder when it has no suffix.
    """
    found = Path(str(path).split("@[", 1)[0])
    if found.is_dir() or (not found.exists() and not found.suffix):
        return found / SIDECAR_NAME
    return found.with_name(f"{found.name}.{SIDECAR_NAME}")


def read_text(path: Path) -> str:
    """Read a sidecar's text.

    Raises:
        SidecarError: When the file is missing or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SidecarError(f"{path} does not exist; a checkpoint needs its sidecar") from None
    except UnicodeDecodeError:
        raise SidecarError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise SidecarError(f"{path}: {error.strerror or error}") from None


def read_sidecar(checkpoint: str | Path) -> Sidecar:
    """Read the sidecar of a checkpoint folder.

    Raises:
        SidecarError: When it is missing or malformed; the message names the field.
    """
    path = Path(checkpoint) / SIDECAR_NAME
    return parse_sidecar(read_text(path), source=str(path))


def write_sidecar(sidecar: Sidecar, checkpoint: str | Path) -> Path:
    """Write a sidecar into a checkpoint folder and return its path."""
    path = Path(checkpoint) / SIDECAR_NAME
    path.write_text(sidecar.to_yaml(), encoding="utf-8")
    return path


def parse_sidecar(text: str, *, source: str = SIDECAR_NAME) -> Sidecar:
    """Parse the YAML of a model sidecar.

    Args:
        text: The file's content.
        source: What to call the file in messages.

    Raises:
        SidecarError: When the text is malformed; the message names the field.
    """
    top = load_mapping(text, source=source)
    kind = top.string("kind")
    if kind not in (_KIND, _AFFINE_KIND):
        hint = "; this one describes a dataset" if kind == "nla_dataset" else ""
        raise top.error("kind", f"must be nla_model, got {show(kind)}{hint}")
    role = _role(top)
    d_model = top.integer("d_model", at_least=1)
    extraction = top.optional_section("extraction")
    injection_scale = extraction.scale("injection_scale", d_model=d_model)
    if role == "av" and injection_scale is None:
        raise extraction.error("injection_scale", "must be a number: a verbalizer needs it")
    # An absent key and an explicit null differ: the first means the default.
    mse_scale = math.sqrt(d_model)
    version = top.raw("schema_version")
    return Sidecar(
        role=role,
        affine=kind == _AFFINE_KIND,
        d_model=d_model,
        tokens=read_token_ids(top.section("tokens")),
        **_templates(top, role),
        layer=_layer(top),
        injection_scale=injection_scale,
        mse_scale=extraction.scale("mse_scale", d_model=d_model)
        if "mse_scale" in extraction
        else mse_scale,
        stage=top.note("stage"),
        base_checkpoint=top.note("base_checkpoint"),
        schema_version=version if isinstance(version, int) else None,
        trained_on=top.notes("trained_on"),
        parent_checkpoints=top.notes("parent_checkpoints"),
        created_at=top.note("created_at"),
        created_by=top.note("created_by"),
        training=top.scalars("training"),
    )


def read_token_ids(tokens: Fields) -> TokenIds:
    """Read the `tokens` block, which model and dataset sidecars share."""
    char = tokens.string("injection_char")
    if len(char) != 1:
        raise tokens.error("injection_char", f"must be one character, got {show(char)}")
    return TokenIds(
        injection_char=char,
        injection_token_id=tokens.integer("injection_token_id"),
        injection_left_neighbor_id=tokens.integer("injection_left_neighbor_id"),
        injection_right_neighbor_id=tokens.integer("injection_right_neighbor_id"),
        critic_suffix_ids=tokens.ids("critic_suffix_ids"),
    )


def check_template(template: str, placeholder: str) -> None:
    """Refuse a template that does not hold its placeholder exactly once and no other.

    Raises:
        SidecarError: Saying what is wrong with it.
    """
    try:
        fields = [(name, spec, conv) for _, name, spec, conv in string.Formatter().parse(template)]
    except ValueError as error:
        raise SidecarError(f"has unbalanced braces: {error}") from None
    found = [field for field in fields if field[0] is not None]
    if found != [(placeholder, "", None)]:
        names = [name for name, _, _ in found]
        raise SidecarError(
            f"must hold {{{placeholder}}} exactly once and no other, found {show(names)}"
        )


def _role(top: Fields) -> Role:
    role = top.string("role")
    if role not in _ROLES:
        raise top.error("role", f"must be one of {', '.join(_ROLES)}, got {show(role)}")
    return _ROLES[role]


def _templates(top: Fields, role: Role) -> dict[str, str | None]:
    section = top.section("prompt_templates")
    found: dict[str, str | None] = {}
    for kind, names, placeholder in (
        ("av", ("av", "actor"), "injection_char"),
        ("ar", ("ar", "critic"), "explanation"),
    ):
        key = next((name for name in names if section.optional_string(name)), None)
        template = section.optional_string(key) if key else None
        if template is None and kind == role:
            raise section.error(names[0], f"is missing (also spelled {names[1]})")
        if key and template is not None:
            try:
                check_template(template, placeholder)
            except SidecarError as error:
                raise section.error(key, str(error)) from None
        found[f"{kind}_template"] = template
    return found


def _layer(top: Fields) -> int | None:
    """Resolve K; older files call it `num_hidden_layers`, with the same meaning."""
    general = top.optional_integer("extraction_layer_index")
    for name in ("critic", "ar"):
        block = top.optional_section(name)
        exact = block.optional_integer("extraction_layer_index")
        if exact is not None and general is not None and exact != general:
            raise block.error(
                "extraction_layer_index",
                f"is {show(exact)}, but the file's own extraction_layer_index is {show(general)}",
            )
        layer = block.optional_integer("num_hidden_layers") if exact is None else exact
        if layer is not None:
            return layer
    return general
