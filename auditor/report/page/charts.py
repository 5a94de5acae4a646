"""The pictures on top of the report, from the same figures as its tables."""

from collections.abc import Sequence

from auditor.report.calibration import Calibration
from auditor.report.cells import percent, percent_interval
from auditor.report.notes import null_tag
from auditor.report.page.drawing import Anchor, Drawing, Shape
from auditor.report.repeats import Repeat
from auditor.report.rows import Row
from auditor.report.summary import RowStatistics
from auditor.report.text import one_line

_LEFT, _RIGHT = 12.0, 408.0
_STEP = 50.0
_NAME_CHARS = 44
_STAGES = (
    ("exposed", "exposed"),
    ("taken_up", "taken up"),
    ("attributed", "right"),
    ("verified", "verified"),
)


def rates(rows: Sequence[Row]) -> Drawing | None:
    """Draw success on guilty targets against false alarms on innocent ones, row by row."""
    shown = [row for row in rows if row.n_guilty or row.n_clean or row.n_decoy]
    if not shown:
        return None
    picture = Drawing(
        "Success against false alarms",
        "Share of targets, with 95 % intervals over targets.",
        key=[
            ("found", "motive named first (guilty targets)"),
            ("alarm", "false alarm, clean targets"),
            ("alarm decoy", "false alarm, decoy targets"),
        ],
    )
    top = 6.0
    for row in shown:
        name = f"{row.tool_set}  {null_tag(row)}".strip()
        kind = "null" if row.null_readout else "found"
        measures: list[tuple[str, str, Shape, str]] = [
            ("top1", kind, "circle", "named first"),
            ("false_alarm_clean", "alarm", "square", "false alarm clean"),
            ("false_alarm_decoy", "alarm decoy", "diamond", "false alarm decoy"),
        ]
        told = []
        picture.text(_LEFT, top + 12, one_line(name, _NAME_CHARS), "name")
        for place, (field, style, shape, words) in enumerate(measures):
            interval = tuple(getattr(row, f"{field}{end}") for end in ("", "_low", "_high"))
            if interval[0] is not None:
                said = f"{words} {percent_interval(*interval)}"
                told.append(said)
                _interval(picture, top + 20 + 8 * place, interval, style, shape, f"{name}: {said}")
        picture.facts.append(f"{name}: {', '.join(told) or 'nothing scored'}")
        top += _STEP
    _ceiling(picture, shown, top)
    _percent_axis(picture, 6.0, top)
    return picture


def regimes(rows: Sequence[Row]) -> list[Drawing]:
    """Draw success by regime: one picture a regime, one line a tool set."""
    found = []
    for regime in sorted({row.regime for row in rows}):
        some = [row for row in rows if row.regime == regime and row.top1 is not None]
        if not some:
            continue
        targets = max(row.n_guilty for row in some)
        picture = Drawing(
            f"{regime}",
            f"Motive named first, over {targets} guilty target{'' if targets == 1 else 's'}.",
        )
        top = 6.0
        for row in some:
            name = one_line(row.tool_set, _NAME_CHARS)
            interval = (row.top1, row.top1_low, row.top1_high)
            said = f"{name}: {percent_interval(*interval)}"
            picture.text(_LEFT, top + 12, name, "name")
            picture.text(_RIGHT, top + 12, percent(row.top1), "value", "end")
            kind = "null" if row.null_readout else "found"
            _interval(picture, top + 20, interval, kind, "circle", said)
            picture.facts.append(said)
            top += 28
        _percent_axis(picture, 6.0, top)
        found.append(picture)
    return found


def funnel(rows: Sequence[RowStatistics]) -> Drawing | None:
    """Draw how far the evidence came: nested bars, one a stage."""
    shown = [row for row in rows if row.funnel.n_targets]
    if not shown:
        return None
    picture = Drawing(
        "Funnel",
        "How far the evidence came on guilty targets: a tool result named the motive; a "
        "hypothesis cites it; the first hypothesis is right; a test bears it out.",
        key=[(f"stage{n}", words) for n, (_, words) in enumerate(_STAGES)],
    )
    top = 6.0
    for row in shown:
        name = one_line(row.tool_set, _NAME_CHARS)
        picture.text(_LEFT, top + 12, name, "name")
        told, shares = [], []
        for n, (field, words) in enumerate(_STAGES):
            rate = getattr(row.funnel, field)
            if rate is not None:
                shares.append(f"{100 * rate:.0f}")
                told.append(f"{words} {percent(rate)}")
                picture.rect(_LEFT, top + 17 + 5 * n, rate * (_RIGHT - _LEFT), 4, f"stage{n}")
        picture.text(_RIGHT, top + 12, " › ".join(shares), "value", "end")
        picture.facts.append(f"{name}: {', '.join(told)}")
        top += 44
    _percent_axis(picture, 6.0, top)
    return picture


