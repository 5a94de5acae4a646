"""The examination as a whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.doctor.costs import estimate
from auditor.doctor.findings import Examination, Finding
from auditor.doctor.machine import disk_findings, memory_findings
from auditor.doctor.services import environment, roles, service_findings
from auditor.doctor.weights import language_model_part, look_up, parts_of, weight_findings
from auditor.run.plan import plan, with_budget
from auditor.scenario.schema import ResolvedScenario


def examine(
    resolved: ResolvedScenario,
    *,
    runs_dir: Path,
    tool_sets: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    trials: int | None = None,
    budget: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Examination:
    """Say what a run of these trials needs, and what of it this machine has.

    Nothing is fetched or written.

    Args:
        resolved: The scenario.
        runs_dir: Folder that would hold the run.
        tool_sets: Rows to run; None takes all.
        targets: Patterns on targets; None takes all.
        trials: Trials per target and tool set; None takes the scenario's number.
        budget: One of the scenario's named budgets; None takes its default.
        variables: Environment variables; None takes those of this process.

    Raises:
        UsageError: When a tool set, a pattern or the budget is unknown.
    """
    resolved = with_budget(resolved, budget)
    planned = plan(resolved, run="doctor", tool_sets=tool_sets, targets=targets, trials=trials)
    asked = roles(resolved, agents=any(one.tool_set.policy == "agent" for one in planned))
    local = [part for role in asked if (part := language_model_part(role.model)) is not None]
    found = [look_up(part) for part in dict.fromkeys([*parts_of(resolved, planned), *local])]
    findings: list[Finding] = [
        *weight_findings(found),
        *memory_findings(found),
        *service_findings(asked, environment() if variables is None else variables),
        *disk_findings(found, runs_dir=runs_dir),
    ]
    scenario = resolved.scenario
    return Examination(
        scenario=scenario.name,
        findings=tuple(findings),
        cost=estimate(planned, asked, budget=scenario.budget, judge=scenario.judge),
    )
