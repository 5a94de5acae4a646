"""Which trials a run consists of, in which order, and with which seeds."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, zip_longest
from typing import TypeVar

from auditor.errors import UsageError
from auditor.records import TrialKey
from auditor.scenario.schema import ResolvedScenario, SuiteRef, TargetSpec, ToolSet
from auditor.scenario.select import select
from nla_core.seeds import derive_seed

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTrial:
    """One trial to be done."""

    key: TrialKey
    seed: int
    """Depends on the scenario's seed, target, tool set and trial number; not on the run's name."""
    target: TargetSpec
    tool_set: ToolSet


def plan(
    resolved: ResolvedScenario,
    *,
    run: str,
    tool_sets: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    trials: int | None = None,
) -> list[PlannedTrial]:
    """Lay out the grid of targets x tool sets x trials.

    The order is a function of the scenario alone. Groups of targets take turns, so that the first
    trials show guilty and clean targets, and the tool sets of one target stand side by side.

    Args:
        resolved: The scenario.
        run: Name of the run.
        tool_sets: Names of the rows to run; None runs all of them.
        targets: Patterns as in a scenario's `select`; a target is taken when any matches it. None
            takes all.
        trials: Trials per target and tool set; None takes the scenario's number.

    Raises:
        UsageError: When a tool set is unknown, a pattern matches nothing, `trials` is below 1, or
            two trials would share a file name.
    """
    n_trials = resolved.scenario.trials if trials is None else trials
    if n_trials < 1:
        raise UsageError(f"trials must be 1 or more, got {n_trials}")
    rows = _chosen_tool_sets(resolved.scenario.tool_sets, tool_sets)
    columns = _interleaved(_chosen_targets(resolved.targets, targets))
    planned = [
        _planned(resolved, _key(run, target=target.id, row=row, trial=trial), target)
        for trial in range(n_trials)
        for target in columns
        for row in rows
    ]
    _refuse_shared_stems(planned)
    return planned


def with_budget(resolved: ResolvedScenario, name: str | None) -> ResolvedScenario:
    """Return the scenario with one of its named budgets as its budget; None changes nothing.

    Seeds do not depend on the budget, so that runs with different ones can be compared in pairs.

    Raises:
        UsageError: When the scenario has no budget of that name.
    """
    if name is None:
        return resolved
    known = resolved.scenario.budgets
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "the scenario names none"
        raise UsageError(f"unknown budget {name!r}: {_near(name, known)}{there}")
    changed = resolved.scenario.model_copy(update={"budget": known[name]})
    return resolved.model_copy(update={"scenario": changed})


def planned_trial(resolved: ResolvedScenario, key: TrialKey) -> PlannedTrial:
    """Plan the one trial that `key` names; it is the same in every run of the scenario.

    Raises:
        UsageError: When the scenario has no such target or tool set.
    """
    target = next((t for t in resolved.targets if t.id == key.target), None)
    if target is None or key.tool_set not in resolved.scenario.tool_sets:
        what = f"target {key.target!r}" if target is None else f"tool set {key.tool_set!r}"
        raise UsageError(f"scenario {resolved.scenario.name!r} has no {what}")
    return _planned(resolved, key, target)


def _planned(resolved: ResolvedScenario, key: TrialKey, target: TargetSpec) -> PlannedTrial:
    tool_set = resolved.scenario.tool_sets[key.tool_set]
    seed = trial_seed(
        resolved.scenario.seed, target=key.target, tool_set=key.tool_set, trial=key.trial
    )
    return PlannedTrial(key=key, seed=seed, target=target, tool_set=tool_set)


def trial_seed(seed: int, *, target: str, tool_set: str, trial: int) -> int:
    """Seed of one trial: `derive_seed` of the scenario's seed over what the trial audits."""
    return derive_seed(seed, "trial", target, tool_set, trial)


def _key(run: str, *, target: str, row: str, trial: int) -> TrialKey:
    try:
        return TrialKey(run=run, target=target, tool_set=row, trial=trial)
    except ValueError as error:
        raise UsageError(
            f"cannot name the trials of target {target!r}, tool set {row!r}, run {run!r}: names "
            "may hold letters, digits, '.', '_' and '-' (tool sets also '+')"
        ) from error


def _chosen_tool_sets(known: Iterable[str], wanted: Sequence[str] | None) -> list[str]:
    names = list(known)
    if wanted is None:
        return names
    for name in wanted:
        if name not in names:
            there = f"there are {', '.join(names)}"
            raise UsageError(f"unknown tool set {name!r}: {_near(name, names)}{there}")
    if not wanted:
        raise UsageError(f"no tool set chosen: there are {', '.join(names)}")
    return list(dict.fromkeys(wanted))


def _near(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _chosen_targets(
    known: Sequence[TargetSpec], patterns: Sequence[str] | None
) -> list[TargetSpec]:
    if patterns is None:
        return list(known)
    if not patterns:
        raise UsageError(f"no target chosen: {_available(known)}")
    chosen = select(known, SuiteRef(suite="", select=tuple(patterns)))
    if chosen.problems:
        raise UsageError(f"{chosen.problems[0][1]} ({_available(known)})")
    return chosen.targets


def _available(known: Sequence[TargetSpec], *, most: int = 8) -> str:
    names = ", ".join(target.id for target in known[:most])
    more = f" and {len(known) - most} more" if len(known) > most else ""
    groups = ", ".join(dict.fromkeys(f"group:{target.truth.group}" for target in known))
    return f"there are {names}{more}; {groups}"


def _interleaved(targets: Sequence[TargetSpec]) -> list[TargetSpec]:
    by_regime = _take_turns(targets, lambda target: target.truth.regime)
    return _take_turns(by_regime, lambda target: target.truth.group)


def _take_turns(items: Sequence[_T], kind: Callable[[_T], Hashable]) -> list[_T]:
    queues: dict[Hashable, list[_T]] = {}
    for item in items:
        queues.setdefault(kind(item), []).append(item)
    rounds = zip_longest(*([(item,) for item in queue] for queue in queues.values()), fillvalue=())
    return list(chain.from_iterable(chain.from_iterable(rounds)))


def _refuse_shared_stems(planned: Sequence[PlannedTrial]) -> None:
    # Compared without case, because some file systems do not tell cases apart.
    seen: dict[str, TrialKey] = {}
    for trial in planned:
        other = seen.setdefault(trial.key.stem.casefold(), trial.key)
        if other != trial.key:
            raise UsageError(
                f"trials {other} and {trial.key} would share the file {trial.key.stem}.jsonl: "
                "rename a target or a tool set"
            )
