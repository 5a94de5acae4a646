"""`auditor browse`: a run's trials in a full-screen terminal program.

This module needs Textual, which comes with the extra `browse`; nothing but the command imports it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from auditor.records import TrialEvent, TrialSummary
from auditor.report.filtering import Facet, Filter, values
from auditor.report.outcome import MARKS, outcome
from auditor.report.text import one_line
from auditor.report.transcript import render

Read = Callable[[Path], Sequence[TrialEvent]]
_FACETS: tuple[Facet, ...] = ("tool_set", "regime", "outcome")


class TrialScreen(Screen[None]):
    """The transcript of one trial."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back"),
        Binding("n,right", "step(1)", "next"),
        Binding("p,left", "step(-1)", "previous"),
        Binding("f", "fold", "unfold/fold"),
        Binding("j", "scroll(3)", "down", show=False),
        Binding("k", "scroll(-3)", "up", show=False),
        Binding("g", "home", "top", show=False),
        Binding("G", "end", "verdict"),
    ]

    def __init__(self, trials: "TrialList", at: int) -> None:
        super().__init__()
        self._trials = trials
        self._at = at
        """Place among the trials that are listed."""
        self._full = False
        self._width = 0

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="where", markup=False)
        yield RichLog(id="transcript", wrap=True, min_width=20, auto_scroll=False)
        yield Footer()

    def on_resize(self, event: Resize) -> None:
        """Tell the trial anew, for it follows the width."""
        if event.size.width != self._width:
            self._width = event.size.width
            self._tell()

    def action_back(self) -> None:
        """Return to the list, at the trial that was read."""
        self._trials.point_at(self._at)
        self.app.pop_screen()

    def action_step(self, by: int) -> None:
        """Read another trial of those that are listed."""
        at = self._at + by
        if 0 <= at < len(self._trials.listed):
            self._at = at
            self._tell()

    def action_fold(self) -> None:
        """Unfold all calls, or fold them."""
        self._full = not self._full
        self._tell()

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        log = self.query_one(RichLog)
        log.scroll_relative(y=lines, animate=False)

    def action_home(self) -> None:
        """Go to the beginning."""
        self.query_one(RichLog).scroll_home(animate=False)

    def action_end(self) -> None:
        """Go to the end, where the verdict is."""
        self.query_one(RichLog).scroll_end(animate=False)

    def _tell(self) -> None:
        place = self._trials.listed[self._at]
        where = f"trial {self._at + 1} of {len(self._trials.listed)}"
        self.query_one("#where", Static).update(where)
        log = self.query_one(RichLog)
        log.clear()
        for part in render(self._trials.events(place), full=self._full):
            log.write(part, width=max(self._width - 2, 20), scroll_end=False)
        log.scroll_home(animate=False)
        log.focus()


