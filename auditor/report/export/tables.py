"""Writes the flat tables as JSON lines, CSV or Parquet, trial by trial."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel

from auditor.report.export.columns import TABLES
from auditor.report.export.files import filling
from auditor.report.export.rows import (
    Recorded,
    call_rows,
    reading_rows,
    trial_rows,
    verdict_rows,
)

if TYPE_CHECKING:
    import pyarrow

Form = Literal["jsonl", "csv", "parquet"]
_ROWS: Mapping[str, Callable[[Recorded], Iterator[BaseModel]]] = {
    "trials": trial_rows,
    "tool_calls": call_rows,
    "readings": reading_rows,
    "verdicts": verdict_rows,
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BATCH = 2_000


class _Writer(Protocol):
    def write(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def write_tables(trials: Iterable[Recorded], out: Path, form: Form) -> list[Path]:
    """Write the four tables and return their files.

    A file appears only when it is whole.

    Args:
        trials: Trials in the order in which they are written.
        out: Folder, which must be there.
        form: Kind of file.

    Raises:
        RunError: When a file cannot be written.
    """
    written = [out / f"{name}.{form}" for name in TABLES]
    with ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        for path, (name, model) in zip(written, TABLES.items(), strict=True):
            part = stack.enter_context(filling(path))
            writers[name] = writer = _WRITERS[form](part, model)
            stack.callback(writer.close)
        for trial in trials:
            for name, rows in _ROWS.items():
                for row in rows(trial):
                    writers[name].write(row.model_dump(mode="json"))
    return written


class _JsonLines:
    def __init__(self, path: Path, model: type[BaseModel]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n", errors="replace")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


class _Csv:
    def __init__(self, path: Path, model: type[BaseModel]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="", errors="replace")
        self._rows = csv.DictWriter(self._file, list(model.model_fields), lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        self._rows.writerow({name: _cell(value) for name, value in row.items()})

    def close(self) -> None:
        self._file.close()


def _cell(value: Any) -> Any:
    """Return a value as a cell; a text that a spreadsheet would run is marked as text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) else value
    return value


class _Parquet:
    def __init__(self, path: Path, model: type[BaseModel]) -> None:
        import pyarrow.parquet

        self._schema = _schema(model)
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def write(self, row: dict[str, Any]) -> None:
        self._waiting.append({name: _plain(value) for name, value in row.items()})
        if len(self._waiting) >= _BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow

        if self._waiting:
            self._file.write_table(pyarrow.Table.from_pylist(self._waiting, self._schema))
            self._waiting = []


def _plain(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    # A lone surrogate has no UTF-8.
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _schema(model: type[BaseModel]) -> "pyarrow.Schema":
    """Return the schema of a table, with each column's meaning as its metadata."""
    import pyarrow as pa

    kinds: dict[Any, Any] = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
    }
    fields = []
    for name, info in model.model_fields.items():
        parts = [part for part in getattr(info.annotation, "__args__", ()) if part in kinds]
        simple = not hasattr(info.annotation, "__origin__") and parts
        kind = kinds.get(info.annotation, kinds[parts[0]] if simple else pa.string())
        fields.append(pa.field(name, kind, metadata={"meaning": info.description or ""}))
    return pa.schema(fields)


_WRITERS: dict[str, Callable[[Path, type[BaseModel]], _Writer]] = {
    "jsonl": _JsonLines,
    "csv": _Csv,
    "parquet": _Parquet,
}
