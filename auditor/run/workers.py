"""The parent's side of worker processes: hand out trials, gather events, replace the dead."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from auditor.errors import RunError
from auditor.records import SealedEvent, TrialEvent
from auditor.run.plan import PlannedTrial
from auditor.run.store import parse_event
from auditor.run.trial import error_events, started_event
from auditor.run.worker import QUIET, READY, Setup

ATTEMPTS = 2
"""How often a trial is begun before it counts as errored because its worker died."""
_LOG_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class Begin:
    """A trial begins, perhaps for the second time; what came of it before is void."""

    trial: PlannedTrial


@dataclass(frozen=True, slots=True)
class Happened:
    """A trial's next event."""

    trial: PlannedTrial
    event: TrialEvent


class WorkerDiedError(Exception):
    """A worker process ended while it had work."""


class WorkerPool:
    """Runs trials in `n` worker processes."""

    def __init__(self, n: int, setup: Setup, *, logs: Path) -> None:
        """Prepare `n` workers; their error output goes to files in `logs`."""
        self._setup = setup
        self._stopping = False
        self._messages: queue.SimpleQueue[Begin | Happened | Exception | None]
        self._messages = queue.SimpleQueue()
        self._todo: queue.SimpleQueue[PlannedTrial] = queue.SimpleQueue()
        self._workers = [_Worker(setup, logs / f"worker-{i}.log") for i in range(n)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.stop()

    def run(self, trials: Sequence[PlannedTrial]) -> Iterator[Begin | Happened]:
        """Yield what happens, trials side by side, until all have ended.

        Raises:
            RunError: When a worker cannot even start.
        """
        for trial in trials:
            self._todo.put(trial)
        for worker in self._workers:
            threading.Thread(target=self._drive, args=(worker,), daemon=True).start()
        working = len(self._workers)
        while working:
            message = self._messages.get()
            if message is None:
                working -= 1
            elif isinstance(message, Exception):
                raise message
            else:
                yield message

    def _drive(self, worker: "_Worker") -> None:
        try:
            while not self._stopping:
                self._attempt(worker, self._todo.get_nowait())
        except queue.Empty:
            worker.stop()
        except Exception as error:
            self._messages.put(error)
        self._messages.put(None)

    def _attempt(self, worker: "_Worker", trial: PlannedTrial) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            began, events = time.monotonic(), list[TrialEvent]()
            self._messages.put(Begin(trial))
            try:
                for event in worker.run(trial):
                    events.append(event)
                    self._messages.put(Happened(trial, event))
                return
            except WorkerDiedError as error:
                if self._stopping:
                    return
                if attempt == ATTEMPTS:
                    self._bury(trial, events, error, worker, time.monotonic() - began)

    def _bury(
        self,
        trial: PlannedTrial,
        events: Sequence[TrialEvent],
        error: WorkerDiedError,
        worker: "_Worker",
        seconds: float,
    ) -> None:
        last: list[TrialEvent] = [] if events else [started_event(trial, self._setup.resolved)]
        message = f"{error} on each of {ATTEMPTS} attempts"
        last += error_events(events, message=message, details=worker.log_tail(), seconds=seconds)
        for event in last:
            self._messages.put(Happened(trial, event))


class _Worker:
    """One worker process, started when first needed and started again after it died."""

    def __init__(self, setup: Setup, log: Path) -> None:
        self._setup, self._log = setup, log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopped = self._died = False

    def run(self, trial: PlannedTrial) -> Iterator[TrialEvent]:
        """Yield the trial's events, `sealed` last.

        Raises:
            WorkerDiedError: When the process ends before.
            RunError: When it cannot start.
        """
        process = self._started()
        self._send(process, str(trial.key).encode())
        while True:
            line = self._receive(process)
            try:
                event = parse_event(line)
            except ValidationError:
                raise self._death(process) from None
            yield event
            if isinstance(event, SealedEvent):
                return

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
            self._send(process, self._setup.model_dump_json().encode())
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
            process.stdin.write(line + b"\n")
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
