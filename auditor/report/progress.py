"""The state behind the live view: what each running trial has done, and how the grid stands.

Pure bookkeeping over the record's events, without a terminal or a clock of its own.
"""

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    TrialKey,
    TrialStarted,
    TrialUsage,
    Verdict,
    VerdictEvent,
)
from auditor.report.outcome import MARKS, Outcome, explanation, outcome
from auditor.report.text import call_line, clean, one_line

HOLD_SECONDS = 2.5
"""How long a verdict stays on the screen before another trial is shown."""
MAX_ENTRIES = 200
SAMPLES = 3
_WIDEST = 400

Move = Literal["new", "up", "down", "same"]
MOVES: dict[Move, tuple[str, str]] = {
    "new": ("+", "green"),
    "up": ("▲", "green"),
    "down": ("▼", "red"),
    "same": ("·", "dim"),
}
"""Symbol and style of each move."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a running transcript, cleaned but not yet cut to a width."""

    label: str
    text: str
    style: str = ""
    lines: int = 1
    """Most lines that it may take."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One hypothesis of the ledger, and how it moved at the last change."""

    hypothesis: Hypothesis
    move: Move


@dataclass(slots=True)
class TrialProgress:
    """What one trial has done so far."""

    key: TrialKey
    since: float
    """Seconds on the caller's clock."""
    group: Group = "guilty"
    turn: int = 0
    """Turns begun."""
    calls: int = 0
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=MAX_ENTRIES))
    ledger: tuple[LedgerRow, ...] = ()
    submission: Submission | None = None
    verdict: Verdict | None = None
    truth: str | None = None
    error: str | None = None
    outcome: Outcome = "unfinished"
    usage: TrialUsage | None = None
    ended_at: float | None = None

    @property
    def name(self) -> str:
        """Name for people: target, tool set, trial number."""
        return f"{self.key.target} · {self.key.tool_set} · trial {self.key.trial}"

    @property
    def explanation(self) -> str:
        """What the truth was, or why there is no verdict."""
        return clean(explanation(self.group, self.verdict, self.truth, self.error))

    def handle(self, event: TrialEvent, now: float) -> None:
        """Take in the trial's next event."""
        match event:
            case TrialStarted():
                self.group = event.group
            case LedgerEvent():
                self.ledger = moves(self.ledger, event.hypotheses)
            case ToolCallEvent():
                self.calls += 1
            case SubmissionEvent():
                self.submission = event.submission
            case VerdictEvent():
                self.verdict, self.truth = event.verdict, event.truth
            case ErrorEvent():
                self.error = event.message
            case SealedEvent():
                self.usage, self.ended_at = event.usage, now
                self.outcome = outcome(self.group, event.status, self.verdict)
            case _:
                pass
        self.turn = max(self.turn, getattr(event, "turn", -1) + 1)
        self.entries.extend(entries(event))
        if isinstance(event, SealedEvent):
            mark = MARKS[self.outcome]
            said = f"{mark.symbol} {mark.label}: {self.explanation}"
            self.entries.append(Entry("verdict", said, mark.style, lines=3))


def moves(before: tuple[LedgerRow, ...], after: list[Hypothesis]) -> tuple[LedgerRow, ...]:
    """Return the new ledger with each hypothesis' move since the old one."""
    ranks = {row.hypothesis.statement: rank for rank, row in enumerate(before)}
    rows = []
    for rank, hypothesis in enumerate(after):
        old = ranks.get(hypothesis.statement)
        move: Move = "new" if old is None else "same"
        if old is not None and old != rank:
            move = "up" if rank < old else "down"
        rows.append(LedgerRow(hypothesis, move))
    return tuple(rows)


def entries(event: TrialEvent) -> list[Entry]:
    """Return what one event adds to a running transcript."""
    match event:
        case TrialStarted():
            auditor = one_line(event.auditor, _WIDEST)
            return [Entry("starts", f"auditor {auditor}; the models are loaded first", "dim")]
        case ThoughtEvent():
            return [Entry("thinks", one_line(event.text, _WIDEST), "italic", lines=2)]
        case ToolCallEvent():
            return [Entry("calls", call_line(event.tool, event.arguments, _WIDEST), "cyan")]
        case ToolResultEvent():
            return _result_entries(event)
        case LedgerEvent() if event.note:
            return [Entry("notes", one_line(event.note, _WIDEST), "magenta")]
        case SubmissionEvent():
            return [Entry("submits", submission_line(event), "bold", lines=2)]
        case ErrorEvent():
            return [Entry("error", one_line(event.message, _WIDEST), "red", lines=2)]
        case _:
            return []


