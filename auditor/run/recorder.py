"""Writes what happens in a run: a trial's file first, then the index, then whoever listens."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import RunError
from auditor.records import SealedEvent, TrialEvent, TrialKey, TrialSummary
from auditor.run import checkpoints, index
from auditor.run.store import TrialWriter, read_events, summarise, trial_path

RUN_LIMIT = "run_"
"""Begins the name of a limit in `ended_by` that is the run's, and not the trial's own."""
OnEvent = Callable[[TrialKey, TrialEvent], None]
_log = logging.getLogger(__name__)


class Recorder:
    """The one writer of a run's records, for trials side by side."""

    def __init__(self, run_dir: Path, saved: Path, on_event: OnEvent | None = None) -> None:
        """Begin with no trial open.

        Args:
            run_dir: Folder of the run.
            saved: Folder of the checkpoints; that of a trial goes when the trial is sealed.
            on_event: Called with every event after it is written. Of a trial that goes on it is
                told from the beginning.
        """
        self._run_dir, self._saved, self._on_event = run_dir, saved, on_event
        self._open: dict[TrialKey, tuple[TrialWriter, list[TrialEvent]]] = {}
        self.n_sealed = 0
        self.limit: str | None = None
        """Name of the run's limit that ended a trial, once one has."""
        self._counting = threading.Lock()

    def journal(self, key: TrialKey) -> "TrialJournal":
        """Return the record of one trial."""
        return TrialJournal(self, key)

    def past(self, key: TrialKey) -> list[TrialEvent]:
        """Return what is recorded of a trial that is not sealed.

        Raises:
            RunError: When the record is damaged or cannot be read.
        """
        path = trial_path(self._run_dir, key)
        return read_events(path) if path.exists() else []

    def keep(self, key: TrialKey, n_events: int, *, why_anew: str | None = None) -> None:
        """Open a trial's record for writing after its first `n_events` events."""
        self.close(key)
        if why_anew is not None:
            _log.warning("trial %s begins anew: %s", key.stem, why_anew)
        events = self.past(key)[:n_events] if n_events else []
        self._open[key] = TrialWriter(trial_path(self._run_dir, key), keep=n_events), events
        for event in events:
            self._tell(key, event)

    def write(self, key: TrialKey, event: TrialEvent) -> None:
        """Record the next event of a trial."""
        writer, events = self._open[key]
        writer.write(event)
        events.append(event)
        if isinstance(event, SealedEvent):
            del self._open[key]
            with self._counting:
                self.n_sealed += 1
            checkpoints.remove(checkpoints.checkpoint_path(self._saved, key))
            summary = summarise(events)
            if summary.ended_by is not None and summary.ended_by.startswith(RUN_LIMIT):
                self.limit = summary.ended_by.removeprefix(RUN_LIMIT)
            self._index(summary)
        self._tell(key, event)

    def sync(self, key: TrialKey) -> None:
        """Return once what is recorded of a trial would survive a power cut."""
        self._open[key][0].sync()

    def events(self, key: TrialKey) -> Sequence[TrialEvent]:
        """Return the events so far of a trial that is open."""
        return tuple(self._open[key][1]) if key in self._open else ()

    def close(self, *keys: TrialKey) -> None:
        """Close the records of these trials, or of all; what is not sealed stays unfinished."""
        for key in keys or tuple(self._open):
            if key in self._open:
                self._open.pop(key)[0].close()

    def _index(self, summary: TrialSummary) -> None:
        with index_may_lag():
            index.upsert_trials(self._run_dir.parent, [summary])

    def _tell(self, key: TrialKey, event: TrialEvent) -> None:
        if self._on_event is not None:
            self._on_event(key, event)


class TrialJournal:
    """The record of one trial, in its file."""

    def __init__(self, recorder: Recorder, key: TrialKey) -> None:
        self._recorder, self._key = recorder, key

    def past(self) -> Sequence[TrialEvent]:
        """Return what earlier attempts recorded."""
        self._recorder.close(self._key)
        return self._recorder.past(self._key)

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        """Go on after the first `n_events` events."""
        self._recorder.keep(self._key, n_events, why_anew=why_anew)

    def write(self, event: TrialEvent) -> None:
        """Append one event."""
        self._recorder.write(self._key, event)

    def sync(self, *, paid: bool = True) -> None:
        """Bring the record to disk, if something in it was paid for."""
        if paid:
            self._recorder.sync(self._key)


@contextmanager
def index_may_lag() -> Iterator[None]:
    """The index is a copy; that it cannot be written is no reason to stop audits."""
    try:
        yield
    except RunError as error:
        _log.warning("%s; `auditor reindex` brings the index up to date", error)
