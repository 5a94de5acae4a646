"""The parent's side of worker processes: hand out trials, gather events, replace the dead."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from auditor.errors import RunError, RunStoppedError
from auditor.records import SealedEvent, TrialEvent
from auditor.run.plan import PlannedTrial
from auditor.run.stopping import Stop, stopped_for
from auditor.run.store import parse_event
from auditor.run.worker import ASKS, OK, QUIET, READY, STOP, Note, Setup

ATTEMPTS = 2
"""How often a trial is begun before it counts as errored because its worker died."""
_LOG_TAIL = 2_000
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Begin:
    """A trial begins, perhaps for the second time."""

    trial: PlannedTrial


@dataclass(frozen=True, slots=True)
class Keep:
    """The record of a trial is to be cut after its first events."""

    trial: PlannedTrial
    n_events: int
    why_anew: str | None


@dataclass(frozen=True, slots=True)
class Happened:
    """A trial's next event."""

    trial: PlannedTrial
    event: TrialEvent


@dataclass(frozen=True, slots=True)
class Sync:
    """The record of a trial is to be brought to disk."""

    trial: PlannedTrial


@dataclass(frozen=True, slots=True)
class Died:
    """A trial has taken its worker with it once too often."""

    trial: PlannedTrial
    why: str
    log: str
    seconds: float


Message = Begin | Keep | Happened | Sync | Died


class WorkerDiedError(Exception):
    """A worker process ended while it had work."""


class _UnsealedError(Exception):
    """A trial ended without a seal, as it was asked to."""


