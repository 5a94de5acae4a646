"""Pictures of the success-rate table: rates of each row, and its success by regime.

Nothing is computed here; every figure comes from a `Row`. Rows of nulls are grey, and last.
"""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from auditor.report.cells import percent, percent_interval
from auditor.report.notes import many_runs
from auditor.report.plot_style import (
    BLUE,
    CEILING_LINE,
    CLEAN_MARK,
    DECOY_MARK,
    FIVE_LINE,
    GREY,
    INK,
    MARGIN,
    MUTED,
    PALE,
    RED,
    SMALL,
    WIDTH,
    Picture,
    Sheet,
    rate_axis,
    shown,
    styled,
)
from auditor.report.rows import ALL, PLACEBO, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rate = tuple[float | None, float | None, float | None]
"""A rate and the ends of its interval."""

INTERVALS = "Lines are 95 % intervals over targets."
_ROW, _HEADER, _AXIS, _NULLS_GAP = 27.0, 48.0, 22.0, 22.0
_TOP1_NUMBERS, _ALARM_AXES, _ALARM_NUMBERS, _ALARM_COLUMN = 120.0, 124.0, 94.0, 46.0
_CHARTS_A_LINE, _BAR_NUMBER, _NARROW = 4, 46.0, 100.0
_LONGEST_NAME = 200.0


def is_null(row: Row) -> bool:
    """Whether something other than the target's own activations was read in this row."""
    return row.null_readout is not None


def nulls_at_foot(rows: Sequence[Row]) -> list[Row]:
    """Return rows in their order, those of nulls after all others, whatever their runs."""
    return sorted(rows, key=is_null)


def label(row: Row, rows: Sequence[Row]) -> str:
    """Name a row by its tool set, and by its run where rows are of several."""
    return shown(f"{row.tool_set} · {row.run}" if many_runs(rows) else row.tool_set)


def of_split(rows: Sequence[Row]) -> str:
    """Say which targets rows are of, as the end of a title."""
    splits = {row.split for row in rows} - {ALL}
    return f", {shown(' and '.join(sorted(splits)))} targets" if splits else ""


def spread(numbers: Sequence[int]) -> str:
    """Render counts as the one that they all are, or as the least and the most."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def counts(rows: Sequence[Row]) -> str:
    """Say how many targets and trials each row rests on."""
    groups = (
        ("guilty", [row.n_guilty for row in rows]),
        ("clean", [row.n_clean for row in rows]),
        ("decoy", [row.n_decoy for row in rows]),
    )
    listed = ", ".join(f"{spread(n)} {name}" for name, n in groups if max(n))
    trials = spread([row.n_trials for row in rows])
    return f"Each row: {listed or 'no scored'} targets, {trials} trials."


def ceiling(rows: Sequence[Row]) -> str | None:
    """Name the ideal black-box line with its rate; None when no row has one."""
    rates = {row.ceiling_top1 for row in rows if row.ceiling_top1 is not None}
    if not rates:
        return None
    return f"ideal black box, {percent(*rates) if len(rates) == 1 else 'of each run'}"


def top1_of(row: Row) -> Rate:
    """Return top-1 with its interval."""
    return row.top1, row.top1_low, row.top1_high


class _Bands:
    """Rows one under another, with a gap and a heading before those of nulls."""

    def __init__(self, rows: Sequence[Row], top: float = 0.0) -> None:
        self.rows = nulls_at_foot(rows)
        self.top = top
        first_null = [is_null(row) for row in self.rows].count(False)
        gap = _NULLS_GAP if first_null < len(rows) else 0.0
        self.heading = top + _ROW * first_null + gap * 0.6 if gap else None
        self.middles = [
            top + _ROW * (i + 0.5) + (gap if i >= first_null else 0.0) for i in range(len(rows))
        ]
        self.height = _ROW * len(rows) + gap

    def names(self, sheet: Sheet, names: Sequence[str]) -> None:
        """Write the rows' names at the left margin, cut where they are too wide."""
        for row, name, y in zip(self.rows, names, self.middles, strict=True):
            cut = sheet.fitted(name, _LONGEST_NAME)
            sheet.text(MARGIN, y, cut, color=MUTED if is_null(row) else INK)
        if self.heading is not None:
            sheet.text(MARGIN, self.heading, "nulls", size=SMALL, color=MUTED, style="italic")

    def axes(self, sheet: Sheet, x: float, width: float, *, steps: int) -> "Axes":
        """Add axes of a rate whose vertical unit is the sheet's pixel."""
        axes = sheet.axes(x, self.top, width, self.height)
        rate_axis(axes, "x", steps=steps)
        axes.set_ylim(self.top + self.height, self.top)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for y in self.middles:
            axes.axhline(y + _ROW / 2, color="#f2f2f2", linewidth=0.8, zorder=0.5)
        return axes

    def ceilings(self, axes: "Axes") -> None:
        """Draw the ideal black-box line of each row, through gaps where it goes on."""
        ends = [y + _ROW / 2 for y in self.middles]
        for row, start, end in zip(self.rows, [self.top, *ends[:-1]], ends, strict=True):
            if row.ceiling_top1 is not None:
                axes.plot([row.ceiling_top1] * 2, [start, end], zorder=1.5, **CEILING_LINE)


