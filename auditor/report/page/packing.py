"""Transcripts, compressed into text that a page can hold and its script can take out again.

A pack is JSON `[strings, trials]`, deflated (zlib, RFC 1950) and in base64. A string that occurs
more than once stands in `strings` alone, and `~` with its place in base 36 stands for it, because
deflate sees back only 32 KiB and trials repeat what others said further back. Any other string that
begins with `~` gets one more. A page holds several packs, so that opening one trial unpacks few
others.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

PACK_CHARS = 2_500_000
"""About how large a pack is before compression; a browser unpacks it in some ten milliseconds."""
SHORTEST = 8
"""Shortest string that is kept apart, in characters."""
_REFERENCE = "~"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Pack(NamedTuple):
    """Some trials, one after the other."""

    first: int
    """Place of its first trial among all."""
    size: int
    """How many trials."""
    data: str
    """Base64 of the deflated JSON."""


def packed(value: Any) -> str:
    """Compress one value as it is."""
    return _squeezed(_json(value))


def packs(stories: Iterable[dict[str, Any]]) -> Iterator[Pack]:
    """Compress trials in order, as many in a pack as its size allows, at least one."""
    first, size = 0, 0
    some: list[dict[str, Any]] = []
    for story in stories:
        length = len(_json(story))
        if some and size + length > PACK_CHARS:
            yield Pack(first, len(some), packed(shared(some)))
            first, some, size = first + len(some), [], 0
        some.append(story)
        size += length
    if some:
        yield Pack(first, len(some), packed(shared(some)))


def shared(values: list[Any]) -> list[Any]:
    """Return `[strings, values]`, with references in the place of strings that recur."""
    counts = Counter(_strings(values))
    places: dict[str, str] = {}
    for text, count in counts.items():
        if count > 1 and len(text) >= SHORTEST:
            places[text] = _REFERENCE + _base36(len(places))
    return [list(places), _referring(values, places)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)


def _referring(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, str):
        return places.get(value) or (_REFERENCE + value if value[:1] == _REFERENCE else value)
    if isinstance(value, list):
        return [_referring(one, places) for one in value]
    if isinstance(value, dict):
        return {name: _referring(one, places) for name, one in value.items()}
    return value


def _base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _squeezed(text: str) -> str:
    # A lone surrogate, which JSON lines may hold, has no UTF-8.
    raw = text.encode("utf-8", errors="replace")
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")
