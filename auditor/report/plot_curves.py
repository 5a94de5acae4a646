"""Pictures of what more effort buys: success against tokens and against the number of trials.

Nothing is computed here; the figures come from `Row` and `HeadsCurve`. There is a small chart for
each row, those of nulls grey and last.
"""

from collections.abc import Sequence
from functools import partial
from math import floor, log10
from typing import TYPE_CHECKING, Any, Literal

from auditor.report.cells import percent, percent_interval
from auditor.report.plot_panels import Named, Panel, draw_panels, panel_sheet, whose
from auditor.report.plot_style import (
    BLUE,
    CEILING_LINE,
    CLEAN_MARK,
    DECOY_MARK,
    FAINT,
    FIVE_LINE,
    GREY,
    INK,
    MUTED,
    RED,
    Entry,
    Picture,
    rate_axis,
    shown,
    styled,
)
from auditor.report.plots import INTERVALS, ceiling, counts, is_null, of_split, spread, top1_of
from auditor.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from auditor.report.heads import HeadsCurve, HeadsPoint

_DOT: dict[str, Any] = {"marker": "o", "markersize": 5.5}
_VOTE: dict[str, Any] = {"marker": "s", "markersize": 4.5, "markerfacecolor": "white"}
_BESIDE = 1.05
"""Factor that puts the points of two lines at the same k beside each other."""
_BROKEN: dict[str, Any] = {"linestyle": (0, (3, 1.5))}

# ------------------------------------------------------------------------------ tokens


@styled()
def tokens(rows: Sequence[Row]) -> Picture:
    """Draw top-1 and false alarms against the tokens that target and verbalizer generated.

    Args:
        rows: Rows of several runs with different budgets, one chart for each tool set; at least
            one whose tokens are known.
    """
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if tokens_of(row) is not None:
            lines.setdefault(row.tool_set, []).append(row)
    known = [row for line in lines.values() for row in line]
    limits = _log_limits([n for row in known if (n := tokens_of(row)) is not None])
    runs = ", ".join(shown(run) for run in dict.fromkeys(row.run for row in known))
    caption = (
        f"{counts(known)} Runs: {runs}. {INTERVALS} Tokens are means of scored trials. Faint: the "
        "other rows."
    )
    title = f"Success against tokens{of_split(rows)}"
    sheet = panel_sheet(title, caption, _tokens_key(known), len(lines), strips=False)
    real = [line for line in lines.values() if not is_null(line[0])]
    charts = [
        Panel(
            shown(name),
            _steps([percent(row.top1) for row in _by_tokens(line)]),
            is_null(line[0]),
            partial(_draw_tokens, line, real, limits),
        )
        for name, line in lines.items()
    ]
    draw_panels(
        sheet, charts, x_label="tokens of target and verbalizer", y_label="share of targets"
    )
    return sheet.picture("tokens", _tokens_text(lines))


def tokens_of(row: Row) -> float | None:
    """Return the mean tokens that target and verbalizer generated.

    None when unknown, and when there are none, which a logarithmic axis cannot show.
    """
    if row.target_tokens is None or row.reader_tokens is None:
        return None
    return row.target_tokens + row.reader_tokens or None


def _tokens_key(rows: Sequence[Row]) -> list[Entry]:
    hollow = {"color": RED, "markerfacecolor": "white", "linewidth": 0}
    key = [
        Entry("top-1", {"color": BLUE, "linewidth": 1.8, **_DOT}),
        Entry("false alarms, clean", {**hollow, **CLEAN_MARK}),
        Entry("false alarms, decoy", {**hollow, **DECOY_MARK}),
    ]
    named = ceiling(rows)
    return [*key, Entry(named, CEILING_LINE)] if named else key


def _steps(rates: Sequence[str]) -> str:
    some = rates if len(rates) <= 4 else (rates[0], "…", rates[-1])
    return " → ".join(some)


def _by_tokens(line: Sequence[Row]) -> list[Row]:
    return sorted(line, key=lambda row: tokens_of(row) or 0.0)


def _log_limits(found: Sequence[float]) -> tuple[float, float]:
    low, high = min(found, default=1.0), max(found, default=1.0)
    return low / 1.5, max(high, 2 * low) * 1.5


