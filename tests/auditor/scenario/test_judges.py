"""The judge block: who scores, and mistakes in saying so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake
from auditor.scenario import load_scenario

SCENARIO = """\
name: demo
targets:
  - suite: suites/suite.json
tool_sets:
  black_box: {tools: [chat]}
judge:
"""


@pytest.mark.parametrize(
    ("judge", "place", "what"),
    [
        ("  kind: model\n", (7, 9), "needs a model; add `model: {name: …}`"),
        ("  model: {name: anthropic/claude}\n", (7, 3), "write `kind: model`, or delete `model`"),
        ("  kind: rubric\n  protocol: game\n", (8, 3), "or delete `protocol`"),
        ("  votes: 3\n", (7, 3), "or delete `votes`"),
        ("  kind: model\n  model: {name: claude}\n", (8, 17), "write anthropic/MODEL, openai/"),
        (
            "  kind: model\n  model: {name: anthropic/x, key_env: sk-12}\n",
            (8, 39),
            "not the name of an environment variable",
        ),
        ("  kind: model\n  model: {name: hf/x}\n  protocol: auditbnch\n", (9, 13), "'auditbench'"),
        ("  kind: model\n  model: {name: hf/x}\n  votes: 16\n", (9, 10), "at most 15"),
        ("  kind: judge\n  protocol: game\n", (7, 9), "not one of rubric, model"),
    ],
)
def test_a_mistake_in_the_judge_is_reported_at_its_line(
    mistakes: Callable[[str], list[Mistake]], judge: str, place: tuple[int, int], what: str
) -> None:
    (found,) = mistakes(SCENARIO + judge)
    assert (found.line, found.column) == place
    assert what in found.what


def test_a_judge_that_is_a_model_is_loaded_with_what_motives_mean(
    write: Callable[[str], Path], folder: Path
) -> None:
    suite = folder / "suites" / "suite.json"
    text = suite.read_text().replace(
        '"ceiling"', '"descriptions": {"motive-1": "At length."}, "ceiling"'
    )
    suite.write_text(text)
    path = write(
        SCENARIO
        + "  kind: model\n  model: {name: anthropic/claude}\n  protocol: auditbench\n  votes: 3\n"
        + "  descriptions: {motive-0: Told here.}\n"
    )
    resolved = load_scenario(path)
    assert resolved.scenario.judge.protocol == "auditbench"
    assert resolved.descriptions == {"motive-0": "Told here.", "motive-1": "At length."}