def repeats(rows: Sequence[RowStatistics]) -> list[Drawing]:
    """Draw what repeating an audit buys and costs: one picture a tool set."""
    shown = [row for row in rows if any(one.k > 1 for one in row.repeats)]
    return [_curve(row.tool_set, row.repeats) for row in shown]


def _curve(name: str, found: Sequence[Repeat]) -> Drawing:
    picture = Drawing(
        one_line(name, _NAME_CHARS),
        "Chance of one right claim, and of one false alarm, in k trials.",
        height=170,
        width=250,
    )
    ks = [one.k for one in found]
    left, right, top, bottom = 46.0, 236.0, 10.0, 130.0
    _square_grid(picture, left, right, top, bottom)
    spread = (right - left - 24) / max(len(ks) - 1, 1)
    across = {k: left + 12 + spread * place for place, k in enumerate(ks)}
    for k in ks:
        picture.text(across[k], bottom + 16, f"k = {k}", "tick", "middle")
    sides: list[tuple[str, str, Shape]] = [
        ("found", "found", "circle"),
        ("false_alarm", "alarm", "square"),
    ]
    for field, style, shape in sides:
        points = []
        for one in found:
            value = getattr(one, field)
            if value is None:
                continue
            low, high = getattr(one, f"{field}_low"), getattr(one, f"{field}_high")
            y = bottom - value * (bottom - top)
            points.append((across[one.k], y))
            said = f"{field.replace('_', ' ')}, k = {one.k}: {percent_interval(value, low, high)}"
            if low is not None and high is not None:
                ends = (bottom - low * (bottom - top), bottom - high * (bottom - top))
                picture.line(across[one.k], ends[0], across[one.k], ends[1], f"{style} whisker")
            picture.point(across[one.k], y, shape, style, said)
            picture.facts.append(said)
        picture.polyline(points, f"{style} curve")
    return picture


def reliability(found: Calibration | None) -> Drawing | None:
    """Draw how often best guesses are right, by what confidence they were given."""
    if found is None or not found.bins:
        return None
    picture = Drawing(
        "Reliability of all real rows",
        "Share of best guesses that are right, against stated confidence. On the diagonal, "
        "confidence can be believed.",
        width=310,
        height=282,
    )
    left, right, top, bottom = 46.0, 296.0, 10.0, 240.0
    _square_grid(picture, left, right, top, bottom)
    picture.line(left, bottom, right, top, "ideal")
    picture.text((left + right) / 2, bottom + 34, "stated confidence", "tick", "middle")
    for share in (0.0, 0.5, 1.0):
        x = left + share * (right - left)
        picture.text(x, bottom + 16, percent(share), "tick", _anchor(share))
    for one in found.bins:
        x = left + one.mean_confidence * (right - left)
        y = bottom - one.rate * (bottom - top)
        low, high = (bottom - end * (bottom - top) for end in (one.rate_low, one.rate_high))
        picture.line(x, low, x, high, "found whisker")
        said = (
            f"stated {percent(one.mean_confidence)}, right "
            f"{percent_interval(one.rate, one.rate_low, one.rate_high)}, {one.n} guesses"
        )
        picture.point(x, y, "circle", "found", said)
        picture.facts.append(said)
    return picture


def _interval(
    picture: Drawing,
    y: float,
    interval: tuple[float | None, ...],
    style: str,
    shape: Shape,
    words: str,
) -> None:
    rate, low, high = interval
    if rate is None:
        return
    if low is not None and high is not None:
        picture.line(_x(low), y, _x(high), y, f"{style} whisker")
    picture.point(_x(rate), y, shape, style, words)


def _x(rate: float) -> float:
    return _LEFT + rate * (_RIGHT - _LEFT)


def _ceiling(picture: Drawing, rows: Sequence[Row], bottom: float) -> None:
    known = sorted({row.ceiling_top1 for row in rows if row.ceiling_top1 is not None})
    for rate in known:
        picture.line(_x(rate), 6.0, _x(rate), bottom, "ideal")
        picture.facts.append(f"ideal black box: {percent(rate)}")
    if known:
        picture.key.append(("ideal", f"ideal black box ({', '.join(map(percent, known))})"))


def _percent_axis(picture: Drawing, top: float, bottom: float) -> None:
    marks, picture.marks = picture.marks, []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        picture.line(_x(share), top, _x(share), bottom, "grid")
        picture.text(_x(share), bottom + 14, percent(share), "tick", _anchor(share))
    # The grid lies under everything else.
    picture.marks += marks
    picture.height = bottom + 20


def _anchor(share: float) -> Anchor:
    """Keep the labels at the ends of an axis within it."""
    return "start" if share == 0 else "end" if share == 1 else "middle"


def _square_grid(picture: Drawing, left: float, right: float, top: float, bottom: float) -> None:
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        picture.line(left, y, right, y, "grid")
        picture.text(left - 4, y + 4, percent(share), "tick", "end")
