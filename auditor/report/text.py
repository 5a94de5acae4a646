"""Hostile text, made safe for a terminal.

What a target says may hold escape sequences that move the cursor, retitle the window or write to
the clipboard, direction overrides that reorder what a person reads, invisible characters that
hide a message, and lines of a megabyte. `clean` leaves text that can be printed anywhere:

1. whole escape sequences are dropped (ECMA-48 control sequences and control strings);
2. every other control, format, surrogate, private or unassigned character becomes one visible
   character, a control picture where Unicode has one, else U+FFFD;
3. variation selectors are dropped and stacks of combining marks are cut;
4. long lines and long texts are cut, with a note that says how much is missing.

Markup is another matter: rich reads `[red]` in a `str` but never in a `Text`, so everything here
that is meant for rich returns a `Text`.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

MAX_CHARS = 20_000
"""Longest text that `clean` returns by default, in characters."""
MAX_LINE = 2_000
"""Longest line that `clean` returns by default, in characters."""
_MIN_LIMIT = 80
_MAX_MARKS = 3
_RAW_FACTOR = 8

_INTRODUCERS = "\x1b\x90\x98\x9b\x9d\x9e\x9f"
# A control string without its terminator must not swallow the rest of the text, so it has to end
# within a bounded distance; otherwise only its introducer goes, in step 2.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,256}[ -/]{0,16}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{1,16}[0-~]"
    r"|\x1b[0-OQ-WYZ\\`-~]"
)
_INVISIBLE = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0]
)


class _Visible(dict[int, str | int]):
    """A `str.translate` table that is filled as characters are met."""

    def __missing__(self, code: int) -> str | int:
        self[code] = visible = _visible(code)
        return visible


def _visible(code: int) -> str | int:
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return ""
    if code == 0x09:
        return "    "
    if code == 0x0A:
        return code
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    hidden = code in _INVISIBLE or unicodedata.category(chr(code)) in _HIDDEN_CATEGORIES
    return "\ufffd" if hidden else code


_HIDDEN_CATEGORIES = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
_TABLE = _Visible()


def clean(text: str, *, max_chars: int = MAX_CHARS, max_line: int = MAX_LINE) -> str:
    """Return `text` without anything that could act on a terminal or mislead its reader.

    Newlines stay; tabs become four spaces. The result is at most `max_chars` characters long,
    notes included, none of its lines is longer than `max_line`, and cleaning it again changes
    nothing. Limits below 80 count as 80.
    """
    max_chars, max_line = max(max_chars, _MIN_LIMIT), max(max_line, _MIN_LIMIT)
    raw = text[: max_chars * _RAW_FACTOR]
    unread = len(text) - len(raw)
    if any(c in raw for c in _INTRODUCERS):
        raw = _ESCAPES.sub("", raw)
    shown = raw.replace("\r\n", "\n").translate(_TABLE)
    if not shown.isascii():
        shown = _cut_marks(shown)
    if len(shown) > max_line:
        shown = "\n".join(_cut_line(line, max_line) for line in shown.split("\n"))
    return _cut_text(shown, max_chars, unread)


def _cut_marks(text: str) -> str:
    """Keep at most three combining marks in a row, for taller stacks cover their neighbours."""
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) or _is_mark(character) else 0
        if run <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _cut_line(line: str, limit: int) -> str:
    if len(line) <= limit:
        return line
    kept = limit - 40
    return f"{line[:kept]}… [{len(line) - kept:,} more characters]"


def _cut_text(text: str, limit: int, unread: int) -> str:
    if len(text) <= limit and not unread:
        return text
    kept = min(limit - 40, len(text))
    return f"{text[:kept]}\n… [{len(text) - kept + unread:,} more characters]"


def one_line(text: str, width: int) -> str:
    """Return cleaned `text` folded to one line of at most `width` terminal cells."""
    return fit(" ".join(clean(text, max_chars=max(4 * width, 400)).split()), width)


def fit(line: str, width: int) -> str:
    """Cut one clean line to at most `width` terminal cells, with an ellipsis when cut."""
    if cell_len(line) <= width:
        return line
    if width < 1:
        return ""
    return set_cell_size(line, width - 1).rstrip() + "…"


def literal(text: str, style: str = "") -> Text:
    """Return cleaned `text` for rich, which then reads no markup in it."""
    return Text(clean(text), style=style)


def call_line(tool: str, arguments: Mapping[str, Any], width: int) -> str:
    """Return a tool call as one line: `chat(prompt="Hi", n=8)`."""
    pairs = ", ".join(f"{name}={_value(value)}" for name, value in arguments.items())
    return one_line(f"{tool}({pairs})", width)


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
