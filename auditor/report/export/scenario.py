"""The scenario that made a run, as a file that can be run again."""

from pathlib import Path
from typing import Any

import yaml

from auditor.report.text import one_line
from auditor.run.record import RunRecord
from auditor.scenario.models import absolute
from auditor.scenario.schema import ReaderSpec, ResolvedScenario

_HEAD = ("name", "description")
_COMMENT_CHARS = 400


def scenario_yaml(record: RunRecord) -> str:
    """Return a scenario with suites opened and paths absolute, and the command that runs it.

    The seed, the budget and the number of trials are those that the run was started with. Targets
    and tool sets are all there, whatever was chosen of them, because null readouts depend on which
    there are; the command chooses the same.
    """
    data = scenario_data(record.resolved)
    trials = record.options.get("trials")
    if trials:
        data["trials"] = trials
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return f"{_head(record)}{text}"


def scenario_data(resolved: ResolvedScenario) -> dict[str, Any]:
    """Return a scenario that resolves to the same, wherever its file lies."""
    scenario = resolved.scenario
    rows = scenario.tool_sets
    only = next(iter(scenario.readers), None) if len(scenario.readers) == 1 else None
    readers: dict[str, ReaderSpec] = {}
    for row, reader in resolved.readers.items():
        name = rows[row].reader or only if row in rows else None
        if name is not None:
            readers[name] = reader
    data = scenario.model_dump(mode="json", exclude_defaults=True)
    for name in ("targets", "baseline", "corpus", "readers", "probe", "sae", "oracle", "ceiling"):
        data.pop(name, None)
    head: dict[str, Any] = {name: data.pop(name, None) for name in _HEAD}
    found: dict[str, Any] = {
        **head,
        "targets": [_dump(target) for target in resolved.targets],
        "corpus": _path(resolved.corpus_path),
        "readers": {name: _dump(reader) for name, reader in readers.items()},
        "probe": _path(resolved.probe_path),
        "sae": _path(resolved.sae_path),
        "oracle": None if resolved.oracle is None else _dump(resolved.oracle),
        "ceiling": None if resolved.ceiling is None else _dump(resolved.ceiling),
        **data,
        "judge": {
            **data.get("judge", {}),
            "motives": {motive: list(words) for motive, words in resolved.motives.items()},
            **({"descriptions": dict(resolved.descriptions)} if resolved.descriptions else {}),
        },
        **resolved.blocks,
    }
    calibration = scenario.auditor.calibration
    if calibration is not None:
        place = absolute(calibration, resolved.source.parent)
        found["auditor"] = {**found.get("auditor", {}), "calibration": str(place)}
    return {name: value for name, value in found.items() if value not in (None, {})}


def _dump(block: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = block.model_dump(mode="json", exclude_defaults=True)
    return dumped


def _path(path: Path | None) -> dict[str, str] | None:
    return None if path is None else {"path": str(path)}


def _head(record: RunRecord) -> str:
    options = record.options
    words = ["auditor run FILE"]
    for name in ("tool_sets", "targets"):
        chosen = options.get(name)
        if chosen:
            words.append(f"--{name.replace('_', '-')} '{','.join(map(str, chosen))}'")
    command = one_line(" ".join(words), _COMMENT_CHARS)
    versions = " ".join(f"{name} {version}" for name, version in record.versions.items())
    return (
        f"# Scenario of run {record.run}, started {record.created[:19]} UTC. It tells what the "
        f"hidden motives are.\n# The same trials: {command}\n"
        f"# Versions: {one_line(versions, _COMMENT_CHARS)}\n"
    )
