"""Trials as some judge scored them, for commands that show or compare verdicts."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from auditor.cli.find import find_run
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.records import TrialKey, TrialSummary
    from auditor.report.labels import Label


class Labelled(NamedTuple):
    """Labels, and the trials that they are of."""

    summaries: "list[TrialSummary]"
    labels: "list[Label]"


def summaries_of(run_dir: Path, judge: str | None) -> "list[TrialSummary]":
    """Return a run's trials with the verdicts of its record, or of judgements of this name.

    Raises:
        UsageError: When there are no such judgements.
        RunError: When a file cannot be read.
    """
    from auditor.run.judgements import find_judgements, judged_by
    from auditor.run.store import load_summaries

    found = load_summaries(run_dir)
    return found if judge is None else judged_by(found, find_judgements(run_dir, judge))


def labelled_trials(
    path: Path, *, run_dir: Path | None, runs_dir: Path, judge: str | None
) -> Labelled:
    """Read a file of labels and the trials that it labels.

    Args:
        path: The file.
        run_dir: The run that all labels must be of; None takes the runs that they name.
        runs_dir: Where those are.
        judge: Name of judgements; None takes the verdicts of the record.

    Raises:
        UsageError: With every mistake of the file at its line.
    """
    from auditor.report.labels import read_labels

    known: dict[str, dict[TrialKey, TrialSummary]] = {}

    def trials_of(run: str) -> "dict[TrialKey, TrialSummary] | str":
        if run_dir is not None and run != run_dir.name:
            return f"trial of run {run!r}, and the labels are to be of {run_dir.name!r}"
        if run not in known:
            try:
                folder = run_dir or find_run(run, runs_dir)
                known[run] = {one.key: one for one in summaries_of(folder, judge)}
            except UsageError as error:
                return str(error)
        return known[run]

    def check(key: "TrialKey") -> str:
        trials = trials_of(key.run)
        if isinstance(trials, str):
            return trials
        trial = trials.get(key)
        if trial is None:
            return f"run {key.run!r} has no trial {key.target}/{key.tool_set}/{key.trial}"
        if trial.group not in ("guilty", "symptom"):
            return f"its target is {trial.group}, and nobody has to read a report to judge it"
        return ""

    labels = read_labels(path, check=check)
    wanted = {label.key for label in labels}
    summaries = [one for trials in known.values() for key, one in trials.items() if key in wanted]
    return Labelled(summaries, labels)
