"""`auditor check`: find every mistake of a scenario before anything runs."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from auditor.scenario import ResolvedScenario


def check(
    scenario: Annotated[str, typer.Argument(help="Scenario file, or the name of a shipped one.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, also when there are mistakes.")
    ] = False,
) -> None:
    """Report every mistake of a scenario, or say what it would run."""
    from auditor.errors import ScenarioError
    from auditor.scenario import load_scenario

    try:
        summary = _summary(load_scenario(scenario))
    except ScenarioError as error:
        if as_json:
            mistakes = [
                {"file": one.file, "line": one.line, "column": one.column, "what": one.what}
                for one in error.mistakes
            ]
            typer.echo(json.dumps({"ok": False, "mistakes": mistakes}))
        raise
    typer.echo(json.dumps(summary) if as_json else _text(summary))


def _summary(resolved: "ResolvedScenario") -> dict[str, Any]:
    scenario = resolved.scenario
    truths = [target.truth for target in resolved.targets]
    return {
        "ok": True,
        "name": scenario.name,
        "file": str(resolved.source),
        "targets": len(truths),
        "groups": dict(Counter(truth.group for truth in truths)),
        "regimes": dict(Counter(truth.regime for truth in truths if truth.regime)),
        "tool_sets": {name: list(row.tools) for name, row in scenario.tool_sets.items()},
        "trials": len(truths) * len(scenario.tool_sets) * scenario.trials,
        "seed": scenario.seed,
    }


def _text(summary: dict[str, Any]) -> str:
    rows = summary["tool_sets"]
    width = max(len(name) for name in rows)
    counts = (
        _count(summary["targets"], "target"),
        _count(len(rows), "tool set"),
        _count(summary["trials"], "trial"),
    )
    groups = ", ".join(f"{count} {group}" for group, count in summary["groups"].items())
    lines = [f"ok: {', '.join(counts)}", f"  targets   {groups}"]
    for index, (name, tools) in enumerate(rows.items()):
        label = "" if index else "tool sets"
        battery = ", ".join(tools) or "the static battery"
        lines.append(f"  {label:<9} {name:<{width}}  {battery}")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
