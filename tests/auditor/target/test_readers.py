"""Readers in memory, made from a real tiny pair."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.errors import UsageError
from auditor.scenario.schema import Model, PairSpec, ReaderSpec
from auditor.target.pool import TargetPool
from auditor.target.reader_preflight import preflight_reader, reader_misfit
from auditor.target.readers import ReaderPool, with_null
from nla_core import pair as pairs
from nla_core.pair import Reading

BASE = Path(__file__).parents[3] / "scenarios" / "sandbox" / "weights" / "base"
TEMPLATES = {
    "av_template": "explain <concept>{injection_char}</concept>",
    "ar_template": "summary of the following text: <text>{explanation}</text> <summary>",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., PairSpec]:
    from nla_core.reconstructor import new_reconstructor
    from nla_core.verbalizer import new_verbalizer

    root = tmp_path_factory.mktemp("pairs")

    def made(layer: int = 2) -> PairSpec:
        folder = root / str(layer)
        if not folder.exists():
            new_verbalizer(BASE, layer, injection_scale=8.0, **TEMPLATES).save(folder / "av")
            new_reconstructor(BASE, layer, **TEMPLATES).save(folder / "ar")
        return PairSpec(av=str(folder / "av"), ar=str(folder / "ar"))

    return made


@pytest.fixture
def spec(pair: Callable[..., PairSpec]) -> ReaderSpec:
    return ReaderSpec(av=pair().av, ar=pair().ar, device="cpu", max_tokens=6)


def read(reader: Any, n: int = 3, **changes: Any) -> list[Reading]:
    vectors = torch.randn(n, 128, generator=torch.Generator().manual_seed(1)) * 8
    options = {
        "layer": 2,
        "samples": 1,
        "temperature": 1.0,
        "seeds": list(range(n)),
        "contexts": [f"the words number {i} end here" for i in range(n)],
    }
    return reader.read(vectors, **(options | changes))


def told(readings: list[Reading]) -> list[str]:
    return [reading.explanation.raw_text for reading in readings]


def test_a_sound_pair_that_fits_has_nothing_said_against_it(spec: ReaderSpec) -> None:
    assert preflight_reader(spec) == []
    assert reader_misfit(spec, Model(path=str(BASE))) is None


def test_hub_ids_are_not_looked_up(spec: ReaderSpec) -> None:
    assert preflight_reader(ReaderSpec(av="org/av", ar="org/ar")) == []
    assert reader_misfit(ReaderSpec(av="org/av", ar="org/ar"), Model(path=str(BASE))) is None
    assert reader_misfit(spec, Model(path="org/model")) is None


def test_the_layer_of_a_lone_pair_is_its_own(spec: ReaderSpec) -> None:
    reader = ReaderPool().get(spec)
    assert reader.layers == (2,)
    readings = read(reader)
    assert [r.explanation.vector for r in readings] == [0, 1, 2]
    assert all(0 < r.explanation.n_tokens <= 6 for r in readings)
    assert reader.reconstruct(["a", "b"], layer=2).shape == (2, 128)


def test_the_weights_of_a_pair_are_loaded_once_and_with_the_reader(
    spec: ReaderSpec, pair: Callable[..., PairSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load_pair(av: str, ar: str, **options: Any) -> Any:
        loaded.append(av)
        return real(av, ar, **options)

    real = pairs.load_pair
    monkeypatch.setattr(pairs, "load_pair", load_pair)
    pool = TargetPool()
    first = pool.reader(spec)
    assert loaded == [pair().av]
    assert pool.reader(spec) is first
    assert pool.reader(spec.model_copy(update={"max_tokens": 3})) is not first
    assert loaded == [pair().av]
    both = ReaderSpec(pairs={2: pair(2), 1: pair(1)}, device="cpu")
    assert pool.reader(both).layers == (1, 2)
    assert loaded == [pair(2).av, pair(1).av]


def test_the_dtype_is_that_of_the_description(spec: ReaderSpec) -> None:
    reader = ReaderPool().get(spec.model_copy(update={"dtype": "bfloat16"}))
    loaded = reader._pairs.for_layer(2)
    assert loaded.reconstructor.network.value_head.weight.dtype == torch.bfloat16
    assert next(loaded.verbalizer.model.parameters()).dtype == torch.bfloat16


def test_the_longest_explanation_is_that_of_the_description(spec: ReaderSpec) -> None:
    pool = ReaderPool()
    short = pool.get(spec.model_copy(update={"max_tokens": 2}))
    assert (short.max_tokens, pool.get(spec).max_tokens) == (2, 6)
    assert max(r.explanation.n_tokens for r in read(short, 6)) == 2
    assert max(r.explanation.n_tokens for r in read(pool.get(spec), 6)) > 2


def test_nulls_take_the_readers_place(spec: ReaderSpec) -> None:
    real = ReaderPool().get(spec)
    for of_the_mind in (None, "placebo", "shuffled"):
        assert with_null(real, of_the_mind) is real
    said = told(read(real))
    text_only = read(with_null(real, "text_only"))
    assert told(text_only) == [f"the words number {i} end here" for i in range(3)]
    assert {r.explanation.n_tokens for r in text_only} == {0}
    random = with_null(real, "random_vectors")
    assert told(read(random)) != said
    assert not torch.equal(
        random.reconstruct(["a", "b"], layer=2), real.reconstruct(["a", "b"], layer=2)
    )
    assert {with_null(real, n).layers for n in ("text_only", "random_vectors")} == {(2,)}


def test_a_reader_that_cannot_be_loaded_is_one_line_for_the_operator(
    spec: ReaderSpec, tmp_path: Path, pair: Callable[..., PairSpec]
) -> None:
    pool = ReaderPool()
    missing = ReaderSpec(av=str(tmp_path / "none"), ar=pair().ar)
    wrong_layer = ReaderSpec(pairs={1: pair(2)})
    swapped = ReaderSpec(av=pair().ar, ar=pair().av)
    for bad, what in (
        (missing, "none does not exist; correct `av`"),
        (wrong_layer, "is for layer 2, it was given for 1"),
        (swapped, "the wrong way round"),
        (ReaderSpec(), "a reader needs `av` and `ar`, or `pairs`"),
    ):
        with pytest.raises(UsageError, match=what) as caught:
            pool.get(bad)
        assert caught.value.__cause__ is None or "\n" not in str(caught.value)


def test_weights_that_cannot_be_read_are_a_usage_error(
    spec: ReaderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_pair(*args: Any, **options: Any) -> Any:
        raise RuntimeError("out of memory\nwith details")

    monkeypatch.setattr(pairs, "load_pair", load_pair)
    with pytest.raises(UsageError, match=r"^cannot load a reader: out of memory$"):
        ReaderPool().get(spec)
