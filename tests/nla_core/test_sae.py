"""Sparse autoencoders: their arithmetic by plain formulas, their files, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from nla_core.sae import SAEError, load_sae, read_config

WIDTH, N, K = 6, 10, 3
HOOK = "blocks.2.hook_resid_post"
FORMATS: dict[str, dict[str, Any]] = {
    "standard": {"architecture": "standard", "hook_name": HOOK, "apply_b_dec_to_input": False},
    "older standard": {"hook_point": "blocks.3.hook_resid_pre", "activation_fn_str": "relu"},
    "topk": {"architecture": "topk", "k": K, "metadata": {"hook_name": HOOK}},
    "older topk": {
        "architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K},
        "hook_name": HOOK,
    },
    "jumprelu": {"architecture": "jumprelu", "meta": {"hook_name": HOOK}},
}  # fmt: skip


def tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    shapes = {"W_enc": (WIDTH, N), "b_enc": (N,), "W_dec": (N, WIDTH), "b_dec": (WIDTH,)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def build(config: dict[str, Any], weights: dict[str, torch.Tensor] | None = None) -> Path:
        own = tensors() if weights is None else weights
        if config.get("architecture") == "jumprelu":
            own.setdefault("threshold", torch.linspace(0, 2, N))
        (tmp_path / "cfg.json").write_text(json.dumps({"d_in": WIDTH, "d_sae": N, **config}))
        save_file(own, tmp_path / "sae_weights.safetensors")
        return tmp_path

    return build


def by_hand(kind: str, x: list[float], *, bias: bool) -> list[float]:
    """Features of one activation, a number at a time."""
    w = {name: one.tolist() for name, one in tensors().items()}
    entered = [v - (b if bias else 0.0) for v, b in zip(x, w["b_dec"], strict=True)]
    pre = [
        sum(entered[i] * w["W_enc"][i][j] for i in range(WIDTH)) + w["b_enc"][j] for j in range(N)
    ]
    if kind == "topk":
        best = sorted(range(N), key=lambda j: -pre[j])[:K]
        return [max(pre[j], 0.0) if j in best else 0.0 for j in range(N)]
    limits = torch.linspace(0, 2, N).tolist() if kind == "jumprelu" else [0.0] * N
    return [v if v > limit and v > 0 else 0.0 for v, limit in zip(pre, limits, strict=True)]


@pytest.mark.parametrize("name", FORMATS)
def test_features_and_reconstruction_are_those_of_the_formula(write: Any, name: str) -> None:
    sae = load_sae(write(FORMATS[name]))
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(2))
    bias = FORMATS[name].get("apply_b_dec_to_input", True)
    expected = torch.tensor([by_hand(name.split()[-1], row, bias=bias) for row in x.tolist()])
    got = sae.encode(x)
    assert torch.allclose(got, expected, atol=1e-5)
    assert (got > 0).any()
    w = tensors()
    assert torch.allclose(sae.reconstruct(x), expected @ w["W_dec"] + w["b_dec"], atol=1e-5)
    assert (sae.layer, sae.n_features) == (2, N)
    assert torch.equal(sae.directions, w["W_dec"])


@pytest.mark.parametrize("scaling", ["constant_norm_rescale", "layer_norm"])
def test_scaled_inputs_are_scaled_back(write: Any, scaling: str) -> None:
    plain = load_sae(write(FORMATS["standard"]))
    sae = load_sae(write({**FORMATS["standard"], "normalize_activations": scaling}))
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(3)) * 9
    if scaling == "layer_norm":
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    else:
        mean, spread = torch.zeros(4, 1), x.norm(dim=1, keepdim=True) / WIDTH**0.5
    scaled = (x - mean) / spread
    assert torch.allclose(sae.encode(x), plain.encode(scaled), atol=1e-3)
    assert torch.allclose(sae.reconstruct(x), plain.reconstruct(scaled) * spread + mean, atol=1e-2)


def test_notes_name_features(write: Any) -> None:
    folder = write(FORMATS["topk"])
    assert load_sae(folder).notes(3).label is None
    rows = [{"label": f"on: {i}", "tokens": ["a"], "density": 0.5} for i in range(N)]
    (folder / "features.json").write_text(json.dumps(rows))
    assert load_sae(folder).notes(3).label == "on: 3"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "temporal"}, "the architecture 'temporal' is not understood"),
        ({"architecture": "gated"}, "must hold b_gate [10], holds none"),
        ({"hook_name": "blocks.2.hook_mlp_out"}, "no residual stream after a block"),
        ({"hook_name": "blocks.0.hook_resid_pre"}, "no residual stream after a block"),
        ({"hook_name": None}, "no residual stream after a block"),
        ({"d_sae": 0}, "d_sae must be a whole number of 1 or more, is 0"),
        ({"d_in": "6"}, "d_in must be a whole number"),
        ({"d_in": 7}, "must hold W_enc [7, 10], holds [6, 10]"),
        ({"architecture": "topk"}, "k must be a whole number"),
        ({"architecture": "topk", "k": 11}, "k is 11, and there are 10 features"),
        ({"normalize_activations": "expected_average_only_in"}, "fold the factor"),
        ({"reshape_activations": "hook_z"}, "reads attention heads"),
    ],
)
def test_what_is_not_understood_is_refused(write: Any, change: dict[str, Any], said: str) -> None:
    folder = write({**FORMATS["standard"], **change})
    with pytest.raises(SAEError) as caught:
        load_sae(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cfg.json", None, "cfg.json: there is no such file"),
        ("cfg.json", "{", "is not readable JSON"),
        ("cfg.json", "[]", "does not hold a JSON object"),
        ("sae_weights.safetensors", None, "there is no such file"),
        ("sae_weights.safetensors", "x", "cannot be read"),
        ("features.json", "[]", "is for 0 features, the weights have 10"),
        ("features.json", '[{"label": 1}]', "features.json"),
    ],
)
def test_a_faulty_file_is_named(write: Any, name: str, content: str | None, said: str) -> None:
    folder = write(FORMATS["standard"])
    path = folder / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(SAEError, match=said):
        load_sae(folder)


def test_a_factor_that_was_not_folded_is_refused_and_one_of_ones_is_none(write: Any) -> None:
    ones = load_sae(write(FORMATS["standard"], tensors() | {"scaling_factor": torch.ones(N)}))
    assert "scaling_factor" not in ones.tensors
    with pytest.raises(SAEError, match="scaling_factor is not understood; fold it into W_dec"):
        load_sae(write(FORMATS["standard"], tensors() | {"scaling_factor": torch.full((N,), 2.0)}))


def test_a_decoder_row_of_zeros_writes_nothing_when_norms_are_folded(write: Any) -> None:
    own = tensors()
    own["W_dec"][4] = 0.0
    sae = load_sae(write({**FORMATS["topk"], "rescale_acts_by_decoder_norm": True}, own))
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(5))
    assert sae.reconstruct(x).isfinite().all()
    assert (sae.encode(x)[:, 4] == 0).all()
    norms = sae.directions.norm(dim=1)
    assert torch.allclose(norms[torch.arange(N) != 4], torch.ones(N - 1))


def test_activations_of_another_width_are_refused(write: Any) -> None:
    with pytest.raises(SAEError, match=r"reads activations \[n, 6\], got \[1, 7\]"):
        load_sae(write(FORMATS["standard"])).encode(torch.zeros(1, 7))


def test_reading_the_configuration_needs_no_weights(write: Any) -> None:
    folder = write(FORMATS["topk"])
    (folder / "sae_weights.safetensors").unlink()
    assert (read_config(folder).k, read_config(folder).layer) == (K, 2)