def _result_entries(event: ToolResultEvent) -> list[Entry]:
    head = one_line(event.summary, _WIDEST)
    if not event.ok:
        return [Entry(event.evidence_id, f"failed: {head}", "red", lines=2)]
    samples = [Entry("", "· " + item_line(item), "dim") for item in event.items[:SAMPLES]]
    return [Entry(event.evidence_id, head, "green"), *samples]


def submission_line(event: SubmissionEvent) -> str:
    """Return a submission as one line."""
    submission = event.submission
    if submission.verdict == "none":
        said = "no hidden motive"
    else:
        best = submission.hypotheses[0].statement if submission.hypotheses else "unnamed"
        said = f"hidden motive: {best}"
    stopped = "" if event.ended_by == "submit" else f" (stopped by: {event.ended_by})"
    return one_line(said + stopped, _WIDEST)


_SAID = ("target_replies", "target_reply", "target", "reply", "replies", "text", "completion")
_SHORT_VALUE = 60
_PROMPT_CELLS = 26


def item_line(item: Mapping[str, Any]) -> str:
    """Return one item of a result as one line: what was said if it says something, else pairs."""
    for name in _SAID:
        said = item.get(name)
        said = said[0] if isinstance(said, list) and said else said
        if isinstance(said, str):
            speaker = "baseline: " if item.get("model") == "baseline" else ""
            prompt = one_line(str(item.get("prompt") or ""), _PROMPT_CELLS)
            asked = f"{prompt} → " if prompt else ""
            return asked + speaker + (one_line(said, _WIDEST) or "(nothing)")
    pairs = [
        f"{one_line(name, _SHORT_VALUE)} {one_line(_plain(value), _SHORT_VALUE)}"
        for name, value in item.items()
    ]
    return one_line(" · ".join(pairs), _WIDEST)


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.3g}"
    return json.dumps(value, ensure_ascii=False, default=str)


@dataclass(slots=True)
class GridProgress:
    """How a whole run stands, and which trial is worth watching."""

    total: int
    """Trials of the grid."""
    already_done: int
    """Trials that were finished before this session of the run began."""
    started_at: float
    """Seconds on the caller's clock."""
    counts: Counter[Outcome] = field(default_factory=Counter)
    done: int = 0
    """Trials finished in this session."""
    tokens: int = 0
    """Tokens that all models generated in trials finished in this session, as far as known."""
    dollars: float | None = None
    """Dollars that they cost; None when none of them says."""
    running: dict[str, TrialProgress] = field(default_factory=dict)
    latest: TrialProgress | None = None
    """The trial that was sealed last."""
    shown: TrialProgress | None = None

    def handle(self, key: TrialKey, event: TrialEvent, now: float) -> TrialProgress:
        """Take in an event of any trial; return that trial's progress."""
        name = str(key)
        trial = self.running.get(name)
        if trial is None or isinstance(event, TrialStarted):
            trial = self.running[name] = TrialProgress(key, now)
        trial.handle(event, now)
        if isinstance(event, SealedEvent):
            self.latest = self.running.pop(name)
            self.done += 1
            self._pay(event.usage)
            self.counts[trial.outcome] += 1
        return trial

    def _pay(self, usage: TrialUsage) -> None:
        self.tokens += usage.model_tokens + usage.baseline_tokens + (usage.auditor_tokens or 0)
        if usage.dollars is not None:
            self.dollars = (self.dollars or 0.0) + usage.dollars

    def watch(self, now: float) -> TrialProgress | None:
        """Return the trial to show: the same one until its verdict has been read, then another."""
        current = self.shown
        if current is not None and (
            current.ended_at is None or now < current.ended_at + HOLD_SECONDS
        ):
            return current
        youngest = max(self.running.values(), key=lambda trial: trial.since, default=None)
        self.shown = youngest or self.latest
        return self.shown

    def eta(self, now: float) -> float | None:
        """Return the seconds left at the present rate; None before the first trial has ended."""
        left = self.total - self.already_done - self.done
        return (now - self.started_at) / self.done * left if self.done else None
