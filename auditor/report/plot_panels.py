"""Several small charts of one kind in one picture, one for each row of the table."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from auditor.report.plot_style import INK, MARGIN, MUTED, SMALL, WIDTH, Entry, Sheet, shown
from auditor.report.rows import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")
Draw = Callable[["Axes"], None]

_COLUMNS, _SIDE, _STRIP = 3, 180.0, 70.0
_KEY, _HEADING, _UNDER, _GAP = 26.0, 36.0, 26.0, 28.0
_STRIP_GAP = 10.0


class Named(NamedTuple, Generic[T]):
    """The figures of one row, with its name."""

    name: str
    null: bool
    """Whether the row is of a null."""
    value: T


class Panel(NamedTuple):
    """One small chart."""

    title: str
    subtitle: str
    muted: bool
    """Whether it is of a null, and so greyed and after the others."""
    draw: Draw
    strip: Draw | None = None
    """Draws a low chart beneath, with the same horizontal axis."""


def whose(split: str) -> str:
    """Say which targets a picture is of, as the end of a title."""
    return "" if split == ALL else f", {shown(split)} targets"


def panel_sheet(title: str, caption: str, key: Sequence[Entry], n: int, *, strips: bool) -> Sheet:
    """Return a sheet with a key on top and room for n charts."""
    body = _KEY + ceil(n / _COLUMNS) * _pitch(strips) + 12
    sheet = Sheet(title, caption, body)
    sheet.key(sheet.top + 8, key)
    return sheet


def _pitch(strips: bool) -> float:
    return _HEADING + _SIDE + _UNDER + (_STRIP_GAP + _STRIP if strips else 0.0)


def draw_panels(
    sheet: Sheet, found: Sequence[Panel], *, x_label: str, y_label: str, strip_label: str = ""
) -> None:
    """Draw the charts on a sheet of `panel_sheet`, with axis labels on the outer ones."""
    left, pitch = MARGIN + 46, _pitch(bool(strip_label))
    width = (WIDTH - MARGIN - 6 - left - _GAP * (_COLUMNS - 1)) / _COLUMNS
    for i, panel in enumerate(sorted(found, key=lambda panel: panel.muted)):
        x = left + i % _COLUMNS * (width + _GAP)
        top = sheet.top + _KEY + i // _COLUMNS * pitch
        name = sheet.fitted(panel.title, width, weight="bold")
        sheet.text(x, top + 8, name, weight="bold", color=MUTED if panel.muted else INK)
        sheet.text(x, top + 23, panel.subtitle, size=SMALL, color=MUTED)
        axes = sheet.axes(x, top + _HEADING, width, _SIDE)
        charts = [(axes, panel.draw, y_label)]
        if panel.strip is not None:
            strip = sheet.axes(x, top + _HEADING + _SIDE + _STRIP_GAP, width, _STRIP)
            axes.tick_params(labelbottom=False)
            charts.append((strip, panel.strip, strip_label))
        for chart, draw, label in charts:
            draw(chart)
            if i % _COLUMNS:
                chart.tick_params(labelleft=False)
            else:
                chart.set_ylabel(label)
        if i + _COLUMNS >= len(found):
            charts[-1][0].set_xlabel(x_label)
