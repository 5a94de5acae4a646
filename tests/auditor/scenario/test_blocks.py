"""Blocks that installed packages add to scenario.yaml."""

import json
import sys
from pathlib import Path

import pytest

from auditor.cli import main
from auditor.errors import ScenarioError, UsageError
from auditor.run.api import with_seed
from auditor.scenario import load_scenario
from auditor.scenario.schema import ResolvedScenario

MODULE = '''
from pydantic import Field
from auditor.scenario.schema import Block

class Weather(Block):
    """What the weather tool looks at."""

    city: str
    """Where."""
    days: int = Field(default=3, gt=0)
    """How far ahead."""

no_block = 3
'''
VALID = """\
name: demo
targets: [{suite: suites/suite.json}]
tool_sets: {black_box: {tools: [chat]}}
weather: {city: Rome}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package with these entry points, as `name = object` lines."""

    def add(*entries: str) -> None:
        site = tmp_path / "site"
        info = site / "weather-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "weather_of_tests.py").write_text(MODULE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[auditor.blocks]", *entries]))
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "weather_of_tests", raising=False)

    yield add
    sys.modules.pop("weather_of_tests", None)


def test_an_added_block_is_checked_and_kept(install, folder: Path) -> None:
    install("weather = weather_of_tests:Weather")
    path = folder / "scenario.yaml"
    path.write_text(VALID)
    resolved = load_scenario(path)
    assert resolved.blocks == {"weather": {"city": "Rome", "days": 3}}
    assert ResolvedScenario.model_validate_json(resolved.model_dump_json()) == resolved
    assert with_seed(resolved, 5).blocks == resolved.blocks


def test_mistakes_in_an_added_block_have_places(install, folder: Path) -> None:
    install("weather = weather_of_tests:Weather")
    path = folder / "scenario.yaml"
    path.write_text(VALID.replace("city: Rome", "cty: Rome, days: 0"))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert [(one.line, one.column) for one in caught.value.mistakes] == [(4, 10), (4, 11), (4, 28)]
    assert "did you mean 'city'" in str(caught.value)


def test_without_its_package_a_block_is_an_unknown_key(folder: Path) -> None:
    path = folder / "scenario.yaml"
    path.write_text(VALID)
    with pytest.raises(ScenarioError, match=":4:1: unknown key 'weather'"):
        load_scenario(path)


def test_the_json_schema_describes_added_blocks(
    install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("weather = weather_of_tests:Weather")
    with pytest.raises(SystemExit):
        main(["schema"])
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["weather"]["description"] == "What the weather tool looks at."
    assert schema["$defs"]["Weather"]["properties"]["city"]["description"] == "Where."


@pytest.mark.parametrize(
    "entry", ["weather = weather_of_tests:no_block", "budget = weather_of_tests:Weather"]
)
def test_a_block_that_is_none_or_takes_a_key_of_the_core_is_refused(
    install, folder: Path, entry: str
) -> None:
    install(entry)
    path = folder / "scenario.yaml"
    path.write_text(VALID)
    with pytest.raises(UsageError, match="uninstall"):
        load_scenario(path)
