"""Hundreds of trials in this process, each in a thread, their model work in shared batches.

For trials that wait: on providers, on servers, or on one accelerator that they share. The loop, the
tools and the models under them are blocking calls, so a trial is a thread and not a coroutine. It
writes its own record, for bringing a step to disk is waiting as well. Only as many trials are alive
as run at once; of a finished one nothing stays here.
"""

import gc
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from auditor.errors import AuditStoppedError, RunStoppedError
from auditor.provider.factory import ProviderSettings
from auditor.records import TrialEvent, TrialKey, TrialSummary
from auditor.run import index
from auditor.run.executors.protocol import Mailbox, Told
from auditor.run.options import Hooks
from auditor.run.plan import PlannedTrial
from auditor.run.recorder import Recorder, TrialJournal, index_may_lag
from auditor.run.trial import run_trial
from auditor.scenario.schema import ResolvedScenario

_PATIENCE = 10.0
"""Seconds that an interrupted run waits for steps that have begun."""


class ThreadExecutor:
    """Runs up to `n` trials at once in threads of this process."""

    def __init__(
        self,
        n: int,
        resolved: ResolvedScenario,
        *,
        recorder: "SharedRecorder",
        hooks: Hooks,
        checkpoints: Path | None = None,
        providers: ProviderSettings | None = None,
    ) -> None:
        """Prepare; threads start with the first trials.

        Args:
            n: Most trials at once.
            resolved: The scenario.
            recorder: Writes the records.
            hooks: What the caller adds; a pool of its own is made to share batches.
            checkpoints: Folder for the loop's checkpoints; None keeps none.
            providers: What holds for models behind providers.
        """
        from auditor.target.batched import BatchingPool

        self._n, self._resolved, self._checkpoints = n, resolved, checkpoints
        self._recorder, self._hooks = recorder, hooks
        self._models = BatchingPool(inner=hooks.pool, providers=providers)
        self._mail: Mailbox[Told] = Mailbox()
        self._todo: queue.SimpleQueue[PlannedTrial] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        from auditor.investigator import loop

        loop.prepare()
        self._open.enter_context(_libraries_set_aside())
        return self

    def __exit__(self, *_: object) -> None:
        """Let every step that has begun come to its end, for some seconds, and stop there."""
        self._mail.close()
        self._models.close()
        until = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._open.close()

    def run(self, trials: Sequence[PlannedTrial]) -> Iterator[Told]:
        """Yield recorded events, trials mixed, until all have ended or a stop is asked for."""
        for trial in trials:
            self._todo.put(trial)
        self._threads = [
            # Daemons: a second interrupt must not wait for a reply that may take minutes.
            threading.Thread(target=self._drive, name=f"trials-{i}", daemon=True)
            for i in range(min(self._n, len(trials)))
        ]
        for thread in self._threads:
            thread.start()
        yield from self._mail.read(len(self._threads))

    def _is_over(self) -> bool:
        return self._mail.is_closed or bool(self._hooks.stop)

    def _drive(self) -> None:
        try:
            while not self._is_over():
                trial = self._todo.get_nowait()
                self._hooks.before_trial(trial)
                self._one(trial)
        except (queue.Empty, AuditStoppedError):
            pass
        except RunStoppedError as error:
            self._hooks.stop.request_for(error)
        except BaseException as error:
            self._mail.fail(error)
        self._mail.leave()

    def _one(self, trial: PlannedTrial) -> None:
        run_trial(
            trial,
            self._resolved,
            pool=self._models,
            journal=_Journal(self, trial.key),
            checkpoints=self._checkpoints,
            policy=self._hooks.policy,
            stop=self._is_over,
        )

    def _tell(self, key: TrialKey, event: TrialEvent) -> None:
        if self._hooks.on_event is not None:
            self._mail.put(Told(key, event))
        elif self._mail.is_closed:
            raise AuditStoppedError("the run is over")


@contextmanager
def _libraries_set_aside() -> Iterator[None]:
    """Let the garbage collector pass over what is loaded by now.

    It would look through all of it from time to time, and meanwhile no trial could go on: with
    libraries of 300,000 objects, for a tenth of a second.
    """
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


class SharedRecorder(Recorder):
    """A recorder for many threads: each writes its own trial, and one keeps the index for all.

    The index is a copy that may lag, and trials that end together are one change of it.
    """

    def __init__(self, run_dir: Path, saved: Path) -> None:
        """Begin with no trial open; see `Recorder`. It tells nobody."""
        super().__init__(run_dir, saved)
        self._runs_dir = run_dir.parent
        self._sealed: queue.SimpleQueue[TrialSummary | None] = queue.SimpleQueue()
        self._indexer = threading.Thread(target=self._keep_index, name="index", daemon=True)
        self._indexer.start()

    def close(self, *keys: TrialKey) -> None:
        """Close the records of these trials; or of all, and bring the index up to date."""
        super().close(*keys)
        if not keys:
            self._sealed.put(None)
            self._indexer.join()

    def _index(self, summary: TrialSummary) -> None:
        self._sealed.put(summary)

    def _keep_index(self) -> None:
        found: list[TrialSummary] = []
        while True:
            summary = self._sealed.get()
            if summary is not None:
                found.append(summary)
            if summary is None or self._sealed.empty():
                with index_may_lag():
                    index.upsert_trials(self._runs_dir, found)
                found = []
            if summary is None:
                return


class _Journal(TrialJournal):
    """Writes in the trial's thread, and tells the run's."""

    def __init__(self, owner: ThreadExecutor, key: TrialKey) -> None:
        super().__init__(owner._recorder, key)
        self._owner = owner

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        super().keep(n_events, why_anew=why_anew)
        for event in self._recorder.events(self._key):
            self._owner._tell(self._key, event)

    def write(self, event: TrialEvent) -> None:
        super().write(event)
        self._owner._tell(self._key, event)