class WorkerPool:
    """Runs trials in `n` worker processes."""

    def __init__(
        self,
        n: int,
        setup: Setup,
        *,
        logs: Path,
        stop: Stop | None = None,
        before_trial: Callable[[PlannedTrial], None] = lambda trial: None,
    ) -> None:
        """Prepare `n` workers.

        Args:
            n: How many.
            setup: What they are told first.
            logs: Folder for files with their error output.
            stop: Once it is asked for, workers finish the steps that they are at, and no more.
            before_trial: Called, from any thread, before a trial is handed out.
        """
        self._setup, self._before_trial = setup, before_trial
        # One that nobody has asked is false.
        self._stop = Stop() if stop is None else stop
        self._stopping = False
        # A `None` says that a worker has no more to do; a bare `Stop`, that it is asked for.
        self._messages: queue.SimpleQueue[_Asked | Exception | Stop | None] = queue.SimpleQueue()
        self._todo: queue.SimpleQueue[PlannedTrial] = queue.SimpleQueue()
        self._workers = [_Worker(setup, logs / f"worker-{i}.log") for i in range(n)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.stop()

    def run(self, trials: Sequence[PlannedTrial]) -> Iterator[Message]:
        """Yield what happens, trials side by side, until all have ended or a stop is asked for.

        A worker that waits for what a message asks goes on when the next message is taken.

        Raises:
            RunError: When a worker cannot start, or cannot write a checkpoint.
        """
        for trial in trials:
            self._todo.put(trial)
        # `put` may be called from a signal handler while this thread waits in `get`.
        self._stop.listen(lambda: self._messages.put(self._stop))
        for worker in self._workers:
            threading.Thread(target=self._drive, args=(worker,), daemon=True).start()
        working = len(self._workers)
        while working:
            message = self._messages.get()
            if message is None:
                working -= 1
            elif isinstance(message, Stop):
                for worker in self._workers:
                    worker.finish_step()
            elif isinstance(message, Exception):
                raise message
            else:
                yield message.what
                message.done.set()

    def _drive(self, worker: "_Worker") -> None:
        try:
            while not (self._stopping or self._stop):
                trial = self._todo.get_nowait()
                self._before_trial(trial)
                self._attempt(worker, trial)
        except (queue.Empty, _UnsealedError):
            pass
        except RunStoppedError as error:
            self._stop.request_for(error)
        except Exception as error:
            self._messages.put(error)
        worker.stop()
        self._messages.put(None)

    def _attempt(self, worker: "_Worker", trial: PlannedTrial) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            began = time.monotonic()
            # Taken only after all that the attempt before this one sent is written.
            self._wait(Begin(trial))
            try:
                for told in worker.run(trial):
                    self._heed(worker, trial, told)
                return
            except WorkerDiedError as error:
                if self._stopping or self._stop:
                    raise _UnsealedError from error
                if attempt == ATTEMPTS:
                    why = f"{error} on each of {ATTEMPTS} attempts"
                    seconds = time.monotonic() - began
                    self._put(Died(trial, why, worker.log_tail(), seconds))

    def _heed(self, worker: "_Worker", trial: PlannedTrial, told: TrialEvent | Note) -> None:
        if not isinstance(told, Note):
            self._put(Happened(trial, told))
        elif told.what == "failed":
            raise RunError(told.why)
        elif told.what in ("limit", "outage"):
            raise stopped_for(told.what, told.why)
        elif told.what == "stopped":
            raise _UnsealedError
        else:
            ask = Keep(trial, told.n_events, told.why) if told.what == "keep" else Sync(trial)
            self._wait(ask)
            worker.answer()

    def _put(self, message: Message) -> "_Asked":
        asked = _Asked(message)
        self._messages.put(asked)
        return asked

    def _wait(self, message: Message) -> None:
        asked = self._put(message)
        while not asked.done.wait(_PATIENCE):
            if self._stopping:
                raise _UnsealedError


class _Asked:
    """A message, and whether the one who reads them is done with it."""

    def __init__(self, what: Message) -> None:
        self.what = what
        self.done = threading.Event()


class _Worker:
    """One worker process, started when first needed and started again after it died."""

    def __init__(self, setup: Setup, log: Path) -> None:
        self._setup, self._log = setup, log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stopped = self._died = self._finishing = False

    def run(self, trial: PlannedTrial) -> Iterator[TrialEvent | Note]:
        """Yield the trial's events, `sealed` last, and what the worker asks in between.

        Raises:
            WorkerDiedError: When the process ends before.
            RunError: When it cannot start.
        """
        process = self._started()
        if self._finishing:  # asked for while there was no process to tell
            self._send(process, STOP)
        self._send(process, str(trial.key).encode() + b"\n")
        while True:
            line = self._receive(process)
            try:
                told = Note.model_validate_json(line[1:]) if line[:1] == ASKS else parse_event(line)
            except ValidationError:
                raise self._death(process) from None
            yield told
            if isinstance(told, SealedEvent):
                return

    def answer(self) -> None:
        """Say that what was asked is done.

        Raises:
            WorkerDiedError: When the process has ended.
        """
        if self._process is not None:
            self._send(self._process, OK)

    def finish_step(self) -> None:
        """Let the process end its trial after the step that it is at."""
        self._finishing = True
        with suppress(WorkerDiedError):
            if self._process is not None:
                self._send(self._process, STOP)

    def stop(self) -> None:
        """End the process; nothing that it does matters to the records any more."""
        with self._lock:
            self._stopped = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if not self._died:
            self._log.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """The end of what the process wrote to its error output."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
        except OSError:
            return ""

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        try:
            process = self._spawn()
        except OSError as error:
            raise RunError(f"a worker process cannot start: {error}") from error
        try:
            self._send(process, self._setup.model_dump_json().encode() + b"\n")
            ready = self._receive(process)
        except WorkerDiedError as error:
            if self._stopped:
                raise
            raise RunError(self._cannot_start(error)) from error
        if ready != READY:
            raise RunError(self._cannot_start(self._death(process)))
        return process

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self._lock, self._log.open("wb") as log:
            if self._stopped:
                raise WorkerDiedError("the workers were stopped")
            self._process = subprocess.Popen(
                # -P: a folder in the way must not shadow a package; the path is the parent's.
                [sys.executable, "-P", "-m", "auditor.run.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(self._setup.threads),
            )
            return self._process

    def _cannot_start(self, error: WorkerDiedError) -> str:
        said = self.log_tail().strip().splitlines()
        return f"a worker process cannot start: {said[-1] if said else error} (see {self._log})"

    def _send(self, process: "subprocess.Popen[bytes]", line: bytes) -> None:
        assert process.stdin is not None
        try:
            with self._writing:
                process.stdin.write(line)
                process.stdin.flush()
        except OSError:
            raise self._death(process) from None

    def _receive(self, process: "subprocess.Popen[bytes]") -> bytes:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._death(process)
        return line

    def _death(self, process: "subprocess.Popen[bytes]") -> WorkerDiedError:
        if not self._stopped:
            self._died = True
        process.kill()
        return WorkerDiedError(f"the worker process {_how_it_ended(process.wait())}")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**os.environ, **QUIET, **counts, "PYTHONPATH": path}
