"""YAML text to plain values that remember where they were written.

The parser is driven event by event, so that nothing is ever built from a hostile file: nesting,
aliases and total size after expansion are bounded, and tags are refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

MAX_DEPTH = 64
MAX_ALIASES = 100
MAX_NODES = 200_000

Plain: TypeAlias = str | int | float | bool | None
Position: TypeAlias = tuple[int, int]
"""1-based line and column."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9](_?[0-9])*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULLS = {"", "~", "null"}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Line breaks as YAML counts them."""
_MAX_NUMBER_LENGTH = 100


@dataclass(slots=True)
class Node:
    """A scalar, sequence or mapping, and where it starts."""

    position: Position
    value: "Plain | list[Node] | dict[str, Node]"
    text: str = ""
    """Scalars: as written, without quotes."""
    keys: dict[str, Position] = field(default_factory=dict)
    """Mappings: where each key is."""
    size: int = 1
    """Nodes under this one, itself included, with aliases expanded."""
    height: int = 1
    """Levels under this one, itself included."""

    def plain(self) -> Any:
        """Return nested dicts, lists and scalars, without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class YamlSyntaxError(Exception):
    """The text cannot be read at all."""

    def __init__(self, position: Position, what: str) -> None:
        super().__init__(what)
        self.position = position
        self.what = what


@dataclass(frozen=True, slots=True)
class Flaw:
    """A mistake that leaves the rest of the file readable."""

    position: Position
    what: str


@dataclass(frozen=True, slots=True)
class Composed:
    """What a YAML text holds."""

    root: Node | None
    """None when the text holds nothing but comments."""
    flaws: tuple[Flaw, ...]


def compose(text: str) -> Composed:
    """Read one YAML document.

    Scalars follow YAML 1.1 as PyYAML reads it, without octal, sexagesimal and dates: those stay
    text. Of two equal keys the first one counts.

    Raises:
        YamlSyntaxError: When the text is not one readable YAML document.
    """
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        what = f"control character {bad[0]!r}; delete it"
        raise YamlSyntaxError(position_of(text, bad.start()), what)
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).compose()
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise YamlSyntaxError((1, 1), f"not readable as YAML: {reason}") from error


def position_of(text: str, offset: int) -> Position:
    """Line and column of a character offset."""
    ends = [found.end() for found in _BREAK.finditer(text, 0, offset)]
    return len(ends) + 1, offset - (ends[-1] if ends else 0) + 1


def _explain(error: yaml.MarkedYAMLError, text: str) -> YamlSyntaxError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines() or [""]
    if line > len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    here = lines[line - 1][column - 1 : column]
    problem = error.problem or "syntax error"
    if "tab character" in problem or ("cannot start any token" in problem and here == "\t"):
        what = "a tab where YAML wants spaces; indent with spaces"
    elif "cannot start any token" in problem:
        what = f"text cannot begin with {here!r} in YAML; put it in quotes"
    elif "mapping values are not allowed" in problem:
        what = "': ' is not allowed here; check the indentation, or put text with a colon in quotes"
    else:
        context = f" {error.context}" if error.context else ""
        what = f"YAML syntax:{context}, {problem}; check indentation, brackets and quotes"
    return YamlSyntaxError((line, column), what)


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


class _Composer:
    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._aliases = 0
        self._expanded = 0
        self._flaws: list[Flaw] = []

    def compose(self) -> Composed:
        root: Node | None = None
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if root is not None:
                what = "a second document begins here; keep one document per file"
                raise YamlSyntaxError(_position(event), what)
            root = self._node(next(self._events), depth=0)
        if root is not None and root.value is None and not root.text:
            root = None
        return Composed(root, tuple(self._flaws))

    def _node(self, event: yaml.Event, depth: int) -> Node:
        position = _position(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._grow(position, 1, depth)
        # A quoted scalar carries the non-specific tag "!" under some parsers.
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            what = f"tag {tag!r} is not allowed here; write the plain value without a tag"
            raise YamlSyntaxError(position, what)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(position, self._scalar(event), text=event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(position, depth)
        else:
            node = self._mapping(position, depth)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        position = _position(event)
        node = self._anchors.get(event.anchor or "")
        if node is None:
            what = f"*{event.anchor} refers to nothing; put &{event.anchor} on an earlier value"
            raise YamlSyntaxError(position, what)
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            what = f"more than {MAX_ALIASES} aliases in one file; write the values out"
            raise YamlSyntaxError(position, what)
        self._grow(position, node.size, depth + node.height)
        return node

    def _grow(self, position: Position, nodes: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise YamlSyntaxError(position, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        self._expanded += nodes
        if self._expanded > MAX_NODES:
            what = (
                f"more than {MAX_NODES:,} values once aliases are expanded; make the file smaller"
            )
            raise YamlSyntaxError(position, what)

    def _scalar(self, event: yaml.ScalarEvent) -> Plain:
        return event.value if event.style else resolve(event.value)

    def _sequence(self, position: Position, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(
            position,
            items,
            size=1 + sum(item.size for item in items),
            height=1 + max((item.height for item in items), default=0),
        )

    def _mapping(self, position: Position, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        size = height = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            where = _position(event)
            key = self._key(event, depth)
            node = self._node(next(self._events), depth + 1)
            size += node.size
            height = max(height, 1 + node.height)
            if key is None:
                continue
            if key in keys:
                what = f"key {key!r} occurs twice; it is first given on line {keys[key][0]}"
                self._flaws.append(Flaw(where, f"{what}, so delete one of the two"))
                continue
            values[key] = node
            keys[key] = where
        return Node(position, values, keys=keys, size=size, height=height)

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        node = self._node(event, depth + 1)
        quoted = isinstance(event, yaml.ScalarEvent) and bool(event.style)
        position = _position(event)
        if not quoted and node.text == "<<":
            what = "merge keys (<<) are not supported; write the fields out"
            raise YamlSyntaxError(position, what)
        if isinstance(node.value, dict | list) or node.value is None:
            what = "a key must be plain text; write `key: value`"
            self._flaws.append(Flaw(position, what))
            return None
        if isinstance(node.value, bool):
            what = f'key {node.text} is read as true or false; write "{node.text}" in quotes'
            self._flaws.append(Flaw(position, what))
        return node.text


def resolve(text: str) -> Plain:
    """Value of an unquoted scalar."""
    folded = text.lower()
    if folded in _NULLS:
        return None
    if folded in _BOOLS:
        return _BOOLS[folded]
    if len(text) > _MAX_NUMBER_LENGTH:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if folded.lstrip("+-") in (".inf", ".nan"):
        return float(folded.replace(".", ""))
    return text
