"""Finding out from its files alone whether what lies in one folder can be used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from auditor.target.preflight import BadFileError, read_shapes

Record = TypeVar("Record")
Shapes = Mapping[str, tuple[int, ...]]


class Inspected(NamedTuple, Generic[Record]):
    """What the files in a folder tell."""

    record: Record | None
    """What they say of themselves; None when that cannot be read."""
    problem: str | None
    """The first thing that is wrong with them, in one line; None when nothing is."""


def inspect_folder(
    folder: Path,
    read: Callable[[Path], Record],
    *,
    error: type[Exception],
    check: Callable[[Path, Record], str | None] = lambda folder, record: None,
) -> Inspected[Record]:
    """Inspect the files in a folder, loading no weights.

    Args:
        folder: The folder.
        read: Reads the record in it.
        error: What `read` and `check` raise when a file is wrong; its message is the problem.
        check: Says what is wrong with the files beside the record.
    """
    record = None
    try:
        if not _is_there(folder):
            return Inspected(None, f"there is no folder {str(folder)!r}; check the path")
        record = read(folder)
        return Inspected(record, check(folder, record))
    except (error, BadFileError) as mistake:
        return Inspected(record, str(mistake))


def weights_problem(path: Path, misfit: Callable[[Shapes], str | None]) -> str | None:
    """Say what is wrong with a file of weights by its header; None when nothing is.

    Args:
        path: The file.
        misfit: Says what is wrong with the shapes of its tensors.

    Raises:
        BadFileError: When it is no safetensors file.
    """
    if not path.is_file():
        return f"{path}: there is no such file"
    problem = misfit(read_shapes(path))
    return None if problem is None else f"{path}: {problem}"


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False
