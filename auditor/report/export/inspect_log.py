"""Inspect logs of a run: one `.eval` file a tool set, a sample a trial.

An `.eval` file is a zip of JSON (log schema 2). Inspect itself compresses with zstd; both its
readers take deflate too, which the standard library writes. Two logs of one task id are taken for
retries of each other, so every tool set has a task id of its own.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditor.errors import RunError
from auditor.records import TrialStarted, TrialSummary
from auditor.report.export.files import filling, first_event, recorded
from auditor.report.export.inspect_sample import (
    SCORER,
    Json,
    identifier,
    model_name,
    sample_of,
    summary_of,
)
from auditor.report.rows import ALL, Row, table_rows
from auditor.run.record import RunRecord

_LOG_VERSION = 2
# The same run gives the same bytes, so entries do not carry the time of writing.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEASURES = ("top1", "false_alarm_clean", "false_alarm_decoy", "any10", "symptom_top1")


def write_inspect(record: RunRecord, files: Iterable[Path], out: Path) -> list[Path]:
    """Write the logs of a run and return their files; one trial is in memory at a time.

    Args:
        record: Of the run.
        files: Records of its trials, in any order.
        out: Folder, which must be there.

    Raises:
        RunError: When a file cannot be read or written.
    """
    rows: dict[str, list[tuple[Path, TrialStarted]]] = {}
    for path in files:
        started = first_event(path)
        if started is not None:
            rows.setdefault(started.key.tool_set, []).append((path, started))
    return [_write(_Log(record, name, some), out) for name, some in rows.items()]


def _write(log: "_Log", out: Path) -> Path:
    path = out / log.file_name
    try:
        with filling(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            _fill(archive, log)
    except ValueError as error:
        raise RunError(f"cannot write {path}: {error}") from error
    return path


def _fill(archive: zipfile.ZipFile, log: "_Log") -> None:
    def put(name: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        entry = zipfile.ZipInfo(name, _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, text.encode(errors="replace"))

    spec, plan = log.spec(), log.plan()
    put("_journal/start.json", {"version": _LOG_VERSION, "eval": spec, "plan": plan})
    listed: list[Json] = []
    summaries: list[TrialSummary] = []
    ended = log.created
    for trial in recorded(path for path, _ in log.files):
        sample = sample_of(trial, model=log.model, limits=log.limits)
        listed.append(summary_of(sample))
        summaries.append(trial.summary)
        ended = max(ended, trial.events[-1].at)
        put(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
    put("_journal/summaries/1.json", listed)
    put("summaries.json", listed)
    put("header.json", log.header(spec, plan, summaries, ended))


@dataclass(slots=True)
class _Log:
    """What stands once in a log."""

    record: RunRecord
    tool_set: str
    files: list[tuple[Path, TrialStarted]]
    """Records of its trials, and how each begins."""
    limits: Json = field(init=False)

    def __post_init__(self) -> None:
        budget = self.record.resolved.scenario.budget.model_dump(mode="json")
        self.limits = {name: value for name, value in budget.items() if value is not None}

    @property
    def task_id(self) -> str:
        """Id of the tool set within the run."""
        return identifier(self.record.run, self.tool_set, "task")

    @property
    def model(self) -> str:
        """Who audits, as a model is called."""
        auditor = self.record.resolved.scenario.auditor
        return model_name(self.files[0][1].auditor, auditor.model)

    @property
    def created(self) -> str:
        """When the run began."""
        return self.record.created

    @property
    def file_name(self) -> str:
        """Name by which logs are listed."""
        time = re.sub(r"[:.+]", "-", self.created[:19]) + "+00-00"
        return f"{time}_{_component(self.record.scenario)}_{self.task_id}.eval"

    def spec(self) -> Json:
        """Return what was asked."""
        targets = list(dict.fromkeys(one.key.target for _, one in self.files))
        judges = self.record.resolved.scenario.judge
        judge = model_name(judges.kind, judges.model)
        arguments = {"tool_set": self.tool_set, "run": self.record.run}
        return {
            "eval_id": identifier(self.record.run, self.tool_set, "eval"),
            "run_id": identifier(self.record.run),
            "created": self.created,
            "task": self.record.scenario,
            "task_id": self.task_id,
            "task_version": 0,
            "task_attribs": {},
            "task_args": arguments | {"seed": self.record.seed},
            "task_args_passed": arguments,
            "tags": [self.tool_set],
            "dataset": {
                "name": self.record.resolved.source.name,
                "samples": len(targets),
                "sample_ids": targets,
            },
            "model": self.model,
            "model_generate_config": {},
            "model_args": {},
            "model_roles": {
                "auditor": {"model": self.model, "config": {}, "args": {}},
                "judge": {"model": judge, "config": {}, "args": {}},
            },
            "config": {"epochs": max(one.key.trial for _, one in self.files) + 1},
            "packages": {"auditor": self.record.versions.get("auditor", "")},
            "metadata": {"budget": self.limits, "versions": dict(self.record.versions)},
        }

    def plan(self) -> Json:
        """Return the one step there is."""
        step = {"solver": "auditor", "params": {"tool_set": self.tool_set}, "params_passed": {}}
        return {"name": "plan", "steps": [step], "config": {}}

    def header(self, spec: Json, plan: Json, summaries: Sequence[TrialSummary], ended: str) -> Json:
        """Return the log without its samples; the order of its fields is part of the format."""
        unfinished = any(one.status == "unfinished" for one in summaries)
        return {
            "version": _LOG_VERSION,
            "status": "started" if unfinished else "success",
            "eval": spec,
            "plan": plan,
            "results": self._results(summaries),
            "stats": {
                "started_at": self.created,
                "completed_at": ended,
                "model_usage": {},
                "role_usage": {},
                "connection_limit_history": [],
            },
            "invalidated": False,
            "tags": [self.tool_set],
            "metadata": {},
        }

    def _results(self, summaries: Sequence[TrialSummary]) -> Json:
        scored = sum(one.verdict is not None for one in summaries)
        return {
            "total_samples": len(summaries),
            "completed_samples": sum(one.status in ("scored", "invalid") for one in summaries),
            "scores": [
                {
                    "name": SCORER,
                    "scorer": SCORER,
                    "scored_samples": scored,
                    "unscored_samples": len(summaries) - scored,
                    "params": {},
                    "metrics": self._metrics(summaries),
                }
            ],
        }

    def _metrics(self, summaries: Sequence[TrialSummary]) -> Json:
        """Return the rates of the table with the ends of their intervals; unknown ones not."""
        rows = table_rows(summaries, ceiling=self.record.resolved.ceiling)
        whole = next(row for row in rows if row.split == ALL and row.regime == ALL)
        found = _rates(whole)
        return {name: {"name": name, "value": value, "params": {}} for name, value in found.items()}


def _rates(row: Row) -> Mapping[str, float]:
    names = [f"{name}{end}" for name in _MEASURES for end in ("", "_low", "_high")]
    known = {name: getattr(row, name, None) for name in [*names, "corrected", "ceiling_top1"]}
    return {name: value for name, value in known.items() if value is not None}


def _component(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)
