"""The recipe of a training: one frozen value, read from YAML.

Defaults are those of the released autoencoders where they are published
(github.com/kitft/natural_language_autoencoders and its paper's appendix).
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class RecipeError(ValueError):
    """A recipe cannot be used; the message says which field, and what it must be."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Harvest(_Frozen):
    """Which activations are taken from the corpus."""

    documents: int = Field(default=100_000, ge=1)
    held_out_documents: int = Field(default=1_000, ge=1)
    positions_per_document: int = Field(default=10, ge=1)
    first_position: int = Field(default=50, ge=0)
    special_tokens: bool = False
    """Whether positions of special tokens may be drawn."""
    max_tokens: int = Field(default=4096, ge=2)
    """Longer documents are cut."""
    documents_per_shard: int = Field(default=10_000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    av_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of documents for the warm start of the verbalizer."""
    ar_share: float = Field(default=0.25, gt=0, lt=1)
    """The same of the reconstructor; what remains is for reinforcement."""

    @model_validator(mode="after")
    def _something_remains(self) -> "Harvest":
        if self.av_share + self.ar_share >= 1:
            raise ValueError("av_share and ar_share must leave documents for reinforcement")
        return self


class Schedule(_Frozen):
    """How long, how fast: linear warm-up, then cosine."""

    steps: int = Field(ge=1)
    batch_size: int = Field(default=256, ge=1)
    """Rows of a step, over all processes."""
    lr: float = Field(default=2e-5, gt=0)
    final_lr: float = Field(default=0.1, ge=0, le=1)
    """Share of the rate that is left at the end."""
    warmup: int = Field(default=50, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, gt=0)
    save_every: int = Field(default=100, ge=1)
    log_every: int = Field(default=10, ge=1)


class WarmStart(_Frozen):
    """Supervised fine-tuning on described activations."""

    av: Schedule
    ar: Schedule
    control_steps: int = Field(default=100, ge=0)
    """Steps of the control whose activations are shuffled; 0 trains none, and leaves unknown
    whether the activations matter to the warm start at all."""


class Reinforce(_Frozen):
    """Group-relative policy optimisation of the verbalizer, regression of the reconstructor."""

    schedule: Schedule
    """Of the verbalizer; a batch row is one activation, of which `group_size` texts are drawn."""
    ar_lr: float = Field(default=2e-5, gt=0)
    group_size: int = Field(default=8, ge=2)
    """Texts of one activation. Fewer than 8, the smallest in published runs, are allowed for
    trials on small machines: the mean of 4 is 1.4 times as uncertain."""
    reward: Literal["neg_mse", "neg_log_mse"] = "neg_mse"
    kl_coef: float = Field(default=0.01, ge=0)
    """Weight of KL(verbalizer || warm start), in nats per token, as a term of the loss."""
    normalise_by_std: bool = True
    """Divide advantages by their group's standard deviation."""
    max_tokens: int = Field(default=150, ge=1)
    failed_reward: float = -2.0
    """Reward of a text without explanation tags or at the cap; -2 is an orthogonal guess."""
    length_penalty: float = Field(default=0.0, ge=0)
    """Taken from the reward for each token."""
    contrastive: float = Field(default=0.0, ge=0)
    """Weight of the error against another row's activation, which is rewarded."""
    copy_penalty: float = Field(default=0.0, ge=0)
    """Taken from the reward, times the share of word pairs that stand in the context."""
    prefix_truncation: float = Field(default=0.0, ge=0, le=1)
    """Chance that the reconstructor sees only a random prefix (a matryoshka explanation)."""
    affine_injection: bool = False
    """Learn an affine map of the scaled vector. Not part of the released format."""
    warm_start: bool = True
    """False starts from the untrained pair: a control."""
    evaluate_every: int = Field(default=100, ge=1)
    evaluate_rows: int = Field(default=512, ge=2)

    @model_validator(mode="after")
    def _there_is_another(self) -> "Reinforce":
        if self.contrastive and self.schedule.batch_size < 2:
            raise ValueError("contrastive needs a batch_size of 2 or more: another activation")
        return self


class Evaluate(_Frozen):
    """What is measured on held-out activations."""

    rows: int = Field(default=2_000, ge=2)
    batch_size: int = Field(default=256, ge=1)
    max_tokens: int = Field(default=150, ge=1)


class Recipe(_Frozen):
    """Everything that a training needs."""

    name: str
    model: str
    """The target's folder or hub id, relative to the recipe's own folder when it exists there."""
    layer: int = Field(ge=0)
    """K: the 0-based decoder block whose output is explained."""
    corpus: str
    """A JSONL file of documents, or `module:object`; see `nla_core.training.plugs`."""
    describer: str
    """`module:object` that says what activations might hold."""
    grader: str | None = None
    """`module:object` that checks claims against known states; None: claims are not checked."""
    initial: str | None = None
    """What verbalizer and reconstructor start from; None is the target itself."""
    injection_scale: float = Field(gt=0)
    """L2 norm of the injected row."""
    av_template: str
    ar_template: str
    marker: str | None = None
    value_head: Literal["identity", "mean_direction"] = "identity"
    """How the reconstructor's head begins; the second predicts the mean activation at first."""
    seed: int = Field(default=42, ge=0)
    harvest: Harvest = Harvest()
    warm_start: WarmStart
    reinforce: Reinforce
    evaluate: Evaluate = Evaluate()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for cards and sidecars."""
        return self.model_dump(mode="json")


def public_name(model: str) -> str:
    """Return a model's name without a machine's paths: a hub id whole, of a folder its name."""
    return Path(model).name if Path(model).exists() or Path(model).is_absolute() else model


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe; with `extends: other.yaml` it says only what differs from another one.

    Raises:
        RecipeError: When a file cannot be read or a field is wrong; the message names it.
    """
    path = Path(path)
    found = _read(path, seen=())
    try:
        return Recipe.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecipeError(f"{path}: {where}: {first['msg']}") from None


def _read(path: Path, *, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Read a recipe's fields, its paths resolved, over those of the one that it extends."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise RecipeError(f"{path}: must be a mapping of fields")
    for name in ("model", "initial", "corpus"):
        if isinstance(found.get(name), str):
            found[name] = _beside(path, found[name])
    parent = found.pop("extends", None)
    if parent is None:
        return found
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends: must be the path of a recipe")
    if path.resolve() in seen:
        raise RecipeError(f"{path}: extends: goes round in a circle")
    return _merged(_read(path.parent / parent, seen=(*seen, path.resolve())), found)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, block by block."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        nested = isinstance(value, dict) and isinstance(under, dict)
        both[key] = _merged(under, value) if nested else value  # type: ignore[arg-type]
    return both


def _beside(recipe: Path, value: str) -> str:
    """Resolve a path that is meant relative to the recipe."""
    local = recipe.parent / value
    return str(local) if local.exists() else value
