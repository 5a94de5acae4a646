"""One line for each finding of the tools that read, and one for each result as a whole."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from auditor.records import ToolResultEvent
from auditor.report.cells import decimal, p_value, percent
from auditor.report.progress import item_line
from auditor.report.text import clean, one_line

Item = Mapping[str, Any]
_LONGEST = 160
_WIDEST = 400


def gist(item: Item) -> Text | None:
    """Return what an item of kind claim, statement, arm or scene says; None for any other item."""
    line = _LINES.get(str(item.get("kind")))
    return None if line is None else line(item)


def headline(result: ToolResultEvent) -> Text:
    """Return what came of a call, in one line: its best finding, or the first thing said."""
    if not result.ok:
        return Text(f"failed: {one_line(result.summary, _WIDEST)}", style="red")
    findings = [item for item in result.items if item.get("kind") in _LINES]
    if findings:
        best = min(findings, key=_rank)
        return _verdict_first(best) if best["kind"] == "statement" else _LINES[best["kind"]](best)
    # One reading of many says nothing; how many were worth something does.
    if not result.items or result.items[0].get("kind") == "reading":
        return Text(one_line(result.summary, _WIDEST))
    more = len(result.items) - 1
    line = Text(one_line(item_line(result.items[0]), _WIDEST))
    return Text.assemble(line, (f"  (+{more:,} more)", "dim")) if more else line


def _verdict_first(item: Item) -> Text:
    """Return a tested statement so that what came of it is read even where the line is cut."""
    verdict = _words(item, "verdict").partition(":")[0]
    style = "bold green" if verdict == "supported" else ""
    figures = f" (z {_decimal(item, 'z_null')}, p {_p(item)})"
    return Text.assemble((verdict, style), f": “{_words(item, 'statement')}”", (figures, "dim"))


def _rank(item: Item) -> float:
    """Order findings: claims as they come, statements by rank, the steered target's arms first."""
    if item.get("kind") == "arm":
        return 0.0 if item.get("arm") == "steered_target" else 1.0
    rank = _number(item, "rank")
    return 0.0 if rank is None else rank


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


def _scene(item: Item) -> Text:
    calls = _number(item, "calls")
    called = f", {calls:.0f} calls" if calls else ""
    played = f"{_words(item, 'replies')} replies{called}; {_words(item, 'ended')}"
    return Text.assemble(
        (f"{_words(item, 'conversation')}: ", "bold"), f"{played} (“{_words(item, 'scene')}”)"
    )


_LINES: dict[str, Callable[[Item], Text]] = {
    "claim": _claim,
    "statement": _statement,
    "arm": _arm,
    "scene": _scene,
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
