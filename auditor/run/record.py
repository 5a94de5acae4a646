"""The record of a run as a whole: what was asked, of which scenario, with which versions."""

import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

from pydantic import Field

from auditor.errors import UsageError
from auditor.records import SCHEMA_VERSION, Record, TrialKey
from auditor.scenario.schema import ResolvedScenario

_PACKAGES = ("auditor", "torch", "transformers", "peft", "langgraph", "numpy")
_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Launch(Record):
    """Which part of the grid was asked for when the run was started once."""

    targets: tuple[str, ...]
    """Ids."""
    tool_sets: tuple[str, ...]
    trials: int
    """Trials per target and tool set."""

    @classmethod
    def of(cls, keys: Sequence[TrialKey]) -> Self:
        """Describe a grid by its trials."""
        return cls(
            targets=tuple(dict.fromkeys(key.target for key in keys)),
            tool_sets=tuple(dict.fromkeys(key.tool_set for key in keys)),
            trials=1 + max(key.trial for key in keys),
        )


class RunRecord(Record):
    """What `run.json` holds. It contains the truth: only judge and report may read it."""

    schema_version: int = SCHEMA_VERSION
    run: str
    """Name of the run, which is also its folder's."""
    scenario: str
    """Name of the scenario."""
    seed: int
    """Seed that all trials' seeds derive from."""
    created: str
    """UTC time, ISO 8601."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the operator asked for, the last time the run was started."""
    planned: int = 0
    """Trials planned, the last time the run was started."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and of the packages that decide what is sampled."""
    resolved: ResolvedScenario
    """The scenario with all defaults filled in, and its ceiling."""
    launches: tuple[Launch, ...] = ()
    """What was asked for at each start, repetitions left out; a run is finished when all of it
    is. Empty in runs of older versions."""

    def continued(self, newer: Self) -> Self:
        """Return the record of this run after it is started once more.

        Targets, tool sets and trials may be added. What decides the outcome of trials that may
        already be there must be as it was.

        Raises:
            UsageError: When it is not.
        """
        for what, before, now in self._fixed(newer):
            if before != now:
                raise UsageError(
                    f"run {self.run!r} was started with another {what}: take it back, or choose "
                    "another name with --run"
                )
        launches = tuple(dict.fromkeys((*self.launches, *newer.launches)))
        n_asked = len(asked_trials(self.run, launches))
        return newer.model_copy(
            update={
                "created": self.created,
                "planned": max(self.planned, newer.planned, n_asked),
                "launches": launches,
                "resolved": _union(self.resolved, newer.resolved),
            }
        )

    def _fixed(self, newer: Self) -> list[tuple[str, object, object]]:
        old, new = self.resolved, newer.resolved
        fixed: list[tuple[str, object, object]] = [
            ("scenario", self.scenario, newer.scenario),
            ("seed", self.seed, newer.seed),
            ("auditor", old.scenario.auditor, new.scenario.auditor),
            ("calibration", old.calibrator, new.calibrator),
            ("writer", old.scenario.writer, new.scenario.writer),
            ("judge", _judged_by(old), _judged_by(new)),
            (self._budget_words(), old.scenario.budget, new.scenario.budget),
            ("corpus", old.corpus_path, new.corpus_path),
        ]
        rows = old.scenario.tool_sets
        for name in rows.keys() & new.scenario.tool_sets.keys():
            fixed.append((f"tool set {name!r}", rows[name], new.scenario.tool_sets[name]))
            reader = old.readers.get(name), new.readers.get(name)
            fixed.append((f"reader of tool set {name!r}", *reader))
        if None not in (old.probe_path, new.probe_path):
            fixed.append(("probe", old.probe_path, new.probe_path))
        for path in old.tool_files.keys() & new.tool_files.keys():
            fixed.append((f"tool file {path}", old.tool_files[path], new.tool_files[path]))
        if None not in (old.sae_path, new.sae_path):
            fixed.append(("sparse autoencoder", old.sae_path, new.sae_path))
        if None not in (old.oracle, new.oracle):
            fixed.append(("activation oracle", old.oracle, new.oracle))
        targets = {target.id: target for target in old.targets}
        for target in new.targets:
            fixed.append((f"target {target.id!r}", targets.get(target.id, target), target))
        return fixed

    def _budget_words(self) -> str:
        name = self.options.get("budget")
        return "budget" if name is None else f"budget (--budget {name})"


def asked_trials(run: str, launches: Iterable[Launch]) -> list[TrialKey]:
    """Return every trial that was asked for at some start, once, in the order of the starts."""
    return list(
        dict.fromkeys(
            TrialKey(run=run, target=target, tool_set=tool_set, trial=trial)
            for launch in launches
            for trial in range(launch.trials)
            for target in launch.targets
            for tool_set in launch.tool_sets
        )
    )


def new_record(
    resolved: ResolvedScenario,
    *,
    run: str,
    planned: int,
    options: dict[str, Any],
    launch: Launch | None = None,
) -> RunRecord:
    """Describe a run that is about to start."""
    return RunRecord(
        run=run,
        scenario=resolved.scenario.name,
        seed=resolved.scenario.seed,
        created=utc_now(),
        options=options,
        planned=planned,
        versions=package_versions(),
        resolved=resolved,
        launches=() if launch is None else (launch,),
    )


def default_run_name(scenario: str, taken: Sequence[str]) -> str:
    """Name a run after its scenario and the time, with a number when that is taken."""
    stem = f"{re.sub(r'[^A-Za-z0-9._-]', '-', scenario)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{stem}-{n}" if n > 1 else stem for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def check_run_name(name: str) -> str:
    """Return `name` when it can be a folder and part of a trial key.

    Raises:
        UsageError: When it cannot.
    """
    if not _RUN_NAME.fullmatch(name):
        raise UsageError(
            f"cannot call a run {name!r}: use up to 128 letters, digits, '.', '_' and '-', and "
            "begin with a letter, a digit or '_'"
        )
    return name


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that decide what is sampled."""
    return dict(_package_versions())


@cache
def _package_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    """The time now, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _judged_by(resolved: ResolvedScenario) -> tuple[object, ...]:
    return resolved.scenario.judge, resolved.motives, resolved.descriptions


def _union(old: ResolvedScenario, new: ResolvedScenario) -> ResolvedScenario:
    ids = {target.id for target in new.targets}
    rows = old.scenario.tool_sets | new.scenario.tool_sets
    return new.model_copy(
        update={
            "readers": old.readers | new.readers,
            "probe_path": new.probe_path or old.probe_path,
            "sae_path": new.sae_path or old.sae_path,
            "oracle": new.oracle or old.oracle,
            "tool_files": old.tool_files | new.tool_files,
            "targets": (*new.targets, *(t for t in old.targets if t.id not in ids)),
            "scenario": new.scenario.model_copy(update={"tool_sets": rows}),
        }
    )
