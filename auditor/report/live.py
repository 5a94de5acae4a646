"""What `auditor run` shows while it works.

Three views share one interface: `LiveView` redraws part of a terminal, `PlainView` prints a line
per finished trial for logs and pipes, `SilentView` prints nothing. All may be called from several
threads at once.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from auditor.records import SealedEvent, ToolCallEvent, TrialEvent, TrialKey
from auditor.report.cells import amount
from auditor.report.outcome import MARKS, Outcome
from auditor.report.progress import MOVES, Entry, GridProgress, LedgerRow, TrialProgress
from auditor.report.text import call_line, fit, one_line

Clock = Callable[[], float]

_REFRESHES_PER_SECOND = 6
_TALLEST = 40
_GUTTER = 9


class View(Protocol):
    """Something that watches a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def handle(self, key: TrialKey, event: TrialEvent) -> None:
        """Take in one event of one trial."""
        ...


class SilentView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def handle(self, key: TrialKey, event: TrialEvent) -> None:
        """Take in one event of one trial."""


class PlainView:
    """Prints one line per finished trial, and one per tool call when verbose."""

    def __init__(
        self,
        console: Console,
        *,
        total: int,
        already_done: int = 0,
        verbose: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._console = console
        self._verbose = verbose
        self._clock = clock
        self._lock = threading.Lock()
        self._grid = GridProgress(total, already_done, clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def handle(self, key: TrialKey, event: TrialEvent) -> None:
        """Take in one event of one trial."""
        with self._lock:
            trial = self._grid.handle(key, event, self._clock())
            if isinstance(event, ToolCallEvent) and self._verbose:
                call = call_line(event.tool, event.arguments, 200)
                self._print(Text(f"{trial.name}  turn {trial.turn}  {call}", style="dim"))
            if isinstance(event, SealedEvent):
                self._print(self._finished(trial))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _finished(self, trial: TrialProgress) -> Text:
        grid, mark = self._grid, MARKS[trial.outcome]
        width = len(str(grid.total))
        usage = trial.usage
        spent = f"  {usage.tool_calls} calls, {usage.seconds:.0f} s" if usage else ""
        return Text.assemble(
            f"[{grid.already_done + grid.done:>{width}}/{grid.total}] ",
            (f"{mark.symbol} {mark.label:<15}", mark.style),
            f"  {trial.name}{spent}  {one_line(trial.explanation, 160)}",
        )


class LiveView:
    """Redraws the grid's progress and one trial's transcript in place."""

    def __init__(
        self,
        console: Console,
        *,
        title: str,
        total: int,
        already_done: int = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._console = console
        self._title = title
        self._clock = clock
        self._lock = threading.Lock()
        self._grid = GridProgress(total, already_done, clock())
        self._size = console.size
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        spent = _duration(self._clock() - self._grid.started_at)
        again = ", since it was continued" if self._grid.already_done else ""
        line = _counts(self._grid, self._console.width - 1).append(f"in {spent}{again}")
        self._console.print(line)

    def handle(self, key: TrialKey, event: TrialEvent) -> None:
        """Take in one event of one trial."""
        with self._lock:
            self._grid.handle(key, event, self._clock())

    def _draw(self) -> Group:
        size = self._console.size
        if size != self._size:
            # Lines that were drawn for another width have wrapped, so they cannot be counted
            # and erased; start from an empty screen.
            self._size = size
            self._console.control(Control.clear(), Control.home())
        height = max(min(size.height - 1, _TALLEST), 1)
        with self._lock:
            return Group(*screen(self._grid, self._title, self._clock(), size.width - 1, height))


def open_view(
    console: Console,
    *,
    title: str,
    total: int,
    already_done: int = 0,
    quiet: bool = False,
    live: bool = True,
    verbose: bool = False,
) -> View:
    """Return the view that suits the console: redrawn, plain lines, or nothing."""
    if quiet or total == already_done:
        return SilentView()
    if live and not verbose and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console, title=title, total=total, already_done=already_done)
    return PlainView(console, total=total, already_done=already_done, verbose=verbose)


def screen(grid: GridProgress, title: str, now: float, width: int, height: int) -> list[Text]:
    """Return exactly `height` lines, none wider than `width` cells."""
    trial = grid.watch(now)
    head = _head(grid, title, now, width)
    ledger = _ledger(trial, width, rows=min(6, (height - 12) // 3)) if height >= 18 else []
    room = height - len(head) - len(ledger)
    waiting = [_rule("loading models", width)]
    middle = _transcript(trial, width, room) if trial else _fill(waiting, room)
    return (head + middle + ledger)[:height]


def _head(grid: GridProgress, title: str, now: float, width: int) -> list[Text]:
    spent = _spent(grid, now)
    if len(spent) > width // 2:
        spent = _duration(now - grid.started_at)
    first = fit(title, width - len(spent) - 1)
    gap = " " * (width - Text(first).cell_len - len(spent))
    return [
        Text.assemble((first, "bold"), gap, (spent, "dim"), no_wrap=True),
        _bar(grid, now, width),
        _counts(grid, width),
    ]


def _spent(grid: GridProgress, now: float) -> str:
    """Return tokens and dollars of the trials that ended, and the time; unknown is left out."""
    parts = [f"{amount(grid.tokens)} tokens"] if grid.tokens else []
    if grid.dollars is not None:
        parts.append(f"${grid.dollars:.2f}")
    return "  ".join([*parts, _duration(now - grid.started_at)])


def _bar(grid: GridProgress, now: float, width: int) -> Text:
    done = grid.already_done + grid.done
    left = grid.eta(now)
    eta = f"about {_duration(left)} left" if left is not None else "no estimate yet"
    said = f"  {done}/{grid.total} trials  {eta}"
    cells = max(width - len(said), 5)
    full = cells * done // max(grid.total, 1)
    parts = [("━" * full, "green"), ("─" * (cells - full), "dim"), (said, "")]
    return _cut(Text.assemble(*parts), width)


def _counts(grid: GridProgress, width: int) -> Text:
    line = Text()
    shown: list[Outcome] = ["found", "missed", "false alarm", "quiet", "errored"]
    if grid.counts["invalid"]:
        shown.append("invalid")
    for kind in shown:
        mark, count = MARKS[kind], grid.counts[kind]
        label = mark.label if count == 1 and kind != "quiet" else mark.plural
        line.append(f"{mark.symbol} {count} {label}", mark.style if count else "dim")
        line.append("   ")
    return _cut(line, width)


def _transcript(trial: TrialProgress, width: int, height: int) -> list[Text]:
    calls = "1 call" if trial.calls == 1 else f"{trial.calls} calls"
    watched = f"{trial.name}  turn {trial.turn}, {calls}" if trial.turn else trial.name
    lines: list[Text] = []
    # Later entries matter most, so lines are made backwards until the room is filled.
    for entry in reversed(trial.entries):
        lines[:0] = _entry_lines(entry, width)
        if len(lines) >= height - 1:
            break
    return [_rule(watched, width), *_fill(lines, height - 1)]


def _entry_lines(entry: Entry, width: int) -> list[Text]:
    cells = max(width - _GUTTER, 8)
    pieces = [entry.text]
    if entry.lines > 1:
        pieces = _wrap(entry.text, cells, entry.lines)
    labels = [fit(entry.label, _GUTTER - 2), *[""] * (len(pieces) - 1)]
    return [
        _cut(
            Text.assemble(
                (f"{label:>{_GUTTER - 2}}  ", "dim"), (fit(piece, cells), entry.style or "")
            ),
            width,
        )
        for label, piece in zip(labels, pieces, strict=True)
    ]


def _wrap(text: str, width: int, most: int) -> list[str]:
    lines = [line.plain.rstrip() for line in Text(text).wrap(_RULER, width)]
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return lines or [""]


def _ledger(trial: TrialProgress | None, width: int, rows: int) -> list[Text]:
    ledger = trial.ledger if trial else ()
    title = f"hypotheses ({len(ledger)})" if ledger else "hypotheses"
    lines = [_ledger_line(rank, row, width) for rank, row in enumerate(ledger[:rows], start=1)]
    if not lines:
        lines = [Text("       none yet", style="dim")]
    return [_rule(title, width), *_fill(lines, rows)]


def _ledger_line(rank: int, row: LedgerRow, width: int) -> Text:
    symbol, style = MOVES[row.move]
    hypothesis = row.hypothesis
    sure = "    " if hypothesis.confidence is None else f"{hypothesis.confidence:4.0%}"
    cited = f"  [{' '.join(hypothesis.evidence)}]" if hypothesis.evidence else ""
    cited = one_line(cited, width // 4)
    statement = one_line(hypothesis.statement, max(width - 13 - len(cited), 8))
    return _cut(
        Text.assemble(
            (f"{rank:>3} ", "dim"),
            (f"{symbol} ", style),
            (f"{sure}  ", "bold"),
            statement,
            (f" {cited}" if cited else "", "dim"),
        ),
        width,
    )


def _rule(title: str, width: int) -> Text:
    title = fit(title, width - 6)
    rest = "─" * max(width - 4 - Text(title).cell_len, 0)
    return _cut(Text.assemble(("── ", "dim"), (title, "bold blue"), (f" {rest}", "dim")), width)


def _fill(lines: list[Text], height: int) -> list[Text]:
    """Return the last `height` lines, padded with empty ones below."""
    kept = lines[max(len(lines) - height, 0) :] if height > 0 else []
    return kept + [Text("") for _ in range(height - len(kept))]


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(max(width, 1), overflow="ellipsis")
    return line


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_RULER = Console(width=80, force_terminal=False)
