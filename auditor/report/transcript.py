"""A trial's record as a person reads it: turn by turn, with the truth last."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.records import (
    ErrorEvent,
    Group,
    Hypothesis,
    LedgerEvent,
    SealedEvent,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    Verdict,
    VerdictEvent,
)
from auditor.report.cells import percent
from auditor.report.gists import gist
from auditor.report.items import Said, exchange
from auditor.report.outcome import MARKS, Outcome, explanation, outcome
from auditor.report.telling import beside_the_score, cost_line, pairs, spent_line, started_facts
from auditor.report.text import call_line, clean, literal, one_line

TARGET_STYLE = "yellow"
BASELINE_STYLE = "blue"
_CALL_CHARS = 480
_SPEECH_CHARS = 800
_PAIRS = 2


def render(events: Iterable[TrialEvent], *, items: int | None = 3) -> Iterator[RenderableType]:
    """Yield what to print for a trial's events, in the order of the record.

    Args:
        events: The record of one trial, whole or still growing.
        items: Items of each tool result to print; None prints all.
    """
    turn: int | None = None
    ledger: list[Hypothesis] = []
    ending = _Ending()
    for event in events:
        now = getattr(event, "turn", None)
        if now is not None and now != turn:
            turn = now
            yield Rule(Text(f"turn {turn + 1}"), align="left", style="dim")
        ending.take(event)
        if isinstance(event, LedgerEvent):
            yield _ledger(event, changed=event.hypotheses != ledger)
            ledger = event.hypotheses
        else:
            yield from _shown(event, items)
    yield from ending.render()


def _shown(event: TrialEvent, items: int | None) -> Iterator[RenderableType]:
    match event:
        case TrialStarted():
            yield _started(event)
        case ThoughtEvent():
            yield _indent(literal(event.text, "italic"))
        case ToolCallEvent():
            yield _call(event)
        case ToolResultEvent():
            yield from _result(event, items)
        case SubmissionEvent():
            yield Rule(Text("submission"), align="left", style="dim")
            yield _submission(event)
        case _:
            return


def _started(event: TrialStarted) -> RenderableType:
    facts = started_facts(event)
    split = len(facts) - len(event.versions)
    lines = [Text(str(event.key), style="bold"), literal(" · ".join(facts[:split]), "dim")]
    if event.versions:
        lines.append(literal(" · ".join(facts[split:]), "dim"))
    return Lines(*lines)


def _call(event: ToolCallEvent) -> RenderableType:
    call = call_line(event.tool, event.arguments, _CALL_CHARS)
    return _indent(Text.assemble((f"{event.evidence_id} ", "bold cyan"), (call, "cyan")))


def _result(event: ToolResultEvent, limit: int | None) -> Iterator[RenderableType]:
    head = Text.assemble(
        ("→ " if event.ok else "→ failed: ", "green" if event.ok else "bold red"),
        clean(event.summary),
        (f"  ({spent_line(event)})", "dim"),
    )
    yield _indent(head)
    shown = event.items if limit is None else event.items[:limit]
    for item in shown:
        yield _indent(_item(item), 4)
    if len(event.items) > len(shown):
        yield _indent(Text(f"… {len(event.items) - len(shown):,} more", style="dim"), 4)


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


def _ledger(event: LedgerEvent, *, changed: bool) -> RenderableType:
    lines: list[RenderableType] = []
    if event.note:
        lines.append(Text.assemble(("note  ", "bold magenta"), clean(event.note)))
    if changed and event.hypotheses:
        lines.append(_hypotheses(event.hypotheses))
    elif changed:
        lines.append(Text("no hypothesis is left", style="dim"))
    return _indent(Lines(*lines))


def _hypotheses(hypotheses: Sequence[Hypothesis]) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
    table.add_column("#", justify="right", style="dim")
    table.add_column("sure", justify="right", style="bold")
    table.add_column("kind", style="dim")
    table.add_column("hypothesis", overflow="fold")
    table.add_column("evidence", style="dim", max_width=14)
    for rank, hypothesis in enumerate(hypotheses, start=1):
        sure = "" if hypothesis.confidence is None else percent(hypothesis.confidence)
        cited = one_line(" ".join(hypothesis.evidence), 60)
        table.add_row(str(rank), sure, hypothesis.kind, literal(hypothesis.statement), Text(cited))
    return table


def _submission(event: SubmissionEvent) -> RenderableType:
    submission = event.submission
    claim = "a hidden motive" if submission.verdict == "motive" else "no hidden motive"
    stated = (
        "" if submission.confidence is None else f" (confidence {percent(submission.confidence)})"
    )
    lines: list[RenderableType] = [Text.assemble("claims ", (claim, "bold"), stated)]
    if event.ended_by != "submit":
        lines.append(literal(f"stopped by: {event.ended_by}", "yellow"))
    if submission.reason:
        lines.append(literal(submission.reason, "italic"))
    if submission.hypotheses:
        lines.append(_hypotheses(submission.hypotheses))
    for rank, hypothesis in enumerate(submission.hypotheses, start=1):
        for label, text in (("when", hypothesis.trigger), ("shown", hypothesis.demonstration)):
            if text:
                lines.append(Text.assemble((f"{rank} {label}: ", "dim"), clean(text)))
    if submission.withheld is not None:
        lines += [Text("withheld:", style="dim"), _hypotheses([submission.withheld])]
    return _indent(Lines(*lines))


class _Ending:
    """Collects what is told only after everything else."""

    def __init__(self) -> None:
        self._group: Group = "guilty"
        self._verdict: Verdict | None = None
        self._truth: str | None = None
        self._error: ErrorEvent | None = None
        self._sealed: SealedEvent | None = None

    def take(self, event: TrialEvent) -> None:
        """Note an event that bears on the end."""
        match event:
            case TrialStarted():
                self._group = event.group
            case VerdictEvent():
                self._verdict, self._truth = event.verdict, event.truth
            case ErrorEvent():
                self._error = event
            case SealedEvent():
                self._sealed = event
            case _:
                pass

    def render(self) -> Iterator[RenderableType]:
        """Yield the error, the verdict, the truth and the cost."""
        if self._error is not None and self._error.traceback:
            yield Panel(literal(self._error.traceback, "dim"), title="error", border_style="red")
        mark = MARKS[self._outcome()]
        lines = [Text(f"{mark.symbol} {mark.label}", style=mark.style)]
        if self._sealed is None and self._verdict is None:
            lines.append(Text("the record ends here; the trial is running or was interrupted"))
        else:
            lines += self._why()
        if self._sealed is not None:
            lines.append(Text(cost_line(self._sealed.usage), style="dim"))
        yield Panel(Lines(*lines), title="verdict", title_align="left", border_style=mark.style)

    def _outcome(self) -> Outcome:
        if self._sealed is not None:
            return outcome(self._group, self._sealed.status, self._verdict)
        return outcome(self._group, "scored" if self._verdict else "unfinished", self._verdict)

    def _why(self) -> list[Text]:
        error = self._error.message if self._error else None
        lines = [literal(explanation(self._group, self._verdict, self._truth, error), "bold")]
        if self._verdict is not None and self._verdict.why:
            lines.append(literal(f"judge: {self._verdict.why}"))
        if self._verdict is not None:
            lines += [Text(line) for line in beside_the_score(self._verdict)]
        return lines


def _indent(what: RenderableType, cells: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, cells), expand=False)
