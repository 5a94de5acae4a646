"""Where the files that a scenario names are."""

import re
from pathlib import Path
from typing import NamedTuple

from auditor.scenario.diagnose import shorten
from auditor.scenario.schema import Model, OracleSpec, PairSpec, ReaderSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class Located(NamedTuple):
    """A model with its paths made absolute."""

    model: Model
    problems: list[tuple[str, str]]
    """Field of the model, and what is wrong with it."""


def absolute(path: str, folder: Path) -> Path:
    """Resolve a path against the folder of the file that names it; `~` is the home folder."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        expanded = Path(path)
    return (folder / expanded).absolute()


def is_file(path: Path) -> bool:
    """Whether `path` is a regular file; False for paths that no file system can hold."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def locate(model: Model, folder: Path) -> Located:
    """Make a model's local paths absolute and leave hub ids alone.

    A path is local when it is absolute, begins with `.` or `~`, or exists under `folder`;
    otherwise it must look like a hub id, and is not checked.
    """
    problems: list[tuple[str, str]] = []
    update: dict[str, str] = {}
    for field in ("path", "adapter"):
        written = getattr(model, field)
        if written is None:
            continue
        found = _folder(written, folder)
        if isinstance(found, Path):
            update[field] = str(found)
        elif found is not None:
            problems.append((field, found))
    if model.revision is not None and "path" in update:
        what = "a revision belongs to a hub id, and this model is a local folder; delete it"
        problems.append(("revision", what))
    return Located(model.model_copy(update=update), problems)


class LocatedReader(NamedTuple):
    """A reader with its paths made absolute."""

    reader: ReaderSpec
    problems: list[tuple[tuple[str, ...], str]]
    """Where in the reader's description, and what is wrong there."""


def locate_reader(reader: ReaderSpec, folder: Path) -> LocatedReader:
    """Make a reader's local paths absolute and leave hub ids alone, as `locate` does."""
    problems: list[tuple[tuple[str, ...], str]] = []

    def placed(part: ReaderSpec | PairSpec, loc: tuple[str, ...]) -> dict[str, str]:
        update = {}
        for field in ("av", "ar"):
            written = getattr(part, field)
            found = None if written is None else _folder(written, folder)
            if isinstance(found, Path):
                update[field] = str(found)
            elif found is not None:
                problems.append(((*loc, field), found))
        return update

    update: dict[str, object] = {**placed(reader, ())}
    update["pairs"] = {
        layer: pair.model_copy(update=placed(pair, ("pairs", str(layer))))
        for layer, pair in reader.pairs.items()
    }
    return LocatedReader(reader.model_copy(update=update), problems)


def locate_oracle(oracle: OracleSpec, folder: Path) -> tuple[OracleSpec, str | None]:
    """Make an oracle's local path absolute and leave a hub id alone, as `locate` does.

    Returns:
        The oracle, and what is wrong with its path, if anything is.
    """
    found = _folder(oracle.path, folder)
    if isinstance(found, Path):
        return oracle.model_copy(update={"path": str(found)}), None
    return oracle, found


def _folder(written: str, folder: Path) -> Path | str | None:
    """The local folder, what is wrong with it, or None for a hub id."""
    if not written:
        return "is empty; write a folder, or a hub id such as org/name"
    path = absolute(written, folder)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError):
        exists = is_folder = False
    local = exists or written.startswith((".", "~")) or Path(written).is_absolute()
    if is_folder:
        return path
    if exists:
        return f"{shorten(written)} is a file; name the folder that holds it"
    if local:
        return f"there is no folder {shorten(written)} (looked for {path}); check the path"
    if _HUB_ID.fullmatch(written):
        return None
    where = f"neither a folder under {folder} nor a hub id"
    return f"{shorten(written)} is {where}; write a path, or a hub id such as org/name"
