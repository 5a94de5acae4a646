"""A text that was read, for a terminal: each reading under the token that it belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from auditor.report.placing import (
    Grade,
    Piece,
    ReadText,
    TokenReading,
    best,
    pieces,
    unplaced,
)
from auditor.report.reading import number, token_label
from auditor.report.text import clean, literal, one_line
from tools.reading.verdicts import VERDICTS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

STYLES: dict[Grade, str] = {
    "high": "green",
    "middle": "yellow",
    "low": "red",
    "null": "bright_black",
    "unknown": "cyan",
}
"""Colour of a reading by what it is worth."""
_FEWEST = 20
_GUTTER = 10
_LABEL = 14


class _Cell(NamedTuple):
    """One character of a text."""

    character: str
    style: str
    number: int | None
    """Of the reading whose token begins here."""


class ReadingStrip:
    """The words with numbers under the tokens that were read, and the readings by number."""

    def __init__(self, text: ReadText, *, most: int | None = None) -> None:
        """Show the `most` best tokens of a text; None shows all."""
        self._text = text
        self._pieces = pieces(text)
        read = [place for place, piece in enumerate(self._pieces) if piece.readings]
        kept = sorted(read, key=lambda place: _worth(self._pieces[place]), reverse=True)[:most]
        self._numbers = {place: n for n, place in enumerate(sorted(kept), start=1)}
        # Readings of tokens that are not in the words come after those that are.
        room = None if most is None else max(most - len(kept), 0)
        self._rest = unplaced(text)[:room]
        shown = sum(len(self._pieces[place].readings) for place in kept) + len(self._rest)
        self._left = len(text.readings) - shown

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Render for the width at hand, as rich asks."""
        width = max(options.max_width - _GUTTER, _FEWEST)
        if self._text.prompt:
            prompt = one_line(self._text.prompt, width)
            yield Text.assemble((f"{'user':>8}  ", "dim"), prompt)
        label = one_line(self._text.author or "text", 8)
        for line in _wrapped(list(self._cells()), width):
            words, marks = _drawn(line)
            yield Text.assemble((f"{label:>8}  ", "dim"), words, no_wrap=True)
            if marks:
                yield Text(" " * _GUTTER + marks, style="dim", no_wrap=True)
            label = ""
        if self._numbers or self._rest:
            yield Padding(self._table(), (0, 0, 0, 4))
        if self._left > 0:
            more = "reading" if self._left == 1 else "readings"
            yield Text(f"    … {self._left:,} more {more} of this text", style="dim")

    def _cells(self) -> Iterator[_Cell]:
        for place, piece in enumerate(self._pieces):
            n = self._numbers.get(place)
            style = "" if n is None else f"{STYLES[best(piece.readings).grade]} underline"
            shown = clean(piece.text).replace("\n", " ")
            # The blank that a token begins with is not underlined.
            blank = len(shown) - len(shown.lstrip()) if shown.strip() else 0
            for at, character in enumerate(shown):
                yield _Cell(character, style if at >= blank else "", n if at == blank else None)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, show_header=False)
        table.add_column(justify="right", style="dim", no_wrap=True)
        table.add_column(no_wrap=True, max_width=_LABEL)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(ratio=1, overflow="fold")
        for place, n in self._numbers.items():
            for nth, one in enumerate(self._pieces[place].readings):
                table.add_row("" if nth else str(n), *_row(one))
        for one in self._rest:
            _, *rest = _row(one)
            label = token_label(f"{one.before}{one.token}"[-_LABEL:], _LABEL)
            table.add_row("·", Text(label, "bold"), *rest)
        return table


def leading(texts: Sequence[ReadText], items: Sequence[Mapping[str, Any]]) -> ReadText | None:
    """Return the text to show of a result: that of its first reading, the best claim's example."""
    for item in items:
        examples = item.get("examples")
        first = examples[0] if isinstance(examples, list) and examples else item
        if isinstance(first, Mapping) and "explanation" in first:
            found = next((text for text in texts if text.number == first.get("text")), None)
            if found is not None:
                return found
    return next(iter(texts), None)


def _worth(piece: Piece) -> tuple[bool, float]:
    one = best(piece.readings)
    return one.grade != "null", one.value or 0.0


def _row(one: TokenReading) -> tuple[Text, Text, Text]:
    style = STYLES[one.grade]
    said = literal(one.explanation or "", style if one.grade == "null" else "")
    if one.verdict and one.verdict != VERDICTS["carries"]:
        said.append(
            f"{' ' if one.explanation else ''}({clean(one.verdict)})", "bright_black italic"
        )
    if one.whose not in (None, "target"):
        said.append(f" [{clean(one.whose or '')}]", "dim")
    return Text(token_label(one.token), "bold"), Text(number(one.value), style), said


def _wrapped(cells: Sequence[_Cell], width: int) -> Iterator[Sequence[_Cell]]:
    """Break at blanks where that is possible; no line is wider than `width` terminal cells."""
    start = 0
    while start < len(cells):
        used, end, blank = 0, start, None
        while end < len(cells) and used + (size := cell_len(cells[end].character)) <= width:
            used += size
            if cells[end].character == " ":
                blank = end
            end += 1
        if end < len(cells) and blank is not None and blank > start:
            end = blank + 1
        end = max(end, start + 1)
        yield cells[start:end]
        start = end


def _drawn(line: Sequence[_Cell]) -> tuple[Text, str]:
    """Return a line, and the numbers to print under it where its read tokens begin."""
    words, marks, column = Text(), "", 0
    for cell in line:
        if cell.number is not None:
            # Where tokens are shorter than their numbers, a number moves to the right.
            gap = " " if marks and len(marks) >= column else " " * (column - len(marks))
            marks += f"{gap}{cell.number}"
        column += cell_len(cell.character)
    for style, cells in groupby(line, key=lambda cell: cell.style):
        words.append("".join(cell.character for cell in cells), style)
    return words, marks
