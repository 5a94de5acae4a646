"""A tool call with its result on a terminal: folded to a line with its gist, or whole."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from auditor.records import ToolCallEvent, ToolResultEvent
from auditor.report.gists import gist, headline
from auditor.report.items import Said, exchange
from auditor.report.placing import is_reading_item, read_texts
from auditor.report.strip import ReadingStrip, leading
from auditor.report.telling import pairs, spent_line
from auditor.report.text import call_line, clean, literal, one_line

TARGET_STYLE = "yellow"
BASELINE_STYLE = "blue"
_CALL_CHARS = 480
_SPEECH_CHARS = 800
_PAIRS = 2
_FOLDED_READINGS = 3


def folded(call: ToolCallEvent | None, result: ToolResultEvent | None) -> Iterator[RenderableType]:
    """Yield a call as one line, and under it the best readings where tokens were read."""
    event = call or result
    if event is None:
        return
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{one_line(event.evidence_id, 12)} ", "bold cyan")
    line.append(f"{one_line(event.tool, 40)}  ", "cyan")
    line.append_text(Text("no result", style="dim") if result is None else headline(result))
    yield _indent(line)
    texts = read_texts(result.items) if result is not None else []
    shown = leading(texts, result.items) if result is not None else None
    if shown is not None:
        yield _indent(ReadingStrip(shown, most=_FOLDED_READINGS), 4)


def unfolded(
    call: ToolCallEvent | None, result: ToolResultEvent | None
) -> Iterator[RenderableType]:
    """Yield a call with its arguments and every item of its result."""
    if call is not None:
        words = call_line(call.tool, call.arguments, _CALL_CHARS)
        name = f"{one_line(call.evidence_id, 12)} "
        yield _indent(Text.assemble((name, "bold cyan"), (words, "cyan")))
    if result is None:
        yield _indent(Text("→ no result", style="dim"))
        return
    yield _indent(
        Text.assemble(
            ("→ " if result.ok else "→ failed: ", "green" if result.ok else "bold red"),
            clean(result.summary),
            (f"  ({spent_line(result)})", "dim"),
        )
    )
    texts = read_texts(result.items)
    read = {text.number for text in texts}
    for item in result.items:
        # A text without readings, or a reading whose text is not here, is an item like others.
        if not (is_reading_item(item) and item.get("text") in read):
            yield _indent(_item(item), 4)
    for text in texts:
        yield _indent(ReadingStrip(text), 4)


def _item(item: Mapping[str, Any]) -> RenderableType:
    finding = gist(item)
    if finding is not None:
        return finding
    found = exchange(item)
    lines: list[RenderableType] = []
    if found.prompt:
        lines.append(Text.assemble(("> ", "dim"), _speech(found.prompt, "")))
    if found.target is not None and found.baseline is not None:
        lines.append(_beside(found.target, found.baseline))
    elif found.target is not None or found.baseline is not None:
        by_baseline = found.target is None
        said = found.baseline if found.target is None else found.target
        speech = _speech(said or (), BASELINE_STYLE if by_baseline else TARGET_STYLE)
        speaker = "baseline: " if by_baseline else ""
        cut = " [cut at max_tokens]" if found.cut else ""
        lines.append(Text.assemble((speaker, f"bold {BASELINE_STYLE}"), speech, (cut, "dim")))
    rest = pairs(found.rest)
    return Lines(*lines, *([Text(rest, style="dim" if lines else "")] if rest else []))


def _speech(said: Sequence[Said], style: str) -> Text:
    """Return what was said, one thing a line."""
    return Text("\n").join(_said(one, style) for one in said)


def _said(said: Said, style: str) -> Text:
    text = clean(said.text, max_chars=_SPEECH_CHARS) or "(nothing)"
    prefill = literal(said.prefill, "dim underline") if said.prefill else Text("")
    return Text.assemble(prefill, (text, style))


def _beside(target: Sequence[Said], baseline: Sequence[Said]) -> Table:
    """Return what both models said to one prompt, sample beside sample."""
    table = Table(box=None, expand=True, padding=(0, 1), show_edge=False)
    for name, style in (("target", TARGET_STYLE), ("baseline", BASELINE_STYLE)):
        table.add_column(name, ratio=1, header_style=f"bold {style}", overflow="fold")
    both = list(zip_longest(target, baseline))
    for left, right in both[:_PAIRS]:
        table.add_row(_sample(left, TARGET_STYLE), _sample(right, BASELINE_STYLE))
    if len(both) > _PAIRS:
        table.add_row(Text(f"… {len(both) - _PAIRS:,} more", style="dim"))
    return table


def _sample(said: Said | None, style: str) -> Text:
    return Text("") if said is None else _said(said, style)


def _indent(what: RenderableType, cells: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, cells), expand=False)
