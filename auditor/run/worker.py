"""A worker process: takes names of trials on standard input, gives their events on standard output.

It is a program of its own, not a `multiprocessing` child, so that a script may call `auditor.run`
without guarding its main module. The parent alone writes records: a worker that outlives its
parent has nothing to spoil, and ends itself when its input closes. Where a worker must know that
the record is cut or on disk, it asks the parent and waits: lines that begin with `!` are such
questions, or say how a trial ended without a seal.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel

from auditor.errors import AuditorError, AuditStoppedError, RunStoppedError
from auditor.provider.factory import ProviderSettings
from auditor.records import TrialEvent, TrialKey
from auditor.run.plan import planned_trial
from auditor.run.stopping import Stop, reason_of
from auditor.run.store import read_events
from auditor.scenario.schema import ResolvedScenario

READY = b"ready\n"
OK = b"ok\n"
STOP = b"stop\n"
ASKS = b"!"
"""Begins a line that is not an event: a `Note` follows."""
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Environment in which the libraries under the targets keep the terminal free."""


class Setup(BaseModel):
    """The first line that a worker reads."""

    resolved: ResolvedScenario
    threads: int
    checkpoints: Path | None
    trials: Path | None = None
    """Folder of the trials' records, where earlier attempts are read; None begins all anew."""
    providers: ProviderSettings = ProviderSettings()


class Note(BaseModel):
    """What a worker says beside events."""

    what: Literal["keep", "sync", "stopped", "limit", "outage", "failed"]
    n_events: int = 0
    why: str | None = None


class PipeJournal:
    """The record of one trial, kept by the parent."""

    def __init__(
        self, path: Path | None, send: Callable[[bytes], None], answered: Callable[[], object]
    ) -> None:
        self._path, self._send, self._answered = path, send, answered

    def past(self) -> Sequence[TrialEvent]:
        """Return what earlier attempts recorded; the parent has written all of it."""
        return [] if self._path is None or not self._path.exists() else read_events(self._path)

    def keep(self, n_events: int, *, why_anew: str | None = None) -> None:
        """Let the parent go on after the first `n_events` events."""
        self._ask(Note(what="keep", n_events=n_events, why=why_anew))

    def write(self, event: TrialEvent) -> None:
        """Send one event."""
        self._send(event.model_dump_json().encode() + b"\n")

    def sync(self, *, paid: bool = True) -> None:
        """Let the parent bring the record to disk."""
        self._ask(Note(what="sync"))

    def _ask(self, note: Note) -> None:
        self._send(ASKS + note.model_dump_json().encode() + b"\n")
        self._answered()


def main() -> None:
    """Work until the input closes."""
    # The terminal sends an interrupt to all its processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    stop = Stop()
    lines = _lines(sys.stdin.buffer, stop)
    setup = Setup.model_validate_json(lines.get())
    from auditor.run.trial import run_trial
    from auditor.target.pool import TargetPool

    def send(line: bytes) -> None:
        out.write(line)
        out.flush()

    with torch_threads(setup.threads):
        send(READY)
        pool = TargetPool(providers=setup.providers)
        while True:
            planned = planned_trial(setup.resolved, TrialKey.parse(lines.get().decode().strip()))
            path = setup.trials and setup.trials / f"{planned.key.stem}.jsonl"
            run = partial(run_trial, planned, setup.resolved, pool=pool, stop=stop.__bool__)
            journal = PipeJournal(path, send, lines.get)
            note = _unsealed(partial(run, journal=journal, checkpoints=setup.checkpoints))
            if note is not None:
                send(ASKS + note.model_dump_json().encode() + b"\n")


def _unsealed(run: Callable[[], Any]) -> Note | None:
    """Run a trial; say why it ended when it is not sealed."""
    try:
        run()
    except AuditStoppedError:
        return Note(what="stopped")
    except RunStoppedError as error:
        return Note(what=reason_of(error), why=str(error))
    except AuditorError as error:
        return Note(what="failed", why=str(error))
    return None


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block.

    The order in which threads add numbers up changes their last bits, so the same number must be
    used wherever the same samples are wanted.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lines(stream: BinaryIO, stop: Stop) -> "queue.SimpleQueue[bytes]":
    """Read lines as they come; end this process, whatever it is doing, when there are no more."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            if line == STOP:
                stop.request("interrupt")
            else:
                lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


if __name__ == "__main__":
    main()
