"""Scenarios: what is audited, by whom, with which tools, and how it is scored."""

from auditor.scenario.loading import load_scenario
from auditor.scenario.schema import ResolvedScenario, Scenario, Suite
from auditor.scenario.shipped import shipped_scenarios

__all__ = ["ResolvedScenario", "Scenario", "Suite", "load_scenario", "shipped_scenarios"]
