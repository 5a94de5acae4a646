"""How pictures look, and how they become files that are the same bytes every time.

Lengths are CSS pixels, measured from the top left corner of the picture. Colours are those of
Okabe and Ito (2008, Color Universal Design), of which only some are used, so that they also differ
in lightness; what matters is told by shape or line as well.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from xml.sax.saxutils import escape

from auditor.errors import RunError, UsageError
from auditor.report.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Format = Literal["svg", "png"]

WIDTH = 700.0
MARGIN = 12.0
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
BLUE, RED = "#0072b2", "#d55e00"
GREY, PALE = "#8c8c8c", "#c4c4c4"
"""Of nulls: marks and lines, and areas."""
SMALL, NORMAL, LARGE = 8.0, 9.0, 12.0
"""Font sizes in points; 8 points are 10.7 pixels."""
CLEAN_MARK: dict[str, Any] = {"marker": "o", "markersize": 5.5}
DECOY_MARK: dict[str, Any] = {"marker": "D", "markersize": 5.0}
CEILING_LINE: dict[str, Any] = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2))}
FIVE_LINE: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (1, 2))}

_PIXELS_AN_INCH = 96.0
_PNG_SCALE = 2.0
_LINE = 15.0
_CAPTION_CHARS = 112
_LONGEST_NAME = 60
# Its keys are literal types to matplotlib, which a plain dict of strings is not.
_STYLE: Any = {
    "font.family": "sans-serif",
    # The first is what matplotlib ships and measures with; it is the widest of these.
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": NORMAL,
    "text.color": INK,
    "text.parse_math": False,
    "lines.solid_capstyle": "butt",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "auditor",
}


class PlotsMissingError(UsageError):
    """Pictures were asked for without the library that draws them."""

    def __init__(self) -> None:
        super().__init__("pictures need matplotlib; install it with: pip install 'auditor[plots]'")


@contextmanager
def styled() -> Iterator[None]:
    """Draw or save in the house style, whatever the user's own settings are; also a decorator.

    Raises:
        PlotsMissingError: When matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise PlotsMissingError from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn picture."""

    name: str
    """Stem of its file."""
    figure: "Figure"
    title: str
    description: str
    """What a reader who cannot see the picture should know: the figures in it."""


class Entry(NamedTuple):
    """One entry of a key: a sample of a line or marker, and what it stands for."""

    text: str
    line: dict[str, Any]
    """Properties of the sample, a `matplotlib.lines.Line2D`."""


def shown(name: str) -> str:
    """Return a name on one line, without anything invisible, cut where it is too long."""
    text = " ".join(clean(name).split())
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


@dataclass
class Sheet:
    """A picture in the making: a title on top, a caption at the foot, axes placed by pixels."""

    title: str
    caption: str
    body: float
    """Height between the title and the caption."""
    figure: "Figure" = field(init=False)
    top: float = field(init=False)
    """Where the body begins."""
    height: float = field(init=False)

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        lines = [line for part in self.caption.split("\n") for line in wrap(part, _CAPTION_CHARS)]
        self.top = MARGIN + 28
        self.height = self.top + self.body + 12 + _LINE * len(lines) + MARGIN
        size = (WIDTH / _PIXELS_AN_INCH, self.height / _PIXELS_AN_INCH)
        self.figure = Figure(figsize=size, dpi=_PIXELS_AN_INCH, facecolor="white")
        FigureCanvasAgg(self.figure)
        heading = self.fitted(self.title, WIDTH - 2 * MARGIN, size=LARGE, weight="bold")
        self.text(MARGIN, MARGIN + 9, heading, size=LARGE, weight="bold")
        first = self.top + self.body + 12 + _LINE / 2
        for i, line in enumerate(lines):
            self.text(MARGIN, first + i * _LINE, line, size=SMALL, color=MUTED)

    def text(self, x: float, y: float, text: str, *, size: float = NORMAL, **style: Any) -> "Text":
        """Write `text`, by default to the right of `x` and centred on `y`."""
        style = {"ha": "left", "va": "center_baseline", **style}
        return self.figure.text(x / WIDTH, 1 - y / self.height, text, size=size, **style)

    def text_width(self, text: str, *, size: float = NORMAL, **style: Any) -> float:
        """Return how wide `text` would be."""
        found = self.text(0, 0, text, size=size, **style)
        width = float(found.get_window_extent().width)
        found.remove()
        return width

    def fitted(self, text: str, width: float, *, size: float = NORMAL, **style: Any) -> str:
        """Return `text`, cut where it would be wider than `width`."""
        cut = text
        while len(cut) > 1 and self.text_width(cut, size=size, **style) > width:
            cut = cut.rstrip("…")[:-1] + "…"
        return cut

    def axes(self, x: float, y: float, width: float, height: float, **options: Any) -> "Axes":
        """Add axes whose top left corner is at (x, y)."""
        low = self.height - y - height
        box = (x / WIDTH, low / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(box, **options)

    def sample(self, x: float, y: float, width: float, **line: Any) -> None:
        """Draw a horizontal stretch of line, with a marker in its middle if it has one."""
        from matplotlib.lines import Line2D

        xs = [x / WIDTH, (x + width / 2) / WIDTH, (x + width) / WIDTH]
        ys = [1 - y / self.height] * 3
        style = {"markevery": [1], **line}
        self.figure.add_artist(Line2D(xs, ys, transform=self.figure.transFigure, **style))

    def key(self, y: float, entries: Sequence[Entry]) -> None:
        """Write a key on one line, from the left margin on."""
        x = MARGIN
        for entry in entries:
            self.sample(x, y, 22, **entry.line)
            self.text(x + 28, y, entry.text, size=SMALL, color=MUTED)
            x += 28 + self.text_width(entry.text, size=SMALL) + 18

    def picture(self, name: str, description: str) -> Picture:
        """Return the finished picture."""
        return Picture(name, self.figure, self.title, f"{description} {self.caption}")


def rate_axis(axes: "Axes", which: Literal["x", "y"], *, steps: int = 4, top: float = 1.0) -> None:
    """Make an axis of rates, from 0 % to `top`, with a little room for markers at the ends."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xlim if which == "x" else axes.set_ylim)(-0.04 * top, 1.04 * top)
    ticks = [top * i / steps for i in range(steps + 1)]
    axis.set_ticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])


@styled()
def save(picture: Picture, folder: Path, form: Format) -> Path:
    """Write a picture as `folder/NAME.svg` or `.png`, and return its path.

    The same picture gives the same bytes. An SVG holds the title and the description for readers
    who cannot see it; its text stays text.

    Raises:
        RunError: When the file cannot be written.
    """
    path = folder / f"{picture.name}.{form}"
    raw = io.BytesIO()
    if form == "png":
        dpi = _PIXELS_AN_INCH * _PNG_SCALE
        about = {"Software": None, "Title": picture.title, "Description": picture.description}
        picture.figure.savefig(raw, format="png", dpi=dpi, metadata=about)
        content = raw.getvalue()
    else:
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        picture.figure.savefig(raw, format="svg", metadata=nothing)
        content = _with_alt_text(raw.getvalue().decode(), picture).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _with_alt_text(svg: str, picture: Picture) -> str:
    about = (
        f'\n <title id="{picture.name}-title">{escape(clean(picture.title))}</title>'
        f'\n <desc id="{picture.name}-desc">{escape(clean(picture.description))}</desc>'
    )
    labelled = f' role="img" aria-labelledby="{picture.name}-title {picture.name}-desc">'
    return re.sub(
        r"(<svg [^>]*)>", lambda match: match[1] + labelled + about, svg, count=1, flags=re.DOTALL
    )
