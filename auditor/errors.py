"""Errors, by who should read them.

AuditorError
├── UsageError           the operator erred: one line, exit code 2, no traceback
│   ├── ScenarioError    the scenario file is wrong; carries every mistake with its line
│   └── CapabilityError  the scenario asks a backend for something it cannot do
├── RunError             the machine or a file failed: one line, exit code 1
│   ├── RunLockedError   another process is writing to this run
│   ├── ProviderError    a language model's provider gave no reply
│   │   └── OutageError  … nor would it to any other request; a RunStoppedError, too
│   └── BudgetReachedError  a request was not made, because it could exceed a limit
├── RunStoppedError      no trial can go on, for a limit or an outage: one line, exit code 3
│   └── OutageError
└── AuditStoppedError    an audit stops between two steps because it was asked to

Trouble that the auditor (the agent) should read is a `tools.protocols.ToolError`.
"""

from dataclasses import dataclass


class AuditorError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(AuditorError):
    """The operator asked for something that cannot be; the message says what to do instead."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a file."""

    file: str
    line: int
    """1-based; 0 when the mistake is about the whole file."""
    column: int
    """1-based; 0 when the mistake is about the whole file."""
    what: str
    """What is wrong, and what to write instead."""

    def __str__(self) -> str:
        """Render as `file:line:column: what`, the form editors can jump to."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.what}"


class ScenarioError(UsageError):
    """A scenario file is wrong."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        super().__init__("\n".join(str(m) for m in self.mistakes))


class CapabilityError(UsageError):
    """A backend cannot do what a tool set needs."""

    def __init__(self, *, who: str, what: str, why: str, instead: str) -> None:
        super().__init__(f"{who} cannot {what}: {why}; {instead}")


class RunError(AuditorError):
    """A file or the machine failed."""


class RunLockedError(RunError):
    """Another process is writing to this run."""


class RunStoppedError(AuditorError):
    """No trial of the run can go on: a limit of the whole run was reached, or a server is away.

    Whatever runs inside a trial may raise it. The trial is not errored: it stays unfinished, and
    goes on from its last step when the run is continued.
    """


class AuditStoppedError(AuditorError):
    """An audit stops between two steps because it was asked to; it can be gone on with."""


class ProviderError(RunError):
    """A provider gave no reply, after as many retries as its fault deserves."""

    perhaps_paid: bool = False
    """Whether an attempt ended so that the provider may have charged for it."""


class OutageError(ProviderError, RunStoppedError):
    """A server gives no reply to anybody: it is away, or asks for another key, name or payment.

    Not the trial is at fault, and every other one would meet the same.
    """


class BudgetReachedError(RunError):
    """A request was not made, because it could exceed a limit; ends a trial, and is no fault."""

    def __init__(self, limit: str, what: str) -> None:
        self.limit = limit
        """Name of the limit, as a trial's `ended_by` gives it: "run_dollars", for example."""
        super().__init__(what)
