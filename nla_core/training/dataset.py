"""Activations in parquet files with the released columns, written and read in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from nla_core.dataset_sidecar import DatasetSidecar, write_dataset_sidecar
from nla_core.sidecar import SidecarError

VECTOR = "activation_vector"
_ROW_GROUP = 4096
_CACHED_GROUPS = 8


def schema(d_model: int, *, first: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Return the columns of a dataset.

    Args:
        d_model: Width of the vectors.
        first: Columns before the vector, of the training files; None is a base file.
    """
    vector = {VECTOR: pa.list_(pa.float32(), d_model)}
    number, layer, text, doc = (
        {"n_raw_tokens": pa.int64()},
        {"activation_layer": pa.int64()},
        {"detokenized_text_truncated": pa.string()},
        {"doc_id": pa.string()},
    )
    if first is None:
        columns = number | text | vector | layer | doc
    else:
        columns = dict(first) | vector | number | layer | doc | text
    return pa.schema(list(columns.items()))


PROMPT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


class Writer:
    """Writes one file with its sidecar; nothing is there under its name until it is whole."""

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        self.path, self._columns = path, columns
        self._part = path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pq.ParquetWriter(self._part, columns)
        self._rows: dict[str, list[Any]] = {name: [] for name in columns.names}
        self.row_count = 0

    def add(self, **values: Any) -> None:
        """Add one row; the vector is a float tensor `[d_model]`."""
        for name, value in values.items():
            self._rows[name].append(value)
        self.row_count += 1
        if len(self._rows[VECTOR]) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._rows[VECTOR]:
            return
        arrays = [
            _vectors(values) if field.name == VECTOR else pa.array(values, field.type)
            for field, values in zip(self._columns, self._rows.values(), strict=True)
        ]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._columns))
        self._rows = {name: [] for name in self._rows}

    def finish(self, sidecar: DatasetSidecar) -> None:
        """Write what is left, the sidecar, and give the file its name."""
        self._flush()
        self._file.close()
        write_dataset_sidecar(sidecar.model_copy(update={"row_count": self.row_count}), self.path)
        self._part.replace(self.path)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def _vectors(rows: Sequence[Tensor]) -> pa.Array:
    table = torch.stack(list(rows)).float().numpy()
    flat = pa.array(np.ascontiguousarray(table).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, table.shape[1])


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a dataset."""

    vectors: Tensor
    """`[n, d_model]` float32, raw."""
    columns: Mapping[str, list[Any]]
    """The other columns that were asked for."""

    def __len__(self) -> int:
        return len(self.vectors)

    def part(self, start: int, stop: int) -> "Rows":
        """Return rows `start` to `stop` of these."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Rows(self.vectors[start:stop], columns)


class Dataset:
    """Files of one kind, read a few row groups at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open files; their rows follow each other in this order.

        Raises:
            SidecarError: When there are no files, or one is not a dataset of activations.
        """
        if not paths:
            raise SidecarError("a dataset needs at least one parquet file")
        self._groups: list[tuple[Path, int, int]] = []
        """File, row group and first row of each."""
        start = 0
        for path in paths:
            try:
                found = pq.ParquetFile(path)
            except (OSError, pa.ArrowInvalid) as error:
                raise SidecarError(f"{path}: {' '.join(str(error).split())}") from None
            if VECTOR not in found.schema_arrow.names:
                raise SidecarError(f"{path}: has no column {VECTOR}")
            for group in range(found.num_row_groups):
                self._groups.append((path, group, start))
                start += found.metadata.row_group(group).num_rows
        self._n = start
        self.paths = tuple(paths)
        self._read = lru_cache(maxsize=_CACHED_GROUPS)(_read_group)

    @classmethod
    def of(cls, folder: Path, stem: str) -> "Dataset":
        """Open all files `stem-*.parquet` of a folder, in order.

        Raises:
            SidecarError: When there are none.
        """
        found = sorted(folder.glob(f"{stem}-*.parquet"))
        if not found:
            raise SidecarError(f"{folder}: no {stem}-*.parquet")
        return cls(found)

    def __len__(self) -> int:
        return self._n

    def rows(self, start: int, stop: int) -> Rows:
        """Return rows `start` to `stop`; past the end they begin anew, epoch after epoch.

        Raises:
            SidecarError: When the dataset has no rows.
        """
        if self._n == 0:
            raise SidecarError(f"{self.paths[0]}: has no rows")
        vectors: list[Tensor] = []
        columns: dict[str, list[Any]] = {}
        while start < stop:
            at = start % self._n
            path, group, first = self._group_of(at)
            table, matrix = self._read(path, group)
            low, high = at - first, min(at - first + stop - start, len(matrix))
            vectors.append(matrix[low:high])
            part = table.slice(low, high - low)
            for name in part.column_names:
                columns.setdefault(name, []).extend(part.column(name).to_pylist())
            start += high - low
        return Rows(torch.cat(vectors) if vectors else torch.empty(0), columns)

    def last(self, n: int) -> Rows:
        """Return the last `n` rows, all of them when there are fewer."""
        return self.rows(max(0, self._n - n), self._n)

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield all rows once."""
        for start in range(0, self._n, size):
            yield self.rows(start, min(start + size, self._n))

    def _group_of(self, row: int) -> tuple[Path, int, int]:
        low, high = 0, len(self._groups)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._groups[middle][2] <= row else (low, middle)
        return self._groups[low]


def _read_group(path: Path, group: int) -> tuple[pa.Table, Tensor]:
    table = pq.ParquetFile(path).read_row_group(group)
    column = table.column(VECTOR).combine_chunks()
    if column.null_count:
        raise SidecarError(f"{path}: row group {group} has a row without a vector")
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    width, rest = divmod(len(flat), max(len(column), 1))
    # Older files have lists of any length.
    if rest or set(pc.unique(pc.list_value_length(column)).to_pylist()) - {width}:
        raise SidecarError(f"{path}: row group {group} has vectors of different lengths")
    matrix = torch.from_numpy(flat.reshape(len(column), width).copy())
    return table.drop_columns([VECTOR]), matrix
