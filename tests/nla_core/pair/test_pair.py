"""Pairs as files: what belongs together, what a reading holds, and pairs for several layers."""

import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from nla_core.baseline_file import BASELINE_FILE, load_baseline, save_baseline
from nla_core.fidelity import Baseline, Fidelity, Score
from nla_core.pair import NLAPair, PairSet, Verdict, load_pair, verdict_of
from nla_core.pair_checks import PairWarning
from nla_core.reconstructor import new_reconstructor
from nla_core.sampling import Sampling
from nla_core.sidecar import SidecarError
from nla_core.verbalizer import new_verbalizer

AV_TEMPLATE = "the vector <concept>{injection_char}</concept> is"
AR_TEMPLATE = "<text>{explanation}</text> <summary>"
SHORT = Sampling(max_tokens=6)
D_MODEL, LAYER = 32, 1


def baseline_of(vectors: torch.Tensor) -> Baseline:
    return Baseline.from_activations(vectors, mse_scale=math.sqrt(D_MODEL))


@pytest.fixture
def loaded(llama: Any) -> NLAPair:
    return load_pair(llama.av, llama.ar)


def talk(pair: NLAPair, monkeypatch: pytest.MonkeyPatch, texts: list[str | None]) -> None:
    """Make the verbalizer say these, by row: an untrained one closes no tags."""
    from dataclasses import replace

    explain = pair.verbalizer.explain

    def said(activations: torch.Tensor, **options: Any) -> list[Any]:
        return [replace(one, text=texts[one.vector]) for one in explain(activations, **options)]

    monkeypatch.setattr(pair.verbalizer, "explain", said)


def test_a_pair_loads_with_the_baseline_beside_its_reconstructor(
    llama: Any, edited: Callable[..., Path], vectors: torch.Tensor
) -> None:
    ar = edited(llama.ar)
    assert load_pair(llama.av, ar).baseline is None
    save_baseline(baseline_of(vectors), ar)
    pair = load_pair(llama.av, ar)
    assert pair.baseline is not None
    assert (pair.baseline.n, pair.d_model, pair.layer, pair.off_layer) == (5, D_MODEL, LAYER, None)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda meta: meta.update(extraction_layer_index=0), "layer is 0 and 1"),
        (lambda meta: meta.update(d_model=64), "d_model is 64 and 32"),
        (lambda meta: meta["prompt_templates"].update(ar="{explanation} <summary>"), "template is"),
        (lambda meta: meta["extraction"].update(mse_scale=None), "mse_scale is None and 5.65"),
        (lambda meta: meta.update(role="ar"), "both reconstructors"),
    ],
)
def test_halves_that_do_not_belong_together_are_refused_with_what_differs(
    llama: Any, edited: Callable[..., Path], change: Callable[[dict[str, Any]], Any], what: str
) -> None:
    av = edited(llama.av, change)
    with pytest.raises(SidecarError) as refused:
        load_pair(av, llama.ar)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)


def test_swapped_halves_are_called_swapped(llama: Any) -> None:
    with pytest.raises(SidecarError, match="wrong way round"):
        load_pair(llama.ar, llama.av)


def test_another_name_of_the_base_only_warns(llama: Any, edited: Callable[..., Path]) -> None:
    av = edited(llama.av, lambda meta: meta.update(base_checkpoint="other/base"))
    with pytest.warns(PairWarning, match="'other/base' and 'some/base'"):
        load_pair(av, llama.ar)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PairWarning)
        load_pair(llama.av, llama.ar)


def test_a_layer_that_only_one_half_knows_is_no_difference(
    llama: Any, edited: Callable[..., Path]
) -> None:
    av = edited(llama.av, lambda meta: meta.pop("extraction_layer_index"))
    assert load_pair(av, llama.ar).layer == LAYER


def test_a_baseline_of_another_width_or_scale_is_refused(
    llama: Any, edited: Callable[..., Path], vectors: torch.Tensor
) -> None:
    ar = edited(llama.ar)
    save_baseline(Baseline.from_activations(vectors, mse_scale=3.0), ar)
    with pytest.raises(SidecarError, match=r"mse_scale is 3\.0"):
        load_pair(llama.av, ar)
    save_baseline(Baseline.from_activations(vectors[:, :8], mse_scale=math.sqrt(D_MODEL)), ar)
    with pytest.raises(SidecarError, match="mu has 8 values, d_model is 32"):
        load_pair(llama.av, ar)


# The file of the baseline.


