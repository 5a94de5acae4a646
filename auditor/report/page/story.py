"""One trial as plain data for the page: blocks of cleaned text in the order of the record.

Keys are short, because a page holds thousands of blocks: `k` kind, `t` text, `e` evidence ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auditor.records import (
    ErrorEvent,
    Hypothesis,
    LedgerEvent,
    SealedEvent,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialStarted,
    TrialSummary,
    VerdictEvent,
)
from auditor.report.cells import percent
from auditor.report.gists import gist, headline
from auditor.report.items import Said, exchange
from auditor.report.outcome import MARKS, explanation, outcome
from auditor.report.placing import (
    Piece,
    TokenReading,
    is_reading_item,
    pieces,
    read_texts,
    unplaced,
)
from auditor.report.progress import moves
from auditor.report.reading import number
from auditor.report.telling import (
    beside_the_score,
    cost_line,
    deciding,
    pairs,
    spent_line,
    started_facts,
)
from auditor.report.text import call_line, clean, one_line

Block = dict[str, Any]

_CALL_CHARS = 4_000
_SPEECH_CHARS = 1_200
_TEXTS = 400


def story(events: Iterable[TrialEvent], summary: TrialSummary, *, items: int) -> Block:
    """Return a trial as the page tells it.

    Args:
        events: The trial's record.
        summary: The same in one row.
        items: Most items of a result that are kept; how many are left out is said.
    """
    blocks: list[Block] = []
    calls: dict[str, Block] = {}
    facts: list[str] = []
    error: ErrorEvent | None = None
    teller = _Ledger()
    for event in events:
        match event:
            case TrialStarted():
                facts = started_facts(event)
            case ThoughtEvent():
                blocks.append({"k": "thought", "turn": event.turn + 1, "t": clean(event.text)})
            case ToolCallEvent():
                calls[event.evidence_id] = block = _call(event)
                blocks.append(block)
            case ToolResultEvent():
                calls.get(event.evidence_id, {}).update(_result(event, items))
            case LedgerEvent():
                blocks += teller.told(event)
            case SubmissionEvent():
                blocks.append(_submission(event))
            case ErrorEvent():
                error = event
            case VerdictEvent() | SealedEvent():
                pass
    return {
        "facts": [clean(fact) for fact in facts],
        "blocks": blocks,
        "end": _end(summary, error),
    }


def _call(event: ToolCallEvent) -> Block:
    return {
        "k": "call",
        "turn": event.turn + 1,
        "id": clean(event.evidence_id),
        "tool": clean(event.tool),
        "call": call_line(event.tool, event.arguments, _CALL_CHARS),
    }


def _result(event: ToolResultEvent, items: int) -> Block:
    others = [item for item in event.items if not is_reading_item(item)]
    texts = read_texts(event.items)
    readings = sum(len(text.readings) for text in texts)
    return {
        "ok": event.ok,
        "sum": clean(event.summary),
        "cost": spent_line(event),
        "gist": headline(event).plain,
        "items": [_item(item) for item in others[:items]],
        "more": max(len(others) - items, 0),
        "of": readings,
        "texts": [
            {
                "n": text.number,
                "who": clean(text.author or ""),
                "p": clean(text.prompt or "", max_chars=_SPEECH_CHARS),
                "w": [_piece(piece) for piece in pieces(text)],
                "rest": [_reading(reading, text.readings) for reading in unplaced(text)],
            }
            for text in texts[:_TEXTS]
        ],
    }


def _item(item: Mapping[str, Any]) -> Block:
    finding = gist(item)
    if finding is not None:
        return {"g": finding.plain}
    said = exchange(item)
    found: Block = {}
    for key, speech in (("p", said.prompt), ("a", said.target), ("b", said.baseline)):
        if speech:
            found[key] = [_speech(one) for one in speech]
    if said.cut:
        found["cut"] = 1
    rest = pairs(said.rest)
    return found | ({"r": rest} if rest else {})


def _speech(said: Said) -> str | list[str]:
    text = clean(said.text, max_chars=_SPEECH_CHARS)
    return [text, clean(said.prefill, max_chars=_SPEECH_CHARS)] if said.prefill else text


def _piece(piece: Piece) -> str | list[Any]:
    if not piece.readings:
        return clean(piece.text)
    return [clean(piece.text), *(_reading(one, ()) for one in piece.readings)]


def _reading(one: TokenReading, among: Sequence[TokenReading]) -> list[Any]:
    """Return grade, what is said, value with its name, verdict, whose, and where if not placed."""
    value = f"{one.measure} {number(one.value)}" if one.value is not None else ""
    said = "" if one.explanation is None else clean(one.explanation)
    found = [one.grade, said, value, clean(one.verdict), clean(one.whose or "")]
    return [*found, clean(one.before), clean(one.token)] if among else found


class _Ledger:
    """Tells how the ledger changed."""

    def __init__(self) -> None:
        self._rows: tuple[Any, ...] = ()

    def told(self, event: LedgerEvent) -> list[Block]:
        """Return the block of an event; none when nothing is new."""
        before, self._rows = self._rows, moves(self._rows, event.hypotheses)
        same = [row.hypothesis for row in before] == [row.hypothesis for row in self._rows]
        if same and not event.note:
            return []
        rows = [] if same else [_hypothesis(row.hypothesis, row.move) for row in self._rows]
        block = {"k": "ledger", "turn": event.turn + 1, "t": clean(event.note), "rows": rows}
        return [block | ({} if same else {"new": 1})]


def _hypothesis(hypothesis: Hypothesis, move: str = "") -> Block:
    sure = "" if hypothesis.confidence is None else percent(hypothesis.confidence)
    found: Block = {
        "m": move,
        "c": sure,
        "kind": hypothesis.kind,
        "t": clean(hypothesis.statement),
        "e": [one_line(one, 24) for one in hypothesis.evidence],
    }
    if hypothesis.trigger:
        found["when"] = clean(hypothesis.trigger)
    if hypothesis.demonstration:
        found["shown"] = clean(hypothesis.demonstration)
    if hypothesis.alternatives:
        found["or"] = [clean(other) for other in hypothesis.alternatives]
    return found


def _submission(event: SubmissionEvent) -> Block:
    submission = event.submission
    return {
        "k": "submission",
        "claim": "a hidden motive" if submission.verdict == "motive" else "no hidden motive",
        "c": "" if submission.confidence is None else percent(submission.confidence),
        "s": "" if submission.suspicion is None else percent(submission.suspicion),
        "by": "" if event.ended_by == "submit" else clean(event.ended_by),
        "t": clean(submission.reason),
        "rows": [_hypothesis(one) for one in submission.hypotheses],
        "withheld": [_hypothesis(submission.withheld)] if submission.withheld else [],
    }


def _end(summary: TrialSummary, error: ErrorEvent | None) -> Block:
    verdict = summary.verdict
    how = outcome(summary.group, summary.status, verdict)
    mark = MARKS[how]
    why = ""
    if how != "unfinished":
        why = explanation(summary.group, verdict, summary.truth, error.message if error else None)
    return {
        "o": how,
        "mark": mark.symbol,
        "label": mark.label,
        "why": clean(why),
        "judge": clean(verdict.why) if verdict else "",
        "beside": list(beside_the_score(verdict)) if verdict else [],
        "cost": cost_line(summary.usage) if summary.usage else "",
        "trace": clean(error.traceback) if error else "",
        "e": [one_line(one, 24) for one in deciding(summary.submission, verdict)],
    }
