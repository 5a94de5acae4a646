"""Parquet files of activations."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.dataset_sidecar import DatasetSidecar, Extraction, read_dataset_sidecar
from nla_core.sidecar import SidecarError
from nla_core.training import dataset as module
from nla_core.training.dataset import Dataset, Writer, schema

D = 3
SIDECAR = DatasetSidecar(
    dataset_id="base_x_L1_00000000",
    stage="base",
    row_count=0,
    extraction=Extraction(base_model="x", d_model=D, layer_index=1),
)


def vector_of(row: int) -> torch.Tensor:
    return torch.tensor([row, -row, 0.5])


def fill(writer: Writer, rows: range) -> None:
    for row in rows:
        writer.add(
            n_raw_tokens=row + 1,
            detokenized_text_truncated=f"text {row}",
            activation_vector=vector_of(row),
            activation_layer=1,
            doc_id=f"doc:{row}",
        )


def write(path: Path, rows: range) -> Path:
    with Writer(path, schema(D)) as writer:
        fill(writer, rows)
        writer.finish(SIDECAR)
    return path


@pytest.fixture
def groups_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROW_GROUP", 4)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each row group was read from the disk."""
    counts: Counter[tuple[str, int]] = Counter()
    original = module._read_group

    def counted(path: Path, group: int) -> Any:
        counts[path.name, group] += 1
        return original(path, group)

    monkeypatch.setattr(module, "_read_group", counted)
    return counts


@pytest.mark.usefixtures("groups_of_four")
def test_rows_come_back_as_plain_pyarrow_reads_them(tmp_path: Path) -> None:
    path = write(tmp_path / "base-00000.parquet", range(10))
    table = pq.read_table(path)
    assert pq.ParquetFile(path).num_row_groups == 3
    rows = Dataset([path]).rows(0, 10)
    assert rows.vectors.dtype == torch.float32
    assert rows.vectors.tolist() == table["activation_vector"].to_pylist()
    for name in table.column_names:
        if name != "activation_vector":
            assert rows.columns[name] == table[name].to_pylist()


def test_rows_follow_each_other_over_files_and_begin_anew_after_the_last(
    tmp_path: Path, groups_of_four: None
) -> None:
    write(tmp_path / "base-00000.parquet", range(6))
    write(tmp_path / "base-00001.parquet", range(6, 11))
    data = Dataset.of(tmp_path, "base")
    assert len(data) == 11

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 40), st.integers(0, 30))
    def check(start: int, n: int) -> None:
        rows = data.rows(start, start + n)
        expected = [i % 11 for i in range(start, start + n)]
        assert len(rows) == n
        assert [vector_of(i).tolist() for i in expected] == rows.vectors.tolist()
        assert rows.columns.get("doc_id", []) == [f"doc:{i}" for i in expected]

    check()


def test_batches_give_every_row_once(tmp_path: Path, groups_of_four: None) -> None:
    data = Dataset([write(tmp_path / "a.parquet", range(10))])
    assert [len(part) for part in data.batches(4)] == [4, 4, 2]
    found = [n for part in data.batches(3) for n in part.columns["n_raw_tokens"]]
    assert found == list(range(1, 11))


def test_only_the_row_groups_that_are_asked_for_are_read(
    tmp_path: Path, groups_of_four: None, reads: Counter[tuple[str, int]]
) -> None:
    data = Dataset([write(tmp_path / "a.parquet", range(100))])
    data.rows(41, 43)
    assert reads == {("a.parquet", 10): 1}
    for start in range(0, 100, 5):
        data.rows(start, start + 5)
    # A pass in order reads each of the 25 groups once, whatever the size of a step.
    assert len(reads) == 25
    assert sum(reads.values()) <= 26
    assert data._read.cache_info().currsize <= 8


@pytest.mark.parametrize(
    ("stem", "first"),
    [
        ("base", []),
        ("av_sft", [("prompt", module.PROMPT), ("response", pa.string())]),
        ("ar_sft", [("prompt", pa.string())]),
        ("rl", [("prompt", module.PROMPT)]),
    ],
)
def test_columns_and_their_types_are_the_released_ones_in_order(
    stem: str, first: list[tuple[str, pa.DataType]], small: Any
) -> None:
    number, text = ("n_raw_tokens", pa.int64()), ("detokenized_text_truncated", pa.string())
    vector = ("activation_vector", pa.list_(pa.float32(), 32))
    layer, doc = ("activation_layer", pa.int64()), ("doc_id", pa.string())
    expected = [number, text, vector, layer, doc] if stem == "base" else [*first, vector, number, layer, doc, text]  # fmt: skip
    files = sorted(small.activations.glob(f"{stem}-*.parquet"))
    assert len(files) == 3
    for path in files:
        found = pq.read_schema(path)
        assert [(field.name, field.type) for field in found] == expected


