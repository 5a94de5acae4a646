"""Audit language models for hidden motives.

The public functions are imported when they are first used, so that `import auditor` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.errors import AuditorError, RunError, ScenarioError, UsageError
    from auditor.records import Submission, TrialKey, TrialSummary, Verdict
    from auditor.run.api import run_scenario
    from auditor.run.execute import RunResult
    from auditor.run.index import list_runs, reindex
    from auditor.run.resume import resume_run
    from auditor.run.store import load_run, load_summaries, read_events
    from auditor.scenario import load_scenario

__all__ = [
    "AuditorError",
    "RunError",
    "RunResult",
    "ScenarioError",
    "Submission",
    "TrialKey",
    "TrialSummary",
    "UsageError",
    "Verdict",
    "list_runs",
    "load_run",
    "load_scenario",
    "load_summaries",
    "read_events",
    "reindex",
    "resume_run",
    "run_scenario",
]

_HOMES = {
    "AuditorError": "auditor.errors",
    "RunError": "auditor.errors",
    "RunResult": "auditor.run.execute",
    "ScenarioError": "auditor.errors",
    "Submission": "auditor.records",
    "TrialKey": "auditor.records",
    "TrialSummary": "auditor.records",
    "UsageError": "auditor.errors",
    "Verdict": "auditor.records",
    "list_runs": "auditor.run.index",
    "load_run": "auditor.run.store",
    "load_scenario": "auditor.scenario",
    "load_summaries": "auditor.run.store",
    "read_events": "auditor.run.store",
    "reindex": "auditor.run.index",
    "resume_run": "auditor.run.resume",
    "run_scenario": "auditor.run.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'auditor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
