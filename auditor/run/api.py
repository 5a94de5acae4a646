"""`auditor.run_scenario`: a scenario in, a run out."""

from collections.abc import Sequence
from pathlib import Path

from auditor.errors import UsageError
from auditor.provider.cache import CacheMode
from auditor.run.execute import RunOptions, RunResult, execute
from auditor.run.recorder import OnEvent
from auditor.scenario import ResolvedScenario, Scenario, load_scenario


def run_scenario(
    scenario: str | Path | ResolvedScenario,
    *,
    runs_dir: str | Path = "runs",
    run: str | None = None,
    tool_sets: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    trials: int | None = None,
    seed: int | None = None,
    budget: str | None = None,
    workers: int | None = None,
    cache: CacheMode = "off",
    concurrency: int | None = None,
    on_event: OnEvent | None = None,
) -> RunResult:
    """Run a scenario and return what its trials came to.

    Args:
        scenario: Path of a scenario file, name of a shipped one, or one already loaded.
        runs_dir: Folder of all runs.
        run: Name of the run; one that is there is continued. None makes a new name.
        tool_sets: Names of the rows to run; None runs all.
        targets: Patterns of the targets to audit; None audits all.
        trials: Trials per target and tool set, instead of the scenario's number.
        seed: Seed, instead of the scenario's.
        budget: Name of one of the scenario's `budgets`, instead of its `budget`.
        workers: Trials side by side; with 1 they run in this process. None chooses.
        cache: "read" takes replies of language models that an earlier run kept, "write" also keeps
            new ones, "off" does neither.
        concurrency: Trials at once in this process, whose model work shares batches.
        on_event: Called with every event of every trial, as it happens.

    Raises:
        UsageError: When the scenario or an option is wrong.
        RunError: When a file cannot be written, or another process works on the run.
        RunStoppedError: When a limit of the run was reached, or a model's server is away.
        KeyboardInterrupt: When the operator interrupts; the message says how to go on.
    """
    resolved = scenario if isinstance(scenario, ResolvedScenario) else load_scenario(scenario)
    options = RunOptions(
        runs_dir=Path(runs_dir),
        run=run,
        tool_sets=tool_sets,
        targets=targets,
        trials=trials,
        budget=budget,
        workers=workers,
        cache=cache,
        concurrency=concurrency,
    )
    return execute(with_seed(resolved, seed), options, on_event=on_event)


def with_seed(resolved: ResolvedScenario, seed: int | None) -> ResolvedScenario:
    """Return the scenario with another seed; None changes nothing.

    Raises:
        UsageError: When the seed is out of range.
    """
    if seed is None:
        return resolved
    try:
        changed = Scenario.model_validate(
            resolved.scenario.model_copy(update={"seed": seed}).model_dump()
        )
    except ValueError as error:
        raise UsageError(
            f"seed {seed!r} is out of range: use a whole number from 0 to 2**63 - 1"
        ) from error
    return resolved.model_copy(update={"scenario": changed})