@pytest.mark.parametrize("stem", ["base", "av_sft", "ar_sft", "rl", "heldout"])
def test_every_file_has_a_sidecar_that_tells_of_it(stem: str, small: Any) -> None:
    for path in sorted(small.activations.glob(f"{stem}-*.parquet")):
        found = read_dataset_sidecar(path)
        assert found.row_count == pq.read_metadata(path).num_rows > 0
        assert found.stage == ("base" if stem == "heldout" else stem)
        assert found.extraction.d_model == 32
        assert found.extraction.layer_index == 1
        assert found.extraction.positions_per_doc == 4
        assert (found.tokens is not None) == (stem not in ("base", "heldout"))
        if found.tokens is not None:
            assert (found.tokens.critic_suffix_ids is not None) == (stem == "ar_sft")
            assert found.dataset_id.startswith(f"{stem}_base_L1_")
            assert set(found.prompt_templates or ()) == {"actor", "critic"}


def test_files_with_variable_lists_of_older_writers_are_read(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    for name, kind in (("float32", pa.list_(pa.float32())), ("float64", pa.large_list(pa.float64()))):  # fmt: skip
        table = pa.table({"doc_id": list("abcd"), "activation_vector": pa.array(vectors.tolist(), kind)})  # fmt: skip
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
        rows = Dataset([tmp_path / f"{name}.parquet"]).rows(1, 4)
        assert rows.vectors.dtype == torch.float32
        assert rows.vectors.tolist() == vectors[1:].tolist()
        assert rows.columns == {"doc_id": ["b", "c", "d"]}


def _ragged(path: Path) -> None:
    pq.write_table(pa.table({"activation_vector": [[1.0, 2.0], [3.0]]}), path)


def _with_a_hole(path: Path) -> None:
    pq.write_table(pa.table({"activation_vector": [[1.0, 2.0], None]}), path)


def _other_columns(path: Path) -> None:
    pq.write_table(pa.table({"vector": [[1.0]]}), path)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_ragged, "vectors of different lengths"),
        (_with_a_hole, "a row without a vector"),
        (_other_columns, "has no column activation_vector"),
        (lambda path: path.write_bytes(b"PAR1 cut"), r"x\.parquet: "),
        (lambda path: pq.write_table(schema(D).empty_table(), path), "has no rows"),
    ],
)
def test_files_that_are_no_datasets_are_named(
    make: Callable[[Path], Any], expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.parquet"
    make(path)
    with pytest.raises(SidecarError, match=expected) as caught:
        Dataset([path]).rows(0, 2)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dataset_needs_files(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match=r"no base-\*\.parquet"):
        Dataset.of(tmp_path, "base")
    with pytest.raises(SidecarError, match="at least one"):
        Dataset([])


@pytest.mark.usefixtures("groups_of_four")
def test_a_writer_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "base-00000.parquet"
    with pytest.raises(ZeroDivisionError), Writer(path, schema(D)) as writer:  # noqa: PT012
        fill(writer, range(6))
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("groups_of_four")
def test_a_writer_that_is_killed_leaves_nothing_under_the_name_and_does_not_disturb_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "base-00000.parquet"
    killed = Writer(path, schema(D))
    fill(killed, range(6))
    assert not path.exists()
    with pytest.raises(SidecarError, match="no base"):
        Dataset.of(tmp_path, "base")
    write(path, range(3))
    assert len(Dataset.of(tmp_path, "base")) == 3
    assert read_dataset_sidecar(path).row_count == 3


def test_vectors_of_any_float_type_are_stored_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with Writer(path, schema(2)) as writer:
        writer.add(
            n_raw_tokens=1,
            detokenized_text_truncated="",
            activation_vector=torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            activation_layer=0,
            doc_id="d",
        )
        writer.finish(SIDECAR)
    assert Dataset([path]).rows(0, 1).vectors.tolist() == [[1.5, -2.0]]
