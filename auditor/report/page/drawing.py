"""Marks of a drawing: where they are and what class of style they have, nothing about SVG.

Lengths are CSS pixels from the top left corner. Colours are classes of the page's style sheet, so
that a drawing follows light, dark and print; what matters is told by shape and place as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Shape = Literal["circle", "diamond", "square"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark: a kind, its numbers and its words."""

    kind: Literal["line", "rect", "text", "path", "title"]
    style: str = ""
    numbers: tuple[float, ...] = ()
    text: str = ""
    """Of a text, or what is shown when a path is pointed at."""
    anchor: Anchor = "start"
    data: str = ""
    """Of a path."""


@dataclass(slots=True)
class Drawing:
    """A picture with its title, and in words what it shows."""

    title: str
    about: str
    """Says how to read it."""
    width: float = 420.0
    height: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    key: list[tuple[str, str]] = field(default_factory=list)
    """Class and words of each sort of mark."""
    facts: list[str] = field(default_factory=list)
    """The figures, line by line, for whoever cannot see it."""

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Draw a straight line."""
        self.marks.append(Mark("line", style, _round((x1, y1, x2, y2))))

    def rect(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Draw a rectangle."""
        self.marks.append(Mark("rect", style, _round((x, y, max(width, 0.0), height))))

    def text(self, x: float, y: float, words: str, style: str, anchor: Anchor = "start") -> None:
        """Write one line of words."""
        self.marks.append(Mark("text", style, _round((x, y)), words, anchor))

    def point(self, x: float, y: float, shape: Shape, style: str, words: str) -> None:
        """Draw a point; `words` appear when it is pointed at."""
        self.marks.append(Mark("path", style, data=_SHAPES[shape](x, y), text=words))

    def polyline(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Join points by straight lines."""
        data = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if data:
            self.marks.append(Mark("path", style, data=f"M{data}"))


def _round(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(number, 1) for number in numbers)


def _circle(x: float, y: float) -> str:
    return f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"


def _diamond(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5-5.5z"


def _square(x: float, y: float) -> str:
    return f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"


_SHAPES = {"circle": _circle, "diamond": _diamond, "square": _square}
