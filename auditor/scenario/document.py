"""A scenario or suite file: its values, its mistakes so far, and where everything stands in it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.errors import Mistake, ScenarioError
from auditor.scenario.nodes import (
    MAX_DEPTH,
    Node,
    Position,
    YamlSyntaxError,
    compose,
    position_of,
)

MAX_YAML_BYTES = 1 << 20
MAX_JSON_BYTES = 16 << 20
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIR = re.compile(_HIGH + _LOW)
_LONE = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")


class Document:
    """One file, read."""

    def __init__(
        self, path: Path, text: str, data: Any, root: Node | None, mistakes: list[Mistake]
    ) -> None:
        self.path = path
        self.data = data
        """Nested dicts, lists and scalars."""
        self.mistakes = mistakes
        """Mistakes of the file itself, such as keys given twice."""
        self._text = text
        self._root = root

    def mistake(self, loc: Sequence[str | int], what: str, *, key: bool = False) -> Mistake:
        """Name a mistake at the value that `loc` leads to, or at its key."""
        line, column = self.place(loc, key=key)
        return Mistake(str(self.path), line, column, what)

    def place(self, loc: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value (or its key) stands; the nearest block around it if it is absent."""
        node = self._nodes()
        if node is None:
            return (0, 0)
        position = node.position
        for step in loc:
            child = _child(node, step)
            if child is None:
                break
            position = node.keys[step] if key and isinstance(step, str) else child.position
            node = child
        return position

    def value(self, loc: Sequence[str | int]) -> Any:
        """The plain value that `loc` leads to, which must be there."""
        data = self.data
        for step in loc:
            data = data[step]
        return data

    def value_text(self, loc: Sequence[str | int]) -> str:
        """The scalar at `loc` as it is written, without quotes; empty when there is none."""
        node = self._nodes()
        for step in loc:
            node = None if node is None else _child(node, step)
        return "" if node is None else node.text

    def _nodes(self) -> Node | None:
        # JSON is read by the fast parser; YAML contains JSON, so positions come from there,
        # and only once there is a mistake to place.
        if self._root is None and self._text:
            try:
                self._root = compose(_without_pairs(self._text)).root
            except YamlSyntaxError:
                self._text = ""
        return self._root


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node.value, dict) and isinstance(step, str):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step]
    return None


def read_document(path: Path, *, what: str) -> Document:
    """Read a YAML or JSON file whose top level is a mapping.

    Args:
        path: The file; `.json` is read as JSON, anything else as YAML.
        what: What the file is, for messages: "scenario" or "suite".

    Raises:
        ScenarioError: When the file is missing, too large, not UTF-8 or not readable.
    """
    is_json = path.suffix.lower() == ".json"
    text = _read_text(path, what, MAX_JSON_BYTES if is_json else MAX_YAML_BYTES)
    document = _read_json(path, text) if is_json else _read_yaml(path, text)
    if document.data is None:
        hint = "name, targets and tool_sets" if what == "scenario" else "targets"
        raise _whole(path, f"the {what} is empty; it needs at least {hint}")
    if not isinstance(document.data, dict):
        problem = f"the {what} must be a mapping of keys to values at its top level"
        raise ScenarioError([document.mistake((), f"{problem}, such as `targets: …`")])
    try:
        json.dumps(document.data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        lone = _LONE.search(text)
        place = (0, 0) if lone is None else position_of(text, lone.start())
        problem = "half of a surrogate pair is no character; write both halves, or the character"
        raise ScenarioError([Mistake(str(path), *place, problem)]) from error
    return document


def _read_text(path: Path, what: str, limit: int) -> str:
    try:
        if path.is_dir():
            raise _whole(path, f"is a folder; name the {what} file inside it")
        if not path.exists():
            raise _whole(path, f"there is no such {what} file; check the path")
        if not path.is_file():
            raise _whole(path, f"is not a regular file; name a {what} file")
        with path.open("rb") as file:
            # One byte more than allowed tells "too large" without reading the rest.
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _whole(path, f"the {what} file cannot be read: {reason}") from error
    if len(raw) > limit:
        raise _whole(path, f"is larger than {limit >> 20} MiB, too large for a {what} file")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8").removeprefix("\ufeff")
        problem = f"not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        raise ScenarioError(
            [Mistake(str(path), *position_of(before, len(before)), problem)]
        ) from error


def _read_yaml(path: Path, text: str) -> Document:
    try:
        composed = compose(text)
    except YamlSyntaxError as error:
        raise ScenarioError([Mistake(str(path), *error.position, error.what)]) from error
    mistakes = [Mistake(str(path), *flaw.position, flaw.what) for flaw in composed.flaws]
    data = None if composed.root is None else composed.root.plain()
    return Document(path, text, data, composed.root, mistakes)


class _DuplicateKeyError(Exception):
    pass


def _read_json(path: Path, text: str) -> Document:
    try:
        data = json.loads(text, object_pairs_hook=_unique_keys) if text.strip() else None
    except json.JSONDecodeError as error:
        problem = f"JSON syntax: {error.msg}; correct it, or name the file .yaml if it is YAML"
        raise ScenarioError([Mistake(str(path), error.lineno, error.colno, problem)]) from error
    except (_DuplicateKeyError, RecursionError, ValueError):
        data = None
    if text.strip() and (data is None or _is_deep(data)):
        # Keys given twice, endless numbers and deep nesting: the YAML reader says where they are.
        return _read_yaml(path, _without_pairs(text))
    return Document(path, text, data, None, [])


def _without_pairs(text: str) -> str:
    """Replace escaped surrogate pairs, which YAML does not know, by text as wide as they are."""

    def character(pair: re.Match[str]) -> str:
        decoded: str = json.loads(f'"{pair[0]}"')
        return decoded.ljust(len(pair[0]))

    return _PAIR.sub(character, text)


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        blocks = [node for node in level if isinstance(node, dict | list)]
        level = [
            child
            for block in blocks
            for child in (block.values() if isinstance(block, dict) else block)
        ]
        if not level:
            return False
    return True


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _DuplicateKeyError
    return mapping


def _whole(path: Path, what: str) -> ScenarioError:
    return ScenarioError([Mistake(str(path), 0, 0, what)])
