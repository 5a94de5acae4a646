"""Sparse autoencoders in the folder format of SAELens: `cfg.json` and `sae_weights.safetensors`.

Inference alone, of the architectures `standard` (ReLU), `topk`, `jumprelu` (as which batch-top-k
ones are saved) and `gated`. The formulas are those of SAELens 6, and tests hold folders that it
wrote against them. With s = input scaling, b = b_dec where `apply_b_dec_to_input` holds, and
in = s(x) - b,

    pre = in @ W_enc + b_enc
    standard: max(pre, 0);  topk: max of the k largest and 0;  jumprelu: max(pre, 0) where
    pre > threshold;  gated: max(in @ (W_enc * exp(r_mag)) + b_mag, 0) where in @ W_enc + b_gate > 0

and a reconstruction is features @ W_dec + b_dec, scaled back. Where a topk one is marked
`rescale_acts_by_decoder_norm`, the norms of W_dec's rows are folded into the encoder first. An
optional third file of this project, `features.json`, says of each feature what is known of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE, WEIGHTS_FILE, NOTES_FILE = "cfg.json", "sae_weights.safetensors", "features.json"
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated")
_SCALINGS = ("none", "constant_norm_rescale", "layer_norm")
_LN_EPS = 1e-5


class SAEError(ValueError):
    """An autoencoder is malformed, or does not fit what it is given; the message is one line."""


@dataclass(frozen=True, slots=True)
class FeatureNotes:
    """What is known of a feature."""

    label: str | None = None
    """In a few words."""
    tokens: tuple[str, ...] = ()
    """Tokens on which it is most active, most active first."""
    density: float | None = None
    """Share of tokens of generic text on which it is active."""


@dataclass(frozen=True, slots=True)
class SAEConfig:
    """What `cfg.json` says, as far as it is needed."""

    architecture: str
    d_in: int
    d_sae: int
    layer: int
    """Decoder block (0-based) whose output it was trained on."""
    k: int | None
    apply_b_dec_to_input: bool
    normalize_activations: str
    folds_norms: bool = False
    """Whether the weights stand for a decoder whose rows have norm 1."""


def read_config(folder: str | Path) -> SAEConfig:
    """Read the configuration of an autoencoder, without its weights.

    Raises:
        SAEError: When it is missing, malformed, or of a kind that is not understood here.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SAEError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise SAEError(f"{path}: is not readable JSON: {_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise SAEError(f"{path}: does not hold a JSON object")
    try:
        return _config(raw)
    except SAEError as error:
        raise SAEError(f"{path}: {error}") from None


def _config(raw: dict[str, Any]) -> SAEConfig:
    # Keys moved below `metadata` and `meta` in later versions of the format.
    beside = [raw.get(name) for name in ("metadata", "meta", "activation_fn_kwargs")]
    known = {
        key: value for block in beside if isinstance(block, dict) for key, value in block.items()
    }
    known |= raw
    architecture = known.get("architecture", "standard")
    if (
        architecture == "standard"
        and known.get("activation_fn", known.get("activation_fn_str")) == "topk"
    ):
        architecture = "topk"
    if architecture not in ARCHITECTURES:
        raise SAEError(
            f"the architecture {architecture!r} is not understood; there are "
            f"{', '.join(ARCHITECTURES)}"
        )
    scaling = known.get("normalize_activations", "none")
    scaling = "none" if scaling in (None, False) else scaling
    if scaling not in _SCALINGS:
        raise SAEError(
            f"normalize_activations {scaling!r} is not understood; fold the factor into the weights"
        )
    k = _number(known, "k") if architecture == "topk" else None
    if known.get("reshape_activations", "none") not in ("none", None):
        raise SAEError("it reads attention heads; name one of the residual stream")
    found = SAEConfig(
        architecture=architecture,
        d_in=_number(known, "d_in"),
        d_sae=_number(known, "d_sae"),
        layer=_layer(known),
        k=k,
        apply_b_dec_to_input=bool(known.get("apply_b_dec_to_input", True)),
        normalize_activations=scaling,
        folds_norms=architecture == "topk" and bool(known.get("rescale_acts_by_decoder_norm")),
    )
    if k is not None and k > found.d_sae:
        raise SAEError(f"k is {k}, and there are {found.d_sae} features")
    return found


def _number(known: dict[str, Any], key: str) -> int:
    value = known.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SAEError(f"{key} must be a whole number of 1 or more, is {value!r}")
    return value


def _layer(known: dict[str, Any]) -> int:
    """Return the block whose output the hook stands for."""
    name = known.get("hook_name", known.get("hook_point"))
    parts = str(name).split(".")
    if len(parts) == 3 and parts[0] == "blocks" and parts[1].isdecimal():
        number = int(parts[1])
        if parts[2] == "hook_resid_post":
            return number
        # What enters a block is what the block before it put out.
        if parts[2] == "hook_resid_pre" and number > 0:
            return number - 1
    raise SAEError(
        f"hook_name {name!r} is no residual stream after a block; blocks.N.hook_resid_post and "
        "blocks.N.hook_resid_pre are understood"
    )


def shape_problem(config: SAEConfig, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Say how the tensors contradict the configuration; None when they do not."""
    n, width = config.d_sae, config.d_in
    expected: dict[str, tuple[int, ...]] = {"W_enc": (width, n)}
    if config.architecture == "gated":
        expected |= dict.fromkeys(("b_gate", "b_mag", "r_mag"), (n,))
    else:
        expected["b_enc"] = (n,)
    expected |= {"W_dec": (n, width), "b_dec": (width,)}
    if config.architecture == "jumprelu":
        expected["threshold"] = (n,)
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            held = shapes.get(name)
            return f"must hold {name} {list(shape)}, holds {'none' if held is None else list(held)}"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class SAE:
    """An autoencoder in memory, float32 on the CPU; implements `SparseAutoencoder` of the tools."""

    config: SAEConfig
    tensors: "dict[str, Tensor]"
    known: tuple[FeatureNotes, ...] = ()
    """Notes by feature; empty when there are none."""

    @property
    def layer(self) -> int:
        """Decoder block (0-based) whose output it was trained on."""
        return self.config.layer

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return self.config.d_sae

    @property
    def directions(self) -> "Tensor":
        """`[n_features, d_model]` float32: what each feature writes."""
        return self.tensors["W_dec"]

    def notes(self, feature: int) -> FeatureNotes:
        """Return what is known of a feature."""
        return self.known[feature] if self.known else FeatureNotes()

    def encode(self, activations: "Tensor") -> "Tensor":
        """Return `[n, n_features]` float32 feature activations of `[n, d_model]`.

        Raises:
            SAEError: When the activations are of another width.
        """
        import torch

        scaled = self._scaled(activations)[0]
        bias = self.tensors["b_dec"] if self.config.apply_b_dec_to_input else 0.0
        mapped = (scaled - bias) @ self.tensors["W_enc"]
        if self.config.architecture == "gated":
            # exp(r_mag) scales the columns of W_enc, and so what it gives.
            size = (mapped * self.tensors["r_mag"].exp() + self.tensors["b_mag"]).relu()
            return size * (mapped + self.tensors["b_gate"] > 0)
        before = mapped + self.tensors["b_enc"]
        if self.config.architecture == "topk":
            best = before.topk(self.config.k or 1, dim=-1)
            return torch.zeros_like(before).scatter(-1, best.indices, best.values.relu())
        if self.config.architecture == "jumprelu":
            return before.relu() * (before > self.tensors["threshold"])
        return before.relu()

    def reconstruct(self, activations: "Tensor") -> "Tensor":
        """Return what is left of activations `[n, d_model]` after encoding and decoding."""
        _, factor, shift = self._scaled(activations)
        decoded = self.encode(activations) @ self.tensors["W_dec"] + self.tensors["b_dec"]
        found: Tensor = decoded * factor + shift
        return found

    def _scaled(self, activations: "Tensor") -> "tuple[Tensor, Any, Any]":
        """Return activations as they enter, and what undoes the scaling: a factor and a shift."""
        if activations.ndim != 2 or activations.shape[1] != self.config.d_in:
            raise SAEError(
                f"the autoencoder reads activations [n, {self.config.d_in}], got "
                f"{list(activations.shape)}"
            )
        x = activations.detach().float().cpu()
        if self.config.normalize_activations == "constant_norm_rescale":
            factor = x.norm(dim=-1, keepdim=True) / self.config.d_in**0.5
            return x / factor, factor, 0.0
        if self.config.normalize_activations == "layer_norm":
            mean = x.mean(dim=-1, keepdim=True)
            spread = (x - mean).std(dim=-1, keepdim=True)
            return (x - mean) / (spread + _LN_EPS), spread, mean
        return x, 1.0, 0.0


def load_sae(folder: str | Path) -> SAE:
    """Read an autoencoder.

    Raises:
        SAEError: When a file is missing, malformed, or not what the configuration says; the message
            names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config, path = read_config(folder), Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise SAEError(f"{path}: there is no such file")
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise SAEError(f"{path}: cannot be read: {_one_line(error)}") from None
    problem = shape_problem(config, {name: tuple(t.shape) for name, t in tensors.items()})
    if problem:
        raise SAEError(f"{path}: {problem}")
    factor = tensors.pop("scaling_factor", None)
    if factor is not None and not bool((factor == 1).all()):
        raise SAEError(f"{path}: scaling_factor is not understood; fold it into W_dec")
    if config.folds_norms:
        _fold_norms(tensors)
    return SAE(config, tensors, read_notes(folder, config.d_sae))


def _fold_norms(tensors: "dict[str, Tensor]") -> None:
    """Give the decoder's rows norm 1, and the encoder's columns what they lost."""
    norms = tensors["W_dec"].norm(dim=1)
    tensors["W_enc"] = tensors["W_enc"] * norms
    tensors["b_enc"] = tensors["b_enc"] * norms
    # A row of zeros writes nothing, whatever it is divided by.
    tensors["W_dec"] = tensors["W_dec"] / norms.clamp_min(1e-30)[:, None]


def read_notes(folder: str | Path, n: int) -> tuple[FeatureNotes, ...]:
    """Read what is known of the features; () when the folder has no such file.

    Raises:
        SAEError: When the file is malformed or is for another number of features.
    """
    path = Path(folder) / NOTES_FILE
    if not path.is_file():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(
            FeatureNotes(row["label"], tuple(map(str, row["tokens"])), row["density"])
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SAEError(f"{path}: {_one_line(error)}") from None
    if len(found) != n:
        raise SAEError(f"{path}: is for {len(found)} features, the weights have {n}")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
