"""Language models in scenario files: what is refused when the file is read, and where."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake
from auditor.scenario import load_scenario
from auditor.scenario.schema import ServedModel

Mistakes = Callable[[str], list[Mistake]]

HERE = """\
name: demo
targets:
  - id: mine
    model: {path: ./base}
    truth: {group: clean}
tool_sets:
  black_box: {tools: [chat]}
"""
SERVED = """\
name: demo
targets:
  - id: mine
    model: {name: "openai/m@http://localhost:8000/v1"}
    baseline: {name: "openai/b@http://localhost:8000/v1"}
    truth: {group: clean}
tool_sets:
  black_box: {tools: [chat, compare_with_baseline]}
"""
BRAIN = "reply = ['Hi']\n"


@pytest.fixture(autouse=True)
def brain(folder: Path) -> None:
    (folder / "brain.py").write_text(BRAIN)


def test_paths_in_names_are_relative_to_the_file(folder: Path, write: Callable) -> None:
    auditor = 'auditor: {kind: model, model: {name: "scripted/brain.py:reply"}}\n'
    judge = 'judge: {kind: model, model: {name: "hf/org/name"}}\n'
    scenario = load_scenario(write(HERE + auditor + judge)).scenario
    assert scenario.auditor.model is not None
    assert scenario.auditor.model.name == f"scripted/{folder / 'brain.py'}:reply"
    assert scenario.judge.model is not None
    assert scenario.judge.model.name == "hf/org/name"


def test_targets_and_baselines_may_be_behind_a_provider(folder: Path, write: Callable) -> None:
    (target,) = load_scenario(write(SERVED)).targets
    assert isinstance(target.model, ServedModel)
    assert isinstance(target.baseline, ServedModel)


def test_a_suite_s_targets_may_be_too(folder: Path, write: Callable) -> None:
    (folder / "far").mkdir()
    (folder / "far" / "brain.py").write_text(BRAIN)
    (folder / "far" / "suite.yaml").write_text(
        'targets: [{id: a, model: {name: "scripted/brain.py:reply"}, truth: {group: clean}}]\n'
    )
    text = "name: demo\ntargets: [{suite: far/suite.yaml}]\ntool_sets: {a: {tools: [chat]}}\n"
    (target,) = load_scenario(write(text)).targets
    assert isinstance(target.model, ServedModel)
    assert target.model.name == f"scripted/{folder / 'far' / 'brain.py'}:reply"


CASES = [
    ("auditor without model", HERE + "auditor: {kind: model}\n", (8, 17), "an auditor of this kind needs a model"),
    ("judge without model", HERE + "judge: {kind: model}\n", (8, 15), "a judge of this kind needs a model"),
    ("model of the ledger", HERE + 'auditor: {model: {name: anthropic/m}}\n', (8, 11), "kind ledger takes no model"),
    ("unknown scheme", HERE + "auditor: {kind: model, model: {name: azure/m}}\n", (8, 38), "azure/m"),
    ("unknown field", HERE + "auditor: {kind: model, model: {name: anthropic/m, max_token: 3}}\n", (8, 51), "did you mean 'max_tokens'"),
    ("bad address", HERE + 'auditor: {kind: model, model: {name: "openai/m@http://u:p@h/v1"}}\n', (8, 38), "no user, password or query"),
    ("no script", HERE + 'judge: {kind: model, model: {name: "scripted/none.py:x"}}\n', (8, 36), "there is no script"),
    ("no local model", HERE + "judge: {kind: model, model: {name: hf/./none}}\n", (8, 36), "knows no tools"),
    ("no price for a trial", HERE + "auditor: {kind: model, model: {name: anthropic/unheard-of}}\nbudget: {dollars: 2}\n", (9, 19), "write `price: {input"),
    ("no price for a named budget", HERE + "auditor: {kind: model, model: {name: anthropic/unheard-of}}\nbudgets:\n  a: {dollars: 2}\n", (10, 16), "price of anthropic/unheard-of"),
    ("no price for a run", SERVED + "run_budget: {dollars: 2}\n", (9, 23), "price of openai/m@"),
    ("no price of a target for a trial", SERVED + "budget: {dollars: 2}\n", (9, 19), "price of openai/m@"),
    ("a run budget of zero", HERE + "run_budget: {dollars: 0}\n", (8, 23), "greater than 0"),
    ("a target's unknown field", SERVED.replace('v1"}\n    baseline', 'v1", pth: x}\n    baseline'), (4, 56), "unknown key 'pth'"),
    ("a target's bad number", SERVED.replace('v1"}\n    baseline', 'v1", timeout: no}\n    baseline'), (4, 65), "expected a number"),
    ("a target that is here", SERVED.replace("openai/m@http://localhost:8000/v1", "hf/base"), (4, 19), "is written as `path: base`"),
    ("text that Claude continues", SERVED.replace('"openai/m@http://localhost:8000/v1"', "anthropic/m, continues_text: true"), (4, 48), "does not continue raw text"),
    ("activations", SERVED.replace("[chat,", "[chat, probe,"), (8, 29), "probe"),
    ("raw text", SERVED.replace("[chat,", "[chat, complete_text,"), (8, 29), "needs raw text to be continued, and target 'mine' or its baseline is behind a provider; let a server"),
    ("user turns", SERVED.replace("[chat,", "[chat, sample_user,"), (8, 29), "needs turns of the user to be sampled"),
    ("the battery", SERVED.replace("{tools: [chat, compare_with_baseline]}", "{policy: static}"), (8, 3), "the static battery needs"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place", "what"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_mistake_is_told_at_its_place(
    mistakes: Mistakes, text: str, place: tuple[int, int], what: str
) -> None:
    found = [(one.line, one.column) for one in mistakes(text) if what in one.what]
    assert place in found, mistakes(text)


def test_every_tool_that_needs_activations_is_refused_with_a_way_out(mistakes: Mistakes) -> None:
    from tools.registry import registered

    needy = [tool.name for tool in registered().values() if "activations" in tool.needs]
    assert needy
    for name in needy:
        found = mistakes(SERVED.replace("[chat,", f"[chat, {name},"))
        assert any(
            f"tool {name!r} needs activations" in one.what and "run the model here" in one.what
            for one in found
        ), found


def test_a_server_that_continues_text_may_be_asked_to(write: Callable) -> None:
    text = SERVED.replace('v1"}', 'v1", continues_text: true}')
    text = text.replace("[chat,", "[chat, complete_text,")
    assert load_scenario(write(text)).targets[0].model.continues_text
