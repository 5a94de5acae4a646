"""One line for each finding of the tools that read: a claim, a tested statement, a steered arm."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from auditor.report.cells import decimal, p_value, percent
from auditor.report.text import clean

Item = Mapping[str, Any]
_LONGEST = 160


def gist(item: Item) -> Text | None:
    """Return what an item of kind claim, statement or arm says; None for any other item."""
    line = _LINES.get(str(item.get("kind")))
    return None if line is None else line(item)


def _claim(item: Item) -> Text:
    what = "readings" if item.get("unit") != "class" else "places"
    shares = f"{_percent(item, 'share_target')} of {what}, baseline "
    rest = f"{shares}{_percent(item, 'share_baseline')}, p {_p(item)}"
    return Text.assemble((f"“{_words(item, 'words')}” ", "bold"), rest)


def _statement(item: Item) -> Text:
    figures = (
        f"z {_decimal(item, 'z_null')}, p {_p(item)}, "
        f"rank {_words(item, 'rank')}, {_words(item, 'role')}"
    )
    supported = item.get("verdict") == "supported"
    return Text.assemble(
        f"“{_words(item, 'statement')}” ",
        (_words(item, "verdict"), "bold green" if supported else ""),
        (f" ({figures})", "dim"),
    )


def _arm(item: Item) -> Text:
    pushed = item.get("strength")
    at = "" if pushed is None else f" x {_words(item, 'strength')}"
    change = _number(item, "change")
    against = "" if change is None else f", {100 * change:+.0f} points, p {_p(item)}"
    name = _words(item, "arm").replace("_", " ")
    return Text.assemble(
        (f"{name}{at}: ", "bold"),
        f"{_percent(item, 'share')} of replies hold the words{against}",
    )


_LINES: dict[str, Callable[[Item], Text]] = {
    "claim": _claim,
    "statement": _statement,
    "arm": _arm,
}


def _words(item: Item, name: str) -> str:
    return clean(str(item.get(name, "")), max_chars=_LONGEST)


def _number(item: Item, name: str) -> float | None:
    value = item.get(name)
    return float(value) if isinstance(value, int | float) else None


def _percent(item: Item, name: str) -> str:
    return percent(_number(item, name))


def _decimal(item: Item, name: str) -> str:
    return decimal(_number(item, name))


def _p(item: Item) -> str:
    return p_value(_number(item, "p"))