@given(
    mu=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
    rawvar=st.floats(0, 1e6),
    meannorm=st.floats(0, 1e6),
    n=st.integers(1, 10**9),
    mse_scale=st.none() | st.floats(1e-3, 1e6),
)
def test_a_baseline_reads_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    mu: list[float],
    rawvar: float,
    meannorm: float,
    n: int,
    mse_scale: float | None,
) -> None:
    folder = tmp_path_factory.mktemp("baseline")
    written = Baseline(
        mu=torch.tensor(mu, dtype=torch.float64),
        rawvar=rawvar,
        meannorm=meannorm,
        n=n,
        mse_scale=mse_scale,
    )
    save_baseline(written, folder)
    read = load_baseline(folder)
    assert read is not None
    assert torch.equal(read.mu, written.mu)
    assert (read.rawvar, read.meannorm, read.n, read.mse_scale) == (rawvar, meannorm, n, mse_scale)
    assert [path.name for path in folder.iterdir()] == [BASELINE_FILE]


def test_no_file_means_no_baseline(tmp_path: Path) -> None:
    assert load_baseline(tmp_path) is None


GOOD = {"rawvar": "0.5", "meannorm": "0.7", "n": "10", "mse_scale": "2.0"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rawvar": None}, "lack rawvar"),
        ({"mse_scale": None}, "lack mse_scale"),
        ({"rawvar": "many"}, "rawvar must be a number"),
        ({"rawvar": "nan"}, "rawvar must be a number"),
        ({"meannorm": "-1"}, "meannorm must be a number"),
        ({"n": "0"}, "n must be a number of at least 1"),
        ({"n": "1.5"}, "n must be a whole number"),
        ({"mse_scale": "0"}, "mse_scale must be a number"),
    ],
)
def test_wrong_metadata_of_a_baseline_are_named(
    tmp_path: Path, change: dict[str, str | None], what: str
) -> None:
    metadata = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    save_file({"mu": torch.zeros(4).double()}, tmp_path / BASELINE_FILE, metadata)
    with pytest.raises(SidecarError, match=what):
        load_baseline(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "what"),
    [
        ({"mu": torch.zeros(4)}, "must be .* float64"),
        ({"mu": torch.zeros(2, 2).double()}, "must be .d_model. float64"),
        ({"mu": torch.tensor([math.nan]).double()}, "not finite"),
        ({"mean": torch.zeros(4).double()}, "must hold one tensor named mu, holds mean"),
    ],
)
def test_a_wrong_tensor_of_a_baseline_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], what: str
) -> None:
    save_file(tensors, tmp_path / BASELINE_FILE, GOOD)
    with pytest.raises(SidecarError, match=what):
        load_baseline(tmp_path)


def test_a_baseline_that_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / BASELINE_FILE).write_bytes(b"\x80\x04nothing")
    with pytest.raises(SidecarError, match="cannot be read"):
        load_baseline(tmp_path)


# Readings.


