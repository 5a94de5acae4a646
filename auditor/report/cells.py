"""Numbers as tables show them; what is unknown is a dash, never 0."""

DASH = "–"
_MARKDOWN_SPECIALS = "\\|`*<"


def percent(rate: float | None) -> str:
    """Render a rate as `75 %`; what is neither none nor all is never rounded to 0 % or 100 %."""
    if rate is None:
        return DASH
    if 0 < rate <= 0.005:
        return "<1 %"
    if 0.995 <= rate < 1:
        return ">99 %"
    return f"{round(100 * rate)} %"


def percent_interval(rate: float | None, low: float | None, high: float | None) -> str:
    """Render a rate and its interval as `75 % [43-93]`."""
    if rate is None or low is None or high is None:
        return percent(rate)
    return f"{percent(rate)} [{100 * low:.0f}-{100 * high:.0f}]"


def points(difference: float | None) -> str:
    """Render a difference of two rates in percentage points, as `+25`."""
    if difference is None:
        return DASH
    rounded = round(100 * difference)
    return f"{rounded:+d}" if rounded else "0"


def points_interval(difference: float | None, low: float | None, high: float | None) -> str:
    """Render a difference and its interval as `+25 [-4, 54]`."""
    if difference is None or low is None or high is None:
        return points(difference)
    return f"{points(difference)} [{round(100 * low)}, {round(100 * high)}]"


def p_value(p: float | None) -> str:
    """Render a p-value in at most six characters; none is ever 0."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def decimal(value: float | None) -> str:
    """Render a score between 0 and 1 as `0.123`."""
    return DASH if value is None else f"{value:.3f}"


def amount(value: float | None) -> str:
    """Render a mean count or duration in at most five characters where possible."""
    if value is None:
        return DASH
    if value >= 1_000_000:
        return f"{value / 1_000_000:.1f}M"
    if value >= 10_000:
        return f"{value / 1_000:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


def markdown_escaped(text: str) -> str:
    """Keep Markdown from reading anything but text in a table's cell."""
    return "".join("\\" + c if c in _MARKDOWN_SPECIALS else c for c in text)
