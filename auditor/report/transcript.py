"""A trial's record as a person reads it: turn by turn, with the truth last."""

from collections.abc import Iterable, Iterator, Sequence

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
    Submission,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    Verdict,
    VerdictEvent,
)
from auditor.report.call_view import folded, unfolded
from auditor.report.cells import percent
from auditor.report.gists import headline
from auditor.report.outcome import MARKS, Outcome, explanation, outcome
from auditor.report.progress import MOVES, LedgerRow, Move, moves
from auditor.report.telling import beside_the_score, cost_line, deciding, started_facts
from auditor.report.text import clean, literal, one_line


def render(events: Iterable[TrialEvent], *, full: bool = False) -> Iterator[RenderableType]:
    """Yield what to print for a trial's events, in the order of the record.

    Args:
        events: The record of one trial, whole or still growing.
        full: Print arguments and every item of each call, instead of a line with its gist.
    """
    turn: int | None = None
    ledger: tuple[LedgerRow, ...] = ()
    waiting: dict[str, ToolCallEvent] = {}
    told = unfolded if full else folded
    ending = _Ending()
    for event in events:
        if isinstance(event, TrialStarted):
            # A record that is followed may begin anew.
            turn, ledger, waiting, ending = None, (), {}, _Ending()
        now = getattr(event, "turn", None)
        if now is not None and now != turn:
            turn = now
            yield Rule(Text(f"turn {turn + 1}"), align="left", style="dim")
        ending.take(event)
        match event:
            case LedgerEvent():
                changed = event.hypotheses != [row.hypothesis for row in ledger]
                ledger = moves(ledger, event.hypotheses)
                yield _ledger(event, ledger if changed else None)
            case ToolCallEvent():
                waiting[event.evidence_id] = event
            case ToolResultEvent():
                yield from told(waiting.pop(event.evidence_id, None), event)
            case _:
                yield from _shown(event)
    for call in waiting.values():
        yield from told(call, None)
    yield from ending.render()


def _shown(event: TrialEvent) -> Iterator[RenderableType]:
    match event:
        case TrialStarted():
            yield _started(event)
        case ThoughtEvent():
            yield _indent(literal(event.text, "italic"))
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


def _ledger(event: LedgerEvent, rows: Sequence[LedgerRow] | None) -> RenderableType:
    """Return a note, and the ledger where it changed."""
    lines: list[RenderableType] = []
    if event.note:
        lines.append(Text.assemble(("note  ", "bold magenta"), clean(event.note)))
    if rows:
        lines.append(_hypotheses([row.hypothesis for row in rows], [row.move for row in rows]))
    elif rows is not None:
        lines.append(Text("no hypothesis is left", style="dim"))
    return _indent(Lines(*lines))


def _hypotheses(hypotheses: Sequence[Hypothesis], moved: Sequence[Move] = ()) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("sure", justify="right", style="bold", no_wrap=True)
    table.add_column("kind", style="dim", no_wrap=True)
    table.add_column("hypothesis", overflow="fold", ratio=1)
    table.add_column("evidence", style="dim", max_width=14)
    for rank, hypothesis in enumerate(hypotheses, start=1):
        sure = "" if hypothesis.confidence is None else percent(hypothesis.confidence)
        cited = one_line(" ".join(hypothesis.evidence), 60)
        place = Text(str(rank), style="dim")
        if moved:
            symbol, style = MOVES[moved[rank - 1]]
            place = Text.assemble((symbol, style), f" {rank}")
        table.add_row(place, sure, hypothesis.kind, literal(hypothesis.statement), Text(cited))
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
        lines += _alternatives(hypothesis, f"{rank} ")
    if submission.withheld is not None:
        lines += [Text("withheld:", style="dim"), _hypotheses([submission.withheld])]
        lines += _alternatives(submission.withheld)
    return _indent(Lines(*lines))


def _alternatives(hypothesis: Hypothesis, place: str = "") -> list[Text]:
    return [
        Text.assemble((f"{place}alternative: ", "dim"), clean(other))
        for other in hypothesis.alternatives
    ]


class _Ending:
    """Collects what is told only after everything else."""

    def __init__(self) -> None:
        self._group: Group = "guilty"
        self._verdict: Verdict | None = None
        self._truth: str | None = None
        self._error: ErrorEvent | None = None
        self._sealed: SealedEvent | None = None
        self._submission: Submission | None = None
        self._results: dict[str, ToolResultEvent] = {}

    def take(self, event: TrialEvent) -> None:
        """Note an event that bears on the end."""
        match event:
            case TrialStarted():
                self._group = event.group
            case ToolResultEvent():
                self._results[event.evidence_id] = event
            case SubmissionEvent():
                self._submission = event.submission
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
        return [*lines, *self._decided()]

    def _decided(self) -> Iterator[Text]:
        """Yield the evidence of the hypothesis that was judged, a line each."""
        cited = deciding(self._submission, self._verdict)
        if cited:
            yield Text("the hypothesis that was judged cites:", style="dim")
        for one in cited:
            line = Text.assemble((f"  {one_line(one, 12)} ", "bold cyan"))
            line.no_wrap, line.overflow = True, "ellipsis"
            found = self._results.get(one)
            if found is not None:
                line.append(f"{one_line(found.tool, 40)}  ", "cyan")
                line.append_text(headline(found))
            yield line


def _indent(what: RenderableType, cells: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, cells), expand=False)
