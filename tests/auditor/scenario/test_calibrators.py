"""The calibrator that a scenario names: read, checked, and given to the auditor."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake
from auditor.investigator.ledger.calibration import Calibrator, Model
from auditor.investigator.policies import make_policy
from auditor.scenario import load_scenario
from auditor.scenario.schema import AuditorSpec

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
baseline: {path: base}
tool_sets: {row: {tools: [chat]}}
"""
NAMED = HEAD + "auditor:\n  calibration: mine.json\n"


@pytest.fixture
def calibrator(folder: Path) -> Calibrator:
    never = Model(intercept=-3.0, weights={"read": 1.0})
    found = Calibrator(
        hidden=never, right=never, threshold=0.9, false_alarm=0.05, fitted_on="my organisms"
    )
    (folder / "mine.json").write_text(found.model_dump_json())
    return found


def test_a_named_calibrator_is_what_the_auditor_gets(
    write: Callable[[str], Path], calibrator: Calibrator
) -> None:
    resolved = load_scenario(write(NAMED))
    assert resolved.calibrator == calibrator.model_dump()
    policy = make_policy("agent", resolved.scenario.auditor, ("chat",), resolved.calibrator)
    assert vars(policy)["_calibrator"] == calibrator


def test_without_one_it_is_the_shipped_one(write: Callable[[str], Path], folder: Path) -> None:
    resolved = load_scenario(write(HEAD))
    assert resolved.calibrator is None
    policy = make_policy("static", AuditorSpec(), (), resolved.calibrator)
    assert vars(policy)["_calibrator"] == Calibrator.shipped()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read 'mine.json'"),
        ("{}", "'mine.json' is not a calibrator: hidden: Field required"),
        ("not json", "'mine.json' is not a calibrator: Invalid JSON"),
    ],
)
def test_what_is_no_calibrator_is_refused_at_its_line(
    mistakes: Callable[[str], list[Mistake]], folder: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (folder / "mine.json").write_text(content)
    (found,) = mistakes(NAMED)
    assert said in found.what
    assert found.what.endswith("write one with `auditor calibrate RUN --out FILE`")
    assert found.line == len(NAMED.splitlines())