def test_a_reading_joins_explanation_and_fidelity_row_by_row(
    loaded: NLAPair, vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the cat", "a dog", None, "", "on the mat"]
    talk(loaded, monkeypatch, texts)
    contexts = ["the", "the cat", "it was", "and then", "x"]
    readings = loaded.read(vectors, samples=2, sampling=SHORT, contexts=contexts)
    assert [(r.explanation.vector, r.explanation.sample) for r in readings] == [
        (row, sample) for row in range(5) for sample in range(2)
    ]
    gold = torch.nn.functional.normalize(vectors, dim=-1)
    for reading in readings:
        text = texts[reading.explanation.vector]
        assert reading.explanation.text == text
        found = reading.fidelity
        assert found.random_vector is not None
        assert found.copied_context is not None
        if text is None:
            assert found.score is None
            assert reading.verdict == "unscored"
            continue
        (predicted,) = loaded.reconstructor.reconstruct([text])
        expected = torch.nn.functional.cosine_similarity(
            predicted, gold[reading.explanation.vector], dim=0
        )
        assert found.score is not None
        assert found.score.cosine == pytest.approx(float(expected), abs=1e-5)


def test_the_same_seeds_read_the_same_whatever_stands_beside(
    loaded: NLAPair, vectors: torch.Tensor
) -> None:
    every = loaded.read(vectors, sampling=SHORT, seeds=[1, 2, 3, 4, 5])
    alone = loaded.read(vectors[3:4], sampling=SHORT, seeds=[4])
    assert alone[0].explanation.raw_text == every[3].explanation.raw_text


def test_texts_too_long_for_the_reconstructor_are_marked_and_stop_nothing(
    loaded: NLAPair, vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "the cat sat on the mat " * 40
    talk(loaded, monkeypatch, [long, "the cat"])
    readings = loaded.read(vectors[:2], sampling=SHORT, contexts=["the", long])
    assert readings[0].fidelity.problem == "too_long"
    assert readings[0].fidelity.score is None
    assert readings[0].explanation.text == long
    assert readings[1].fidelity.score is not None
    assert readings[1].fidelity.copied_context is None


def test_contexts_must_be_as_many_as_activations(loaded: NLAPair, vectors: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="5 activations need as many contexts"):
        loaded.read(vectors, contexts=["the"])


def test_off_layer_readings_are_marked_and_their_fve_is_unknown(
    llama: Any,
    edited: Callable[..., Path],
    vectors: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ar = edited(llama.ar)
    save_baseline(baseline_of(vectors), ar)
    pair = load_pair(llama.av, ar)
    talk(pair, monkeypatch, ["the cat"])
    (own,) = pair.read(vectors[:1], sampling=SHORT)
    (named,) = pair.read(vectors[:1], sampling=SHORT, layer=LAYER)
    (other,) = pair.read(vectors[:1], sampling=SHORT, layer=2)
    (kept,) = pair.at_layer(2).read(vectors[:1], sampling=SHORT)
    assert (own.off_layer, named.off_layer, other.off_layer, kept.off_layer) == (None, None, 2, 2)
    assert other.layer == LAYER
    assert own.fidelity.score is not None
    assert own.fidelity.score.fve is not None
    assert other.fidelity.score is not None
    assert other.fidelity.score.fve is None
    assert other.fidelity.score.cosine == own.fidelity.score.cosine


def scored(cosine: float | None, fve: float | None = None) -> Score:
    mse = 2.0 if cosine is None else 2 * (1 - cosine)
    return Score(mse_nrm=mse, cosine=cosine, fve=fve, fve_meannorm=None)


@pytest.mark.parametrize(
    ("score", "shuffled", "context", "verdict"),
    [
        (None, None, None, "unscored"),
        (scored(None), None, None, "unscored"),
        (scored(0.29), None, None, "random"),
        (scored(-0.9), None, None, "random"),
        (scored(0.31), None, None, "carries"),
        (scored(0.9, -0.1), None, None, "mean"),
        (scored(0.9, 0.0), None, None, "mean"),
        (scored(0.9, 0.5), scored(0.9), None, "shuffled"),
        (scored(0.9, 0.5), scored(0.8), scored(0.95), "context"),
        (scored(0.9, 0.5), scored(0.8), scored(0.7), "carries"),
    ],
)
def test_a_verdict_names_the_weakest_null_that_is_not_beaten(
    score: Score | None, shuffled: Score | None, context: Score | None, verdict: Verdict
) -> None:
    found = Fidelity(
        score=score, shuffled=shuffled, random_vector=None, copied_context=context, problem=None
    )
    assert verdict_of(found, d_model=100) == verdict


def test_random_directions_are_hardly_ever_taken_for_readings() -> None:
    generator = torch.Generator().manual_seed(1)
    random = torch.nn.functional.normalize(torch.randn(2000, 100, generator=generator), dim=-1)
    verdicts = [
        verdict_of(
            Fidelity(
                score=scored(float(vector[0])),
                shuffled=None,
                random_vector=None,
                copied_context=None,
                problem=None,
            ),
            d_model=100,
        )
        for vector in random
    ]
    assert verdicts.count("carries") <= 10  # 0.13 % are expected


# Several layers.


@pytest.fixture(scope="module")
def layered(build_pair: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs for layers 0 and 2."""
    base = build_pair("llama").base
    root = tmp_path_factory.mktemp("layers")
    templates = {"av_template": AV_TEMPLATE, "ar_template": AR_TEMPLATE}
    for layer in (0, 2):
        new_verbalizer(base, layer, injection_scale=5.0, **templates).save(root / f"L{layer}/av")
        new_reconstructor(base, layer, **templates).save(root / f"L{layer}/ar")
    (root / "notes").mkdir()
    return root


def test_a_layer_gets_its_own_pair_or_the_nearest_marked(layered: Path) -> None:
    pairs = PairSet.load(layered)
    assert pairs.layers == (0, 2)
    found = {layer: pairs.for_layer(layer) for layer in (0, 1, 2, 9)}
    assert {k: (p.layer, p.off_layer) for k, p in found.items()} == {
        0: (0, None),
        1: (0, 1),
        2: (2, None),
        9: (2, 9),
    }
    assert found[2].reconstructor is found[9].reconstructor
    with pytest.raises(ValueError, match="a layer is 0 or more"):
        pairs.for_layer(-1)


def test_pairs_are_also_given_by_folders(layered: Path) -> None:
    pairs = PairSet.load({2: (layered / "L2/av", layered / "L2/ar")})
    assert pairs.layers == (2,)
    assert pairs.for_layer(2).off_layer is None


def test_a_pair_given_for_another_layer_is_refused(layered: Path) -> None:
    with pytest.raises(SidecarError, match="is for layer 2, it was given for 1"):
        PairSet.load({1: (layered / "L2/av", layered / "L2/ar")})


def test_a_folder_without_pairs_is_refused(layered: Path, tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="holds no pairs"):
        PairSet.load(tmp_path)
    with pytest.raises(SidecarError, match="no such folder"):
        PairSet.load(tmp_path / "nowhere")
    with pytest.raises(SidecarError, match="at least one"):
        PairSet.load({})
    shutil.copytree(layered / "L2/av", tmp_path / "L2/av")
    with pytest.raises(SidecarError, match="L2/ar: no such folder"):
        PairSet.load(tmp_path)