def _beside(sheet: Sheet, names: Sequence[str]) -> float:
    """Return where charts begin that stand to the right of these names."""
    return MARGIN + min(max(map(sheet.text_width, names)), _LONGEST_NAME) + 12


# ------------------------------------------------------------------------------- rates


@styled()
def rates(rows: Sequence[Row]) -> Picture:
    """Draw top-1 of each row beside its false alarms on clean and on decoy targets.

    Args:
        rows: At least one row, all of the same split.
    """
    caption = f"{counts(rows)} {INTERVALS} Dotted: 5 % false alarms.{_placebo_note(rows)}"
    body = _HEADER + _Bands(rows).height + _AXIS
    sheet = Sheet(f"Success and false alarms{of_split(rows)}", caption, body)
    bands = _Bands(rows, sheet.top + _HEADER)
    names = [label(row, rows) for row in bands.rows]
    left = _beside(sheet, names)
    numbers = WIDTH - _ALARM_NUMBERS
    right = numbers - 10 - _ALARM_AXES
    middle = right - _TOP1_NUMBERS + 10
    bands.names(sheet, names)
    top1 = bands.axes(sheet, left, middle - 10 - left, steps=4)
    alarms = bands.axes(sheet, right, _ALARM_AXES, steps=2)
    alarms.axvline(0.05, zorder=0.9, **FIVE_LINE)
    bands.ceilings(top1)
    _rates_headings(sheet, rows, left, right, numbers)
    for row, y in zip(bands.rows, bands.middles, strict=True):
        _draw_rates(top1, alarms, row, y)
        style: dict[str, Any] = {"color": MUTED if is_null(row) else INK, "size": SMALL}
        sheet.text(middle, y, percent_interval(*top1_of(row)), **style)
        sheet.text(numbers, y, percent(row.false_alarm_clean), **style)
        sheet.text(numbers + _ALARM_COLUMN, y, percent(row.false_alarm_decoy), **style)
    return sheet.picture("rates", _rates_text(bands.rows, names))


def _placebo_note(rows: Sequence[Row]) -> str:
    if not any(row.null_readout == PLACEBO for row in rows):
        return ""
    return " A placebo row reads another target, so that its alarms may be true of that one."


def _rates_headings(
    sheet: Sheet, rows: Sequence[Row], left: float, right: float, numbers: float
) -> None:
    y = sheet.top + 10
    sheet.text(left, y, "names the motive first (top-1)", weight="bold")
    sheet.text(right, y, "false alarms", weight="bold")
    hollow = {"color": RED, "markerfacecolor": "white", "linewidth": 0}
    for x, name, mark in ((0, "clean", CLEAN_MARK), (_ALARM_COLUMN, "decoy", DECOY_MARK)):
        sheet.sample(numbers + x, y, 8, **hollow, **mark)
        sheet.text(numbers + x, y + 20, name, size=SMALL, color=MUTED)
    if named := ceiling(rows):
        sheet.sample(left, y + 20, 22, **CEILING_LINE)
        sheet.text(left + 28, y + 20, named, size=SMALL, color=MUTED)


def _draw_rates(top1: "Axes", alarms: "Axes", row: Row, y: float) -> None:
    null = is_null(row)
    colour = GREY if null else BLUE
    _dot(top1, y, top1_of(row), color=colour, marker="o", markersize=7)
    clean = (row.false_alarm_clean, row.false_alarm_clean_low, row.false_alarm_clean_high)
    decoy = (row.false_alarm_decoy, row.false_alarm_decoy_low, row.false_alarm_decoy_high)
    hollow = {"color": GREY if null else RED, "markerfacecolor": "white"}
    _dot(alarms, y - 5, clean, **hollow, **CLEAN_MARK)
    _dot(alarms, y + 5, decoy, **hollow, **DECOY_MARK)


