"""The actor's side of a Ray run: models in memory, trials in threads, records on their way home."""

import os
import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditor.errors import AuditorError, AuditStoppedError, RunStoppedError
from auditor.provider.factory import ProviderSettings
from auditor.records import TrialEvent, TrialKey
from auditor.run import checkpoints
from auditor.run.plan import PlannedTrial
from auditor.run.stopping import reason_of
from auditor.run.store import parse_event
from auditor.run.worker import QUIET
from auditor.scenario.schema import Model, ResolvedScenario


@dataclass(frozen=True, slots=True)
class Hello:
    """What an actor says when it is there."""

    node: str
    """Host name."""
    version: str | None
    """Of this package."""
    mistakes: tuple[str, ...]
    """What the scenario names and this node lacks."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a trial says; plain values, which any version of Ray can carry."""

    what: Literal["event", "keep", "saved", "ended", "limit", "outage", "failed"]
    text: str | None = None
    """An event as JSON; why a trial begins anew, or why it ended without a seal."""
    n_events: int = 0
    content: bytes = b""
    """A checkpoint file."""


class Host:
    """Holds targets and readers, and runs trials on them."""

    def __init__(
        self, resolved: str, threads: int, *, saves: bool, providers: str | None = None
    ) -> None:
        """Read the scenario; models are loaded when they are first needed.

        Args:
            resolved: A `ResolvedScenario` as JSON.
            threads: Torch threads.
            saves: Whether trials keep checkpoints.
            providers: `ProviderSettings` as JSON; folders in it are those of each node.
        """
        os.environ.update(QUIET)
        import torch

        from auditor.target.batched import BatchingPool

        torch.set_num_threads(threads)
        self._resolved = ResolvedScenario.model_validate_json(resolved)
        settings = None if providers is None else ProviderSettings.model_validate_json(providers)
        self._pool = BatchingPool(providers=settings)
        self._stop = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix="auditor-") if saves else None

    def hello(self) -> Hello:
        """Say where it runs and what is missing there."""
        import socket

        from auditor.run.record import package_versions
        from auditor.target.preflight import preflight_model
        from auditor.target.reader_preflight import preflight_reader

        models = {
            model: None
            for target in self._resolved.targets
            for model in (target.model, target.baseline)
            if isinstance(model, Model)
        }
        mistakes = [what for model in models for what in preflight_model(model)]
        for reader in self._resolved.readers.values():
            mistakes += [flaw.what for flaw in preflight_reader(reader)]
        version = package_versions().get("auditor")
        return Hello(socket.gethostname(), version, tuple(dict.fromkeys(mistakes)))

    def stop(self) -> None:
        """Let all trials end after the steps that they are at."""
        self._stop.set()

    def trial(self, key: str, past: Sequence[str], saved: bytes | None) -> Iterator[Line]:
        """Run one trial, or go on with it; yield what it says as soon as it happens.

        Args:
            key: Its name.
            past: What earlier attempts recorded, events as JSON.
            saved: The checkpoint file that goes with it.
        """
        from auditor.run.plan import planned_trial

        planned = planned_trial(self._resolved, TrialKey.parse(key))
        folder = None if self._folder is None else Path(self._folder.name)
        if folder is not None and saved is not None:
            checkpoints.put(folder, planned.key, saved)
        lines: queue.SimpleQueue[Line | BaseException] = queue.SimpleQueue()
        journal = _Journal(lines, planned.key, [parse_event(line) for line in past], folder)
        run = threading.Thread(
            target=self._work, args=(planned, journal, folder), name=planned.key.stem, daemon=True
        )
        run.start()
        while True:
            line = lines.get()
            if isinstance(line, BaseException):
                raise line
            yield line
            if line.what not in ("event", "keep", "saved"):
                break
        if folder is not None:
            checkpoints.remove(checkpoints.checkpoint_path(folder, planned.key))

    def _work(self, planned: PlannedTrial, journal: "_Journal", folder: Path | None) -> None:
        from auditor.run.trial import run_trial

        last = Line("ended")
        try:
            run_trial(
                planned,
                self._resolved,
                pool=self._pool,
                journal=journal,
                checkpoints=folder,
                stop=self._stop.is_set,
            )
        except AuditStoppedError:
            journal.sync()
        except RunStoppedError as error:
            journal.sync()
            last = Line(reason_of(error), str(error))
        except AuditorError as error:
            last = Line("failed", str(error))
        except BaseException as error:
            journal.lines.put(error)
            return
        journal.lines.put(last)


class _Journal:
    """The record of one trial, kept by the driver.

    Whenever the driver's copy of the record is to be brought to disk, the checkpoint as it stands
    goes along. The driver so has a state that its record reaches, a step behind at most.
    """

    def __init__(
        self,
        lines: "queue.SimpleQueue[Line | BaseException]",
        key: TrialKey,
        past: Sequence[TrialEvent],
        folder: Path | None,
    ) -> None:
        self.lines, self._past = lines, past
        self._path = None if folder is None else checkpoints.checkpoint_path(folder, key)

    def past(self) -> Sequence[TrialEvent]:
        """Return what earlier attempts recorded."""
        return self._past

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        """Let the driver go on after the first `n_events` events."""
        self.lines.put(Line("keep", why_anew, n_events))

    def write(self, event: TrialEvent) -> None:
        """Send one event."""
        self.lines.put(Line("event", event.model_dump_json()))

    def sync(self, *, paid: bool = True) -> None:
        """Send the last state that was saved."""
        content = None if self._path is None else checkpoints.copy(self._path)
        if content:
            self.lines.put(Line("saved", content=content))
