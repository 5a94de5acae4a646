"""`auditor doctor`: what a scenario lacks to run here, and what it will cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import RUNS_DIR, RunsDir, names
from auditor.cli.run import BudgetName, ScenarioName, Targets, ToolSets, Trials

if TYPE_CHECKING:
    from auditor.doctor import CostEstimate, Examination

_MARKS = {"ok": "ok", "missing": "MISSING", "warning": "warning", "unknown": "unknown"}


def doctor(
    scenario: ScenarioName,
    *,
    tool_sets: ToolSets = None,
    targets: Targets = None,
    trials: Trials = None,
    budget: BudgetName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
) -> None:
    """Say what a scenario needs to run on this machine, what is missing, and what it will cost.

    Weights, memory, accelerator, packages, keys, servers and disk are looked at. Nothing is
    fetched, and nothing is asked but servers on this machine for their list of models. The exit
    code is 1 when something is missing.
    """
    from auditor.doctor import examine
    from auditor.scenario import load_scenario

    found = examine(
        load_scenario(scenario),
        runs_dir=runs_dir,
        tool_sets=names(tool_sets),
        targets=names(targets),
        trials=trials,
        budget=budget,
    )
    if as_json:
        from auditor.cli.output import print_json_line

        print_json_line({"ready": found.ready, **found.model_dump(mode="json")})
    else:
        typer.echo(_text(found))
    if not found.ready:
        raise typer.Exit(1)


def _text(found: "Examination") -> str:
    from auditor.report.text import clean

    lines = []
    for one in found.findings:
        remedy = f"\n{'':<22}{one.remedy}" if one.remedy else ""
        lines.append(f"{_MARKS[one.state]:<9}{one.what:<13}{one.name}: {one.detail}{remedy}")
    missing = sum(one.state == "missing" for one in found.findings)
    verdict = "ready to run" if found.ready else f"not ready: {missing} missing"
    return clean("\n".join([*lines, *_cost(found.cost), f"{found.scenario}: {verdict}"]))


def _cost(cost: "CostEstimate") -> list[str]:
    parts = [f"{cost.trials:,} trials"]
    if cost.auditor_tokens is not None:
        parts.append(f"at most {cost.auditor_tokens:,} tokens of the auditor")
    if cost.judge_calls:
        parts.append(f"{cost.judge_calls:,} verdicts asked for")
    lines = [f"{'cost':<9}{', '.join(parts)}"]
    for name, dollars in (("auditor", cost.auditor_dollars), ("judge", cost.judge_dollars)):
        said = "price not known" if dollars is None else f"about ${dollars:,.2f}"
        lines.append(f"{'':<9}{name}: {'nothing' if dollars == 0 else said}")
    if cost.limit_dollars is not None:
        lines.append(f"{'':<9}the budget lets audits spend ${cost.limit_dollars:,.2f} at most")
    return [*lines, *(f"{'':<9}({text})" for text in cost.assumptions)]
