"""A token-by-token reading for a person: what each place says, and whether to believe it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from auditor.report.text import clean, literal, one_line
from tools.reading.verdicts import PROBLEMS, VERDICTS

if TYPE_CHECKING:
    from nla_core.fidelity import Fidelity, Score
    from nla_core.pair import Reading, Verdict

_UNCONVINCING: "frozenset[Verdict]" = frozenset(["random", "mean", "shuffled", "unscored"])
_GREY = "bright_black"
_TOKEN_WIDTH = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One reading of one token."""

    position: int
    token: str
    """As the tokenizer spells it, raw."""
    reading: "Reading"


def render(tokens: Sequence[str], places: Sequence[Place]) -> Iterator[RenderableType]:
    """Yield what to print for the readings of one text.

    Args:
        tokens: All tokens of the text, raw.
        places: Readings, in the order of the text; several of one token stand together.
    """
    yield _strip(tokens, places)
    yield Text()
    yield _table(places)
    yield Text()
    yield from _summary(places)


def worth(score: "Score | None") -> float | None:
    """Return FVE where it is known, else the cosine."""
    if score is None:
        return None
    return score.cosine if score.fve is None else score.fve


def number(value: float | None) -> str:
    """Return a figure with two decimals, blank when it is unknown."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:.0e}"
    return f"{value:.2f}".replace("-0.00", "0.00")


def style_of(verdict: "Verdict", value: float | None) -> str:
    """Return the colour of a reading: grey when a null does as well, else by what it is worth."""
    if verdict in _UNCONVINCING or value is None:
        return _GREY
    return "green" if value >= 0.7 else "yellow" if value >= 0.3 else "red"


def verdict_text(verdict: "Verdict", fidelity: "Fidelity") -> str:
    """Return a verdict in words, with the reason when there is no score."""
    problem = PROBLEMS.get(fidelity.problem or "")
    if verdict == "unscored" and problem:
        return f"{VERDICTS[verdict]}: {problem}"
    return VERDICTS[verdict] if problem is None else f"{VERDICTS[verdict]}; {problem}"


def figure_name(scores: "Sequence[Score | None]") -> str:
    """Return what `worth` is of these scores."""
    known = [score for score in scores if score is not None]
    return "FVE" if not known or any(score.fve is not None for score in known) else "cosine"


def _strip(tokens: Sequence[str], places: Sequence[Place]) -> Text:
    """Return the whole text, read tokens in the colour of their best reading."""
    styles: dict[int, tuple[float, str]] = {}
    for place in places:
        value = worth(place.reading.fidelity.score)
        rank = float("-inf") if value is None else value
        if place.position not in styles or rank > styles[place.position][0]:
            styles[place.position] = (rank, style_of(place.reading.verdict, value))
    strip = Text()
    for position, token in enumerate(tokens):
        _, style = styles.get(position, (0.0, "dim"))
        strip.append(clean(token), style=f"{style} underline" if position in styles else style)
    return strip


def _table(places: Sequence[Place]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    table.add_column("at", justify="right", style="dim", no_wrap=True)
    table.add_column("token", no_wrap=True, max_width=_TOKEN_WIDTH)
    scores = [place.reading.fidelity.score for place in places]
    table.add_column(figure_name(scores), justify="right", no_wrap=True)
    table.add_column("explanation", ratio=1, overflow="fold")
    before: int | None = None
    for place in places:
        reading = place.reading
        value = worth(reading.fidelity.score)
        style = style_of(reading.verdict, value)
        again = place.position == before
        before = place.position
        table.add_row(
            "" if again else str(place.position),
            "" if again else Text(token_label(place.token), "bold"),
            Text(number(value), style),
            _explanation(reading, style),
        )
    return table


def token_label(token: str, width: int = _TOKEN_WIDTH) -> str:
    """Return a token in a few cells, line breaks and blanks made visible."""
    shown = token.replace("\r", "").replace("\n", "⏎").replace("\t", "⇥")
    return one_line(shown, width) or "␣"


def _explanation(reading: "Reading", style: str) -> Text:
    said = reading.explanation.text
    unconvincing = reading.verdict in _UNCONVINCING
    found = literal(said or "", style if unconvincing else "")
    if reading.verdict != "carries" or reading.fidelity.problem is not None:
        found.append("\n" if said else "")
        found.append(f"({verdict_text(reading.verdict, reading.fidelity)})", f"{_GREY} italic")
    return found


def _summary(places: Sequence[Place]) -> Iterator[Text]:
    readings = [place.reading for place in places]
    if not readings:
        return
    name = figure_name([reading.fidelity.score for reading in readings])
    parts = [f"{len(readings)} {'reading' if len(readings) == 1 else 'readings'}"]
    for label, scores in (
        (f"mean {name}", [reading.fidelity.score for reading in readings]),
        ("shuffled", [reading.fidelity.shuffled for reading in readings]),
        ("copied text", [reading.fidelity.copied_context for reading in readings]),
        ("random vector", [reading.fidelity.random_vector for reading in readings]),
    ):
        values = [value for score in scores if (value := worth(score)) is not None]
        if values:
            parts.append(f"{label} {number(sum(values) / len(values))}")
    yield Text(" · ".join(parts))
    counts = [
        f"{count} of {len(readings)} {text}"
        for verdict, text in VERDICTS.items()
        if (count := sum(reading.verdict == verdict for reading in readings))
    ]
    yield Text("; ".join(counts), style=_GREY)
    off = readings[0].off_layer
    if off is not None:
        yield Text(
            f"read at layer {off} with a pair of layer {readings[0].layer}: trust it less",
            style="yellow",
        )
