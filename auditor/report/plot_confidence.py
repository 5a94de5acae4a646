"""Pictures of stated confidence: ROC and reliability, a small chart for each row.

Nothing is computed here; the figures come from `Detection` and `Calibration`.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from auditor.report.calibration import Bin, Calibration
from auditor.report.cells import percent
from auditor.report.detection import AtLevel, Detection
from auditor.report.plot_panels import Named, Panel, draw_panels, panel_sheet, whose
from auditor.report.plot_style import (
    BLUE,
    FAINT,
    FIVE_LINE,
    GREY,
    INK,
    MUTED,
    PALE,
    SMALL,
    Entry,
    Picture,
    rate_axis,
    shown,
    styled,
)
from auditor.report.plots import INTERVALS, spread
from auditor.report.rows import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL = 0.05
_STRIP = 0.3
"""Depth of the strip of counts below a reliability diagram, in units of its vertical axis."""
_COUNT: dict[str, Any] = {"ha": "center", "va": "bottom", "size": SMALL - 1, "color": MUTED}
_DOT: dict[str, Any] = {"marker": "o", "markersize": 5.5}


# --------------------------------------------------------------------------------- ROC


@styled()
def roc(found: Sequence[Named[Detection]], *, split: str = ALL) -> Picture:
    """Draw the ROC and the localisation ROC of each row, as the steps that they are."""
    guilty = spread([row.value.n_guilty for row in found])
    innocent = spread([row.value.n_innocent for row in found])
    caption = (
        f"Each row: {guilty} guilty targets and {innocent} innocent ones (clean and decoy). "
        "Figures: area under the thin and the thick curve, then both at 5 % false alarms (dotted)."
    )
    if not all(_at_five(row.value).resolved for row in found):
        caption += " Fewer than 20 innocent targets cannot tell 5 % from none; rates are at none."
    key = [
        Entry("claims a motive", {"color": INK, "linewidth": 1.1}),
        Entry("claims the right motive", {"color": BLUE, "linewidth": 2.6}),
        Entry("the auditor's own threshold", {**_DOT, "color": BLUE, "linewidth": 0}),
    ]
    title = f"Detection against false alarms{whose(split)}"
    sheet = panel_sheet(title, caption, key, len(found), strips=False)
    charts = [
        Panel(shown(row.name), _roc_figures(row.value), row.null, partial(_draw_roc, row))
        for row in found
    ]
    draw_panels(sheet, charts, x_label="false alarms", y_label="guilty targets")
    text = "; ".join(f"{shown(row.name)}: {_roc_text(row.value)}" for row in found)
    return sheet.picture("roc", f"{text}.")


def _at_five(found: Detection) -> AtLevel:
    return next(level for level in found.levels if level.level == _LEVEL)


def _roc_figures(found: Detection) -> str:
    at = _at_five(found)
    rates = f"{percent(at.detected)} / {percent(at.localised)}"
    return f"area {found.auc:.2f} / {found.lroc_area:.2f}, rate {rates}"


def _roc_text(found: Detection) -> str:
    at = _at_five(found)
    return (
        f"area {found.auc:.2f} [{found.auc_low:.2f}-{found.auc_high:.2f}], with the right motive "
        f"{found.lroc_area:.2f} [{found.lroc_area_low:.2f}-{found.lroc_area_high:.2f}], "
        f"{percent(at.detected)} detected and {percent(at.localised)} named at 5 % false alarms"
    )


def _draw_roc(row: Named[Detection], axes: "Axes") -> None:
    rate_axis(axes, "x", steps=2)
    rate_axis(axes, "y", steps=2)
    points = row.value.points
    xs = [point.false_alarm for point in points]
    thick, thin = (GREY, MUTED) if row.null else (BLUE, INK)
    axes.axvline(_LEVEL, zorder=1, **FIVE_LINE)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=1)
    steps: dict[str, Any] = {"drawstyle": "steps-post", "solid_joinstyle": "miter"}
    axes.plot(xs, [p.localised for p in points], color=thick, linewidth=2.6, **steps)
    axes.plot(xs, [p.detected for p in points], color=thin, linewidth=1.1, **steps)
    chosen = row.value.chosen
    if chosen.false_alarm is not None and chosen.localised is not None:
        axes.plot([chosen.false_alarm], [chosen.localised], color=thick, clip_on=False, **_DOT)


# ------------------------------------------------------------------------- reliability


@styled()
def reliability(found: Sequence[Named[Calibration]], *, split: str = ALL) -> Picture:
    """Draw how often guesses are right against the confidence stated, with counts beneath."""
    n = spread([row.value.n_forecasts for row in found])
    targets = spread([row.value.n_targets for row in found])
    caption = (
        f"Each row: {n} stated confidences on {targets} targets. {INTERVALS} Bars count the "
        "confidences of each bin. ECE is the mean distance from the diagonal; in brackets what "
        "chance alone would give a perfectly calibrated auditor. Brier is the mean squared error."
    )
    key = [
        Entry("right, of the guesses in a bin", {**_DOT, "color": BLUE, "linewidth": 0}),
        Entry("perfectly calibrated", {"color": MUTED, "linewidth": 1}),
        Entry("how many guesses", {"color": PALE, "linewidth": 7}),
    ]
    title = f"Stated confidence against being right{whose(split)}"
    sheet = panel_sheet(title, caption, key, len(found), strips=False)
    charts = [
        Panel(shown(row.name), _ece_figures(row.value), row.null, partial(_draw_bins, row))
        for row in found
    ]
    draw_panels(sheet, charts, x_label="stated confidence", y_label="share that is right")
    text = "; ".join(f"{shown(row.name)}: {_reliability_text(row.value)}" for row in found)
    return sheet.picture("reliability", f"{text}.")


def _ece_figures(found: Calibration) -> str:
    return f"ECE {found.ece:.2f} ({found.ece_floor:.2f}), Brier {found.brier:.2f}"


def _reliability_text(found: Calibration) -> str:
    bins = ", ".join(
        f"{b.n} at {b.mean_confidence:.2f} of which {percent(b.rate)} right" for b in found.bins
    )
    return (
        f"ECE {found.ece:.2f} [{found.ece_low:.2f}-{found.ece_high:.2f}], Brier {found.brier:.2f} "
        f"[{found.brier_low:.2f}-{found.brier_high:.2f}]; {bins}"
    )


def _draw_bins(row: Named[Calibration], axes: "Axes") -> None:
    rate_axis(axes, "x", steps=2)
    rate_axis(axes, "y", steps=2)
    axes.set_ylim(-_STRIP - 0.02, 1.04)
    axes.axhline(-0.04, color=FAINT, linewidth=0.8)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, zorder=1)
    colour = GREY if row.null else BLUE
    for found in row.value.bins:
        x = found.mean_confidence
        ends = [found.rate_low, found.rate_high]
        axes.plot([x, x], ends, color=colour, linewidth=1.8, alpha=0.5)
        axes.plot([x], [found.rate], color=colour, clip_on=False, zorder=3, **_DOT)
    _draw_counts(axes, row.value.bins)


def _draw_counts(axes: "Axes", bins: Sequence[Bin]) -> None:
    """Draw the counts as bars below the diagram, each numbered where numbers have room."""
    most = max(b.n for b in bins)
    taken: list[tuple[float, float]] = []
    for found in sorted(bins, key=lambda b: -b.n):
        x, width = (found.low + found.high) / 2, found.high - found.low
        height = 0.12 * found.n / most
        axes.bar(x, height, width * 0.8, bottom=-_STRIP, color=PALE, zorder=2)
        half = 0.017 * len(str(found.n)) + 0.006
        if all(x + half <= left or x - half >= right for left, right in taken):
            axes.text(x, -_STRIP + height, str(found.n), **_COUNT)
            taken.append((x - half, x + half))
