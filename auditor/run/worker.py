"""A worker process: takes names of trials on standard input, gives their events on standard output.

It is a program of its own, not a `multiprocessing` child, so that a script may call `auditor.run`
without guarding its main module. The parent alone writes records: a worker that outlives its
parent has nothing to spoil, and ends itself when its input closes.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from auditor.provider.factory import ProviderSettings
from auditor.records import TrialEvent, TrialKey
from auditor.run.plan import planned_trial
from auditor.scenario.schema import ResolvedScenario

READY = b"ready\n"
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
    providers: ProviderSettings = ProviderSettings()


def main() -> None:
    """Work until the input closes."""
    # The terminal sends an interrupt to all its processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lines = _lines(sys.stdin.buffer)
    setup = Setup.model_validate_json(lines.get())
    from auditor.run.trial import run_trial
    from auditor.target.pool import TargetPool

    def emit(event: TrialEvent) -> None:
        out.write(event.model_dump_json().encode() + b"\n")
        out.flush()

    with torch_threads(setup.threads):
        out.write(READY)
        out.flush()
        pool = TargetPool(providers=setup.providers)
        while True:
            planned = planned_trial(setup.resolved, TrialKey.parse(lines.get().decode().strip()))
            run_trial(planned, setup.resolved, pool=pool, emit=emit, checkpoints=setup.checkpoints)


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


def _lines(stream: BinaryIO) -> "queue.SimpleQueue[bytes]":
    """Read lines as they come; end this process, whatever it is doing, when there are no more."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


if __name__ == "__main__":
    main()