class TrialList(Screen[None]):
    """The list of trials, and what narrows it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "narrow('tool_set')", "tool set"),
        Binding("r", "narrow('regime')", "regime"),
        Binding("v", "narrow('outcome')", "verdict"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("escape", "clear", "clear"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(
        self, name: str, trials: Sequence[tuple[Path, TrialSummary]], *, read: Read
    ) -> None:
        """See `Browser`."""
        super().__init__()
        self._run = name
        self._trials = trials
        self._read = read
        self._known = {facet: values((one for _, one in trials), facet) for facet in _FACETS}
        self.wanted = Filter()
        self.listed: list[int] = []
        """Places of the trials that the filter leaves, in the order of the list."""

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="filters", markup=False)
        yield DataTable(id="trials", cursor_type="row", zebra_stripes=False)
        yield Input(id="search", placeholder="words in a trial; Enter searches, Esc gives up")
        yield Footer()

    def on_mount(self) -> None:
        """Fill the list."""
        table = self.query_one(DataTable)
        table.add_columns("", "target", "tool set", "n", "verdict", "first hypothesis")
        self._list()
        table.focus()

    def events(self, place: int) -> Sequence[TrialEvent]:
        """Return the record of a trial."""
        return self._read(self._trials[place][0])

    def point_at(self, at: int) -> None:
        """Put the cursor on a trial of the list."""
        self.query_one(DataTable).move_cursor(row=at)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Read the trial that was chosen."""
        self.app.push_screen(TrialScreen(self, event.cursor_row))

    def action_narrow(self, name: Facet) -> None:
        """Take the next tool set, regime or verdict; after the last, all."""
        self.wanted = self.wanted.next(name, self._known[name])
        self._list()

    def action_search(self) -> None:
        """Ask for words."""
        box = self.query_one(Input)
        box.add_class("open")
        box.focus()

    def action_clear(self) -> None:
        """Close the search, or show all trials again."""
        box = self.query_one(Input)
        if box.has_class("open") and box.has_focus:
            self._close_search()
            return
        box.value = ""
        self.wanted = Filter()
        self._list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look for words, first in what was claimed, then in whole transcripts."""
        words = event.value.strip()
        self.wanted = replace(self.wanted, words=words, holding=None)
        self._close_search()
        self._list()
        if words:
            self._look(words)

    @work(thread=True, exclusive=True)
    def _look(self, words: str) -> None:
        sought = words.casefold()
        found = frozenset(
            place for place, (path, _) in enumerate(self._trials) if sought in _text(path)
        )
        self.app.call_from_thread(self._found, words, found)

    def _found(self, words: str, places: frozenset[int]) -> None:
        if self.wanted.words == words:
            self.wanted = replace(self.wanted, holding=places)
            self._list()

    def _close_search(self) -> None:
        self.query_one(Input).remove_class("open")
        self.query_one(DataTable).focus()

    def _list(self) -> None:
        table = self.query_one(DataTable)
        table.clear()
        self.listed = []
        for place, (_, summary) in enumerate(self._trials):
            if self.wanted.matches(place, summary):
                self.listed.append(place)
                table.add_row(*_cells(summary), key=str(place))
        self.query_one("#filters", Static).update(self._heading())

    def _heading(self) -> str:
        wanted = self.wanted
        parts = [f"{self._run}: {len(self.listed)} of {len(self._trials)} trials"]
        labels = {"tool_set": "tool set", "regime": "regime", "outcome": "verdict"}
        for name, label in labels.items():
            value = getattr(wanted, name)
            if value is not None:
                parts.append(f"{label} {value}")
        if len(parts) == 1 and not wanted.words:
            parts.append("Enter reads one")
        if wanted.words:
            state = " (reading transcripts)" if wanted.holding is None else ""
            parts.append(f"“{one_line(wanted.words, 40)}”{state}")
        return " · ".join(parts)


class Browser(App[None]):
    """The program."""

    CSS = """
    #filters { height: auto; padding: 0 1; color: $text-muted; }
    #where { height: 1; padding: 0 1; color: $text-muted; }
    #trials { height: 1fr; }
    #search { display: none; height: 3; }
    #search.open { display: block; }
    """
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, name: str, trials: Sequence[tuple[Path, TrialSummary]], *, read: Read
    ) -> None:
        """Browse trials.

        Args:
            name: Of the run.
            trials: Each record's file, and the same in one row.
            read: Reads a record.
        """
        super().__init__()
        self._first = TrialList(name, trials, read=read)

    def on_mount(self) -> None:
        """Show the list."""
        self.push_screen(self._first)


def _cells(summary: TrialSummary) -> list[Text]:
    how = outcome(summary.group, summary.status, summary.verdict)
    mark = MARKS[how]
    submission = summary.submission
    claim = summary.error or ""
    if submission is not None and summary.error is None:
        best = submission.hypotheses[0].statement if submission.hypotheses else "unnamed"
        claim = best if submission.verdict == "motive" else "no hidden motive"
    key = summary.key
    return [
        Text(mark.symbol, style=mark.style),
        Text(one_line(key.target, 28)),
        Text(one_line(key.tool_set, 18)),
        Text(str(key.trial)),
        Text(how),
        Text(one_line(claim, 120)),
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").casefold()
    except OSError:
        return ""
