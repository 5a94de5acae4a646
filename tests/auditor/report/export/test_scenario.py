"""The scenario of a run comes back as a file that resolves to the same."""

from pathlib import Path

import pytest
import yaml

from auditor.report.export.scenario import scenario_data, scenario_yaml
from auditor.run.record import new_record
from auditor.scenario import load_scenario
from auditor.scenario.schema import ResolvedScenario

SAME = (
    *("targets", "corpus_path", "probe_path", "sae_path", "oracle", "tool_files"),
    *("calibrator", "readers", "motives", "descriptions", "ceiling"),
)
KEPT = ("name", "description", "tool_sets", "budget", "budgets", "trials", "seed")


@pytest.fixture(scope="module")
def shipped() -> ResolvedScenario:
    return load_scenario("sandbox-full")


def test_a_scenario_with_suites_readers_and_a_probe_comes_back_the_same(
    shipped: ResolvedScenario, tmp_path: Path
) -> None:
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(scenario_data(shipped)), encoding="utf-8")
    again = load_scenario(file)
    for name in SAME:
        assert getattr(again, name) == getattr(shipped, name), name
    for name in KEPT:
        assert getattr(again.scenario, name) == getattr(shipped.scenario, name), name


def test_every_part_of_a_resolved_scenario_is_held_against_its_copy() -> None:
    other = {"source", "scenario", "blocks"}
    assert set(SAME) == set(ResolvedScenario.model_fields) - other


def test_what_the_run_was_asked_for_stands_in_it(shipped: ResolvedScenario) -> None:
    options = {"trials": 7, "targets": ["split:held-out"], "tool_sets": ["nla", "static"]}
    text = scenario_yaml(new_record(shipped, run="r", planned=1, options=options))
    assert yaml.safe_load(text)["trials"] == 7
    command = next(line for line in text.splitlines() if "auditor run" in line)
    assert "--tool-sets 'nla,static' --targets 'split:held-out'" in command
    assert "hidden motives" in text.splitlines()[0]