def _log_ticks(low: float, high: float, most: int = 4) -> list[float]:
    for steps in ((1, 2, 5), (1, 3), (1,)):
        powers = range(floor(log10(low)), floor(log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        found = [tick for tick in ticks if low <= tick <= high]
        if len(found) <= most:
            break
    return found


def _short(n: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:g}{unit}"
    return f"{n:g}"


def _draw_tokens(
    line: Sequence[Row], real: Sequence[Sequence[Row]], limits: tuple[float, float], axes: "Axes"
) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    ticks = _log_ticks(*limits)
    axes.set_xticks(ticks, [_short(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    rate_axis(axes, "y", steps=2)
    for other in real:
        xs, ys = _line_of(other)
        axes.plot(xs, ys, color=FAINT, linewidth=1.2, zorder=1)
    colour = GREY if is_null(line[0]) else BLUE
    for ideal in {row.ceiling_top1 for row in line if row.ceiling_top1 is not None}:
        axes.axhline(ideal, zorder=1.5, **CEILING_LINE)
    for row in line:
        x = tokens_of(row) or limits[0]
        _whisker(axes, x, row.top1_low, row.top1_high, color=colour)
        _draw_alarms(axes, row, x)
    xs, ys = _line_of(line)
    axes.plot(xs, ys, color=colour, linewidth=1.8, clip_on=False, **_DOT)


def _whisker(
    axes: "Axes", x: float, low: float | None, high: float | None, *, color: str, **line: Any
) -> None:
    if low is not None and high is not None:
        axes.plot([x, x], [low, high], **{"linewidth": 1.6, "alpha": 0.5, **line}, color=color)


def _draw_alarms(axes: "Axes", row: Row, x: float) -> None:
    style: dict[str, Any] = {"markerfacecolor": "white", "zorder": 2.5, "clip_on": False}
    colour = GREY if is_null(row) else RED
    for at, rate, mark in (
        (x * 0.94, row.false_alarm_clean, CLEAN_MARK),
        (x * 1.06, row.false_alarm_decoy, DECOY_MARK),
    ):
        if rate is not None:
            axes.plot([at], [rate], color=colour, **style, **mark)


def _line_of(line: Sequence[Row]) -> tuple[list[float], list[float]]:
    found = [(x, row.top1) for row in line if (x := tokens_of(row)) is not None]
    points = sorted((x, y) for x, y in found if y is not None)
    return [x for x, _ in points], [y for _, y in points]


def _tokens_text(lines: dict[str, list[Row]]) -> str:
    found = [
        f"{shown(name)}: "
        + ", ".join(
            f"top-1 {percent_interval(*top1_of(row))} at {tokens_of(row):.0f} tokens (false alarms "
            f"{percent(row.false_alarm_clean)} clean, {percent(row.false_alarm_decoy)} decoy)"
            for row in _by_tokens(line)
        )
        for name, line in lines.items()
    ]
    return "; ".join(found) + "."


# ------------------------------------------------------------------------------- heads


@styled()
def heads(found: "Sequence[Named[HeadsCurve]]") -> Picture:
    """Draw success of one verdict from k trials against k, and its false alarms beneath.

    Args:
        found: Curves of one split, at least one of them with a point.
    """
    curves = [row.value for row in found]
    limits = " or ".join(percent(limit) for limit in sorted({c.limit for c in curves}))
    guilty = spread([point.n_guilty for c in curves for point in c.points])
    innocent = spread([point.n_innocent for c in curves for point in c.points])
    caption = (
        f"One verdict from k trials, on {guilty} guilty and {innocent} innocent targets. "
        f"{INTERVALS} Pooled: claimed from the belief on that kept false alarms to {limits} on "
        "development targets. Dotted: 5 %."
    )
    caption = " ".join([caption, *dict.fromkeys(note for c in curves for note in c.notes)])
    key = [
        Entry("pooled belief", {"color": BLUE, "linewidth": 1.8, **_DOT}),
        Entry("majority of verdicts", {"color": INK, "linewidth": 1, **_VOTE, **_BROKEN}),
    ]
    title = f"Success against the number of trials{whose(curves[0].split)}"
    sheet = panel_sheet(title, caption, key, len(found), strips=True)
    most = max(point.k for c in curves for point in c.points)
    top = _least_top([p.false_alarm_high for c in curves for p in (*c.points, *c.votes)])
    charts = [
        Panel(
            shown(row.name),
            _heads_figures(row.value),
            row.null,
            partial(_draw_heads, row, most, 1.0, "success"),
            partial(_draw_heads, row, most, top, "false_alarm"),
        )
        for row in found
    ]
    labels = {"x_label": "trials k", "y_label": "names the motive", "strip_label": "alarms"}
    draw_panels(sheet, charts, **labels)
    text = "; ".join(f"{shown(row.name)}: {_heads_text(row.value.points)}" for row in found)
    return sheet.picture("heads", f"{text}.")


def _heads_figures(curve: "HeadsCurve") -> str:
    if not curve.points:
        return "no trials enough"
    ends = curve.points[:: max(len(curve.points) - 1, 1)]
    success, alarms = ([percent(getattr(p, w)) for p in ends] for w in ("success", "false_alarm"))
    return f"{' → '.join(success)}, alarms {' → '.join(alarms)}"


def _heads_text(points: "Sequence[HeadsPoint]") -> str:
    return ", ".join(
        f"k = {p.k} success {percent_interval(p.success, p.success_low, p.success_high)} false "
        f"alarms {percent_interval(p.false_alarm, p.false_alarm_low, p.false_alarm_high)}"
        for p in points
    )


def _least_top(rates: Sequence[float | None]) -> float:
    highest = max((rate for rate in rates if rate is not None), default=0.0)
    return next(top for top in (0.2, 0.4, 0.6, 1.0) if highest <= top)


def _draw_heads(
    row: "Named[HeadsCurve]",
    most: int,
    top: float,
    what: Literal["success", "false_alarm"],
    axes: "Axes",
) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.82, max(most, 2) * 1.22)
    ks = sorted({point.k for point in row.value.points} | {1, most})
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xticks([], minor=True)
    rate_axis(axes, "y", steps=2, top=top)
    colour, ink = (GREY, MUTED) if row.null else (BLUE if what == "success" else RED, INK)
    if what == "false_alarm":
        axes.axhline(0.05, zorder=1, **FIVE_LINE)
    lines: tuple[tuple[Sequence[HeadsPoint], float, dict[str, Any]], ...] = (
        (row.value.votes, _BESIDE, {"color": ink, "linewidth": 1, **_VOTE, **_BROKEN}),
        (row.value.points, 1 / _BESIDE, {"color": colour, "linewidth": 1.8, **_DOT}),
    )
    for points, beside, style in lines:
        at = [(p.k * beside, rate, p) for p in points if (rate := getattr(p, what)) is not None]
        for x, _, p in at:
            ends = getattr(p, f"{what}_low"), getattr(p, f"{what}_high")
            _whisker(axes, x, *ends, color=style["color"], linewidth=style["linewidth"])
        axes.plot([x for x, _, _ in at], [y for _, y, _ in at], clip_on=False, zorder=3, **style)
