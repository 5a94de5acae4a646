"""Activations taken from a corpus."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.activations import capture
from nla_core.dataset_sidecar import read_dataset_sidecar
from nla_core.training.config import Harvest, Recipe, RecipeError
from nla_core.training.dataset import Dataset
from nla_core.training.harvest import harvest, sampled_positions
from nla_core.training.plugs import Document, Split, load_corpus

CONFIG = Harvest(positions_per_document=4, first_position=1, special_tokens=True)


class Texts:
    """A corpus in memory."""

    def __init__(self, train: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]]) -> None:
        self._rows: dict[Split, Sequence[Sequence[int]]] = {"train": train, "held_out": held_out}

    def documents(self, split: Split, start: int, stop: int) -> Iterator[Document]:
        for number, ids in list(enumerate(self._rows[split]))[start:stop]:
            yield Document(f"texts:{split}:{number}", ids)


def small_recipe(fields: dict[str, Any], **changes: Any) -> Recipe:
    fields["harvest"] |= changes
    return Recipe.model_validate(fields)


def ids_by_document(training: Any, tokenizer: Any, stem: str) -> dict[str, Sequence[int]]:
    split: Split = "held_out" if stem == "heldout" else "train"
    corpus = load_corpus(training.recipe.corpus, tokenizer)
    return {d.doc_id: d.token_ids for d in corpus.documents(split, 0, 30)}


@pytest.mark.parametrize("stem", ["base", "heldout"])
def test_vectors_are_the_layers_output_at_their_positions(
    stem: str, small: Any, model: Any, tokenizer: Any
) -> None:
    data = Dataset.of(small.activations, stem)
    rows = data.rows(0, len(data))
    ids = ids_by_document(small, tokenizer, stem)
    for doc_id in dict.fromkeys(rows.columns["doc_id"]):
        at = [i for i, other in enumerate(rows.columns["doc_id"]) if other == doc_id]
        positions = [rows.columns["n_raw_tokens"][i] - 1 for i in at]
        tokens = list(ids[doc_id])
        with torch.no_grad():
            plain = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states[2]
        captured = capture(model, [tokens], layer=1, positions=[positions])[0]
        assert torch.allclose(rows.vectors[at], plain[0, positions], atol=1e-4)
        assert torch.allclose(rows.vectors[at], captured, atol=1e-5)
        texts = [rows.columns["detokenized_text_truncated"][i] for i in at]
        assert texts == [
            tokenizer.decode(tokens[: p + 1], skip_special_tokens=True) for p in positions
        ]
    assert set(rows.columns["activation_layer"]) == {1}


def test_positions_are_those_of_the_released_draw() -> None:
    ids, special = [0, 5, 6, 7, 2, 8, 9, 5, 6, 2], frozenset({0, 2})
    for doc_id in ("a:train:0", "a:train:1", "b"):
        for config in (
            Harvest(positions_per_document=3, first_position=2),
            Harvest(positions_per_document=3, first_position=0, special_tokens=True),
            Harvest(positions_per_document=50, first_position=1),
        ):
            candidates = [
                i
                for i, token in enumerate(ids)
                if i >= config.first_position and (config.special_tokens or token not in (0, 2))
            ]
            draw = random.Random(hashlib.sha256(f"42|{doc_id}".encode()).digest())
            expected = draw.sample(candidates, min(config.positions_per_document, len(candidates)))
            assert sampled_positions(ids, doc_id, config, 42, special) == expected


def test_special_tokens_are_read_only_when_asked_for(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    special = tokenizer.all_special_ids
    ids = [special[0], 40, special[1], 41, special[2], 42]
    for asked, expected in ((False, {2, 4, 6}), (True, {1, 2, 3, 4, 5, 6})):
        recipe = small_recipe(fields, special_tokens=asked, first_position=0, positions_per_document=9)  # fmt: skip
        harvest(recipe, Texts([ids], [ids]), model, tokenizer, tmp_path / str(asked), say=str)
        rows = Dataset.of(tmp_path / str(asked), "base").rows(0, len(expected))
        assert set(rows.columns["n_raw_tokens"]) == expected


def test_documents_that_end_before_the_first_position_give_nothing(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    short, long = [40] * 5, [41] * 8
    # The first shard has no position to read, and the ones after it must be read all the same.
    recipe = small_recipe(fields, documents=4, documents_per_shard=2, first_position=6)
    harvest(recipe, Texts([short, short, short, long], [long]), model, tokenizer, tmp_path, say=str)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base-00001.parquet",
        "base-00001.parquet.nla_meta.yaml",
        "heldout-00000.parquet",
        "heldout-00000.parquet.nla_meta.yaml",
    ]
    rows = Dataset.of(tmp_path, "base").rows(0, 2)
    assert rows.columns["doc_id"] == ["texts:train:3"] * 2
    assert set(rows.columns["n_raw_tokens"]) == {7, 8}


def test_a_corpus_without_a_position_to_read_is_refused(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    recipe = small_recipe(fields, first_position=6)
    for train, held_out, split in (([], [], "train"), ([[40] * 7], [[40] * 3], "held_out")):
        folder = tmp_path / split
        with pytest.raises(RecipeError, match=f"no {split} document reaches past position 6"):
            harvest(recipe, Texts(train, held_out), model, tokenizer, folder, say=str)


def test_a_corpus_shorter_than_asked_ends_the_harvest(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    told: list[str] = []
    recipe = small_recipe(fields, documents=1000, documents_per_shard=2)
    corpus = Texts([[40 + i] * 6 for i in range(5)], [[40] * 6])
    for _ in range(2):
        harvest(recipe, corpus, model, tokenizer, tmp_path, say=told.append)
    assert len(list(tmp_path.glob("base-*.parquet"))) == 3
    assert len(Dataset.of(tmp_path, "base")) == 20
    assert told[2] == "harvest: base-00002.parquet, 4 activations of documents 4 to 4"
    assert len(told) == 4


def test_long_documents_are_cut(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    recipe = small_recipe(fields, max_tokens=5, first_position=0, positions_per_document=99)
    corpus = Texts([list(range(40, 60))], [list(range(40, 60))])
    harvest(recipe, corpus, model, tokenizer, tmp_path, say=str)
    rows = Dataset.of(tmp_path, "base").rows(0, 5)
    assert sorted(rows.columns["n_raw_tokens"]) == [1, 2, 3, 4, 5]
    assert len(Dataset.of(tmp_path, "base")) == 5


def test_a_shard_that_is_harvested_again_has_the_same_bytes_and_leaves_the_others_alone(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    recipe = small_recipe(fields, documents=9, documents_per_shard=4)
    corpus = Texts([[40 + i, *range(50, 58)] for i in range(9)], [[40] * 6])
    harvest(recipe, corpus, model, tokenizer, tmp_path, say=str)
    last, first = tmp_path / "base-00002.parquet", tmp_path / "base-00000.parquet"
    before, untouched = last.read_bytes(), first.stat().st_mtime_ns
    last.unlink()
    (tmp_path / "base-00002.part").write_bytes(before[:100])
    told: list[str] = []
    harvest(recipe, corpus, model, tokenizer, tmp_path, say=told.append)
    assert last.read_bytes() == before
    assert first.stat().st_mtime_ns == untouched
    assert told == ["harvest: base-00002.parquet, 4 activations of documents 8 to 8"]


def test_a_layer_that_does_not_exist_is_refused(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(fields | {"layer": 9})
    with pytest.raises(ValueError, match="layer 9 does not exist"):
        harvest(recipe, Texts([[40] * 6], [[40] * 6]), model, tokenizer, tmp_path, say=str)
    assert list(tmp_path.iterdir()) == []


def test_sidecars_name_the_model_in_full_and_no_two_splits_alike(
    fields: dict[str, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(fields | {"model": "Qwen/Qwen2.5-7B-Instruct"})
    corpus = Texts([[40, 41, 42]] * 30, [[40, 41, 42]] * 30)
    recipe = recipe.model_copy(update={"harvest": recipe.harvest.model_copy(update={"documents": 4})})  # fmt: skip
    harvest(recipe, corpus, model, tokenizer, tmp_path, say=str)
    found = {stem: read_dataset_sidecar(tmp_path / f"{stem}-00000.parquet") for stem in ("base", "heldout")}  # fmt: skip
    assert {s.extraction.base_model for s in found.values()} == {"Qwen/Qwen2.5-7B-Instruct"}
    train, held_out = found["base"], found["heldout"]
    assert train.extraction.corpus_slice == held_out.extraction.corpus_slice
    assert train.dataset_id != held_out.dataset_id
    identity = f"Qwen/Qwen2.5-7B-Instruct|1|{train.extraction.corpus}|{{'start': 0, 'length': 4}}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    assert train.dataset_id == f"base_Qwen2.5-7B-Instruct_L1_{digest}"