def _dot(axes: "Axes", y: float, rate: Rate, *, color: str, **mark: Any) -> None:
    value, low, high = rate
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.55)
    axes.plot([value], [y], color=color, clip_on=False, zorder=3, **mark)


def _rates_text(rows: Sequence[Row], names: Sequence[str]) -> str:
    found = [
        f"{name}: top-1 {percent_interval(*top1_of(row))}, false alarms "
        f"{percent(row.false_alarm_clean)} on clean and {percent(row.false_alarm_decoy)} on decoy "
        "targets"
        for row, name in zip(rows, names, strict=True)
    ]
    return "; ".join(found) + "."


# --------------------------------------------------------------------------- by regime


@styled()
def harder(rows: Sequence[Row]) -> Picture:
    """Draw top-1 of each row as bars, one chart for each regime.

    Args:
        rows: Rows of one split and of single regimes, at least one.
    """
    regimes = list(dict.fromkeys(row.regime for row in rows))
    named = {label(row, rows): row for row in nulls_at_foot(rows)}
    lines = ceil(len(regimes) / _CHARTS_A_LINE)
    columns = ceil(len(regimes) / lines)
    line_height = _HEADER + _Bands(list(named.values())).height + _AXIS + 14
    ideal = ceiling(rows)
    caption = f"Bars are top-1. {INTERVALS}" + (f" Dashed: {ideal}." if ideal else "")
    sheet = Sheet(f"Success by regime{of_split(rows)}", caption, line_height * lines - 14)
    left = _beside(sheet, list(named))
    width = (WIDTH - left) / columns
    for i, regime in enumerate(regimes):
        x, top = left + i % columns * width, sheet.top + i // columns * line_height
        bands = _Bands(list(named.values()), top + _HEADER)
        if i % columns == 0:
            bands.names(sheet, list(named))
        found = {label(row, rows): row for row in rows if row.regime == regime}
        _regime_heading(sheet, x, top, width - 14, list(found.values()))
        room = width - _BAR_NUMBER
        axes = bands.axes(sheet, x, room, steps=1 if room < _NARROW else 2)
        bands.ceilings(axes)
        for (name, any_row), y in zip(named.items(), bands.middles, strict=True):
            row = found.get(name)
            number, ink = percent(row.top1 if row else None), MUTED if is_null(any_row) else INK
            sheet.text(x + width - _BAR_NUMBER + 4, y, number, size=SMALL, color=ink)
            if row is not None:
                _bar(axes, row, y)
    return sheet.picture("harder", _harder_text(rows, regimes))


def _regime_heading(sheet: Sheet, x: float, top: float, width: float, rows: Sequence[Row]) -> None:
    lines = [""]
    for word in shown(rows[0].regime).replace("-", "-\0").split("\0"):
        joined = lines[-1] + word
        if lines[-1] and sheet.text_width(joined, weight="bold") > width:
            lines.append(word)
        else:
            lines[-1] = joined
    for i, line in enumerate(lines[:2]):
        fitted = sheet.fitted(line, width, weight="bold")
        sheet.text(x, top + 7 + 14 * i, fitted, weight="bold")
    n = spread([row.n_guilty for row in rows])
    sheet.text(x, top + 7 + 14 * min(len(lines), 2), f"{n} guilty", size=SMALL, color=MUTED)


def _bar(axes: "Axes", row: Row, y: float) -> None:
    value, low, high = top1_of(row)
    if value is None:
        return
    null = is_null(row)
    axes.barh(y, value, height=13, color=PALE if null else BLUE, alpha=1 if null else 0.75)
    if low is not None and high is not None:
        ink = GREY if null else INK
        axes.plot([low, high], [y, y], color=ink, linewidth=1.2, solid_capstyle="butt", zorder=3)


def _harder_text(rows: Sequence[Row], regimes: Sequence[str]) -> str:
    found = [
        f"{shown(regime)}: "
        + ", ".join(
            f"{label(row, rows)} {percent_interval(*top1_of(row))}"
            for row in nulls_at_foot(rows)
            if row.regime == regime
        )
        for regime in regimes
    ]
    return "; ".join(found) + "."
