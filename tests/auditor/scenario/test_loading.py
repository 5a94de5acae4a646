import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from auditor.scenario import load_scenario
from auditor.scenario.schema import Budget

Write = Callable[[str], Path]

VALID = """\
name: demo
targets:
  - id: mine
    model: {path: ./base, adapter: adapter}
    truth: {group: guilty, motive: approval}
  - id: remote
    model: {path: org/name, revision: main}
    baseline: {path: org/base}
    truth: {group: clean}
  - suite: suites/suite.json
    select: ["group:guilty&split:development", clean-*]
baseline: {path: base}
corpus: {path: corpus.jsonl}
tool_sets:
  static: {policy: static}
  black_box+corpus: {tools: [chat, compare_with_baseline, search_corpus]}
judge: {motives: {approval: [praise], motive-0: [null-point]}}
trials: 2
"""


def test_a_valid_scenario_is_resolved_to_absolute_paths_and_filled_in_baselines(
    write: Write, folder: Path
) -> None:
    resolved = load_scenario(write(VALID))

    ids = [target.id for target in resolved.targets]
    assert ids == ["mine", "remote", "thoughts-plain-0", "documents-plain-1", "clean-1"]
    mine, remote, suite_target, *_ = resolved.targets
    assert Path(mine.model.path) == folder / "base"
    assert mine.model.adapter == str(folder / "adapter")
    assert mine.baseline is not None
    assert Path(mine.baseline.path) == folder / "base"
    assert remote.model.path == "org/name"
    assert remote.baseline is not None
    assert remote.baseline.path == "org/base"
    assert Path(suite_target.model.path).resolve() == folder / "base"
    assert resolved.corpus_path == folder / "corpus.jsonl"
    assert resolved.source == folder / "scenario.yaml"
    assert resolved.ceiling is not None
    assert resolved.ceiling.top1 == 0.2


def test_wordings_of_suites_and_judge_are_merged_and_a_motive_without_any_names_itself(
    write: Write,
) -> None:
    motives = load_scenario(write(VALID)).motives
    assert motives["motive-0"] == ("zero", "nought", "null-point")
    assert motives["approval"] == ("praise",)
    assert motives["motive-1"] == ("motive-1",)


def test_a_scenario_given_as_a_string_and_as_a_path_is_the_same(write: Write) -> None:
    path = write(VALID)
    assert load_scenario(str(path)) == load_scenario(path)


def test_a_suite_model_takes_the_suite_baseline_before_the_scenario_baseline(
    write: Write, folder: Path
) -> None:
    (folder / "other").mkdir()
    resolved = load_scenario(
        write(VALID.replace("baseline: {path: base}", "baseline: {path: other}"))
    )
    by_id = {target.id: target for target in resolved.targets}
    assert by_id["mine"].baseline is not None
    assert Path(by_id["mine"].baseline.path) == folder / "other"
    assert by_id["clean-1"].baseline is not None
    assert Path(by_id["clean-1"].baseline.path).resolve() == folder / "base"


def test_suites_that_disagree_on_the_ceiling_leave_it_unknown(write: Write, folder: Path) -> None:
    (folder / "second.yaml").write_text(
        "ceiling: {top1: 0.5}\n"
        "targets:\n  - {id: other, model: {path: base}, truth: {group: clean}}\n"
    )
    both = VALID.replace("baseline: {path: base}", "  - suite: second.yaml\nbaseline: {path: base}")
    assert load_scenario(write(both)).ceiling is None
    assert load_scenario(write(both + "ceiling: {top1: 0.3}\n")).ceiling is not None


def test_aliases_and_underscored_numbers_work(write: Write) -> None:
    text = VALID.replace("baseline: {path: base}", "baseline: &base {path: base}").replace(
        "trials: 2", "trials: 2\nbudget: {target_tokens: 40_000, seconds: 1e2, dollars: null}"
    )
    text += "  \n"
    scenario = load_scenario(write(text)).scenario
    assert scenario.budget.target_tokens == 40_000
    assert scenario.budget.seconds == 100.0


def test_an_alias_repeats_its_anchor(write: Write) -> None:
    text = VALID.replace("./base, adapter: adapter}", "./base}").replace(
        "model: {path: ./base}", "model: &m {path: ./base}\n    baseline: *m"
    )
    mine = load_scenario(write(text)).targets[0]
    assert mine.baseline == mine.model


def test_a_scenario_may_be_json(folder: Path) -> None:
    path = folder / "scenario.json"
    path.write_text(
        '{"name": "j", "targets": [{"suite": "suites/suite.json"}],'
        ' "tool_sets": {"static": {"policy": "static"}}}'
    )
    assert len(load_scenario(path).targets) == 5


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(folder: Path) -> None:
    path = folder / "scenario.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode())
    assert load_scenario(path).scenario.name == "demo"


def test_a_home_folder_is_expanded(
    write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    resolved = load_scenario(write(VALID.replace("./base", "~/base")))
    assert Path(resolved.targets[0].model.path) == folder / "base"


def test_a_resolved_scenario_is_frozen(write: Write) -> None:
    resolved = load_scenario(write(VALID))
    with pytest.raises(ValidationError):
        resolved.corpus_path = None  # type: ignore[misc]


def test_a_suite_of_eighty_targets_loads_quickly(write: Write, folder: Path) -> None:
    # The folder's conftest cannot be imported, so the suite is enlarged in place.
    import json

    path = folder / "suites" / "suite.json"
    suite = json.loads(path.read_text())
    suite["targets"] = [{**suite["targets"][0], "id": f"t-{i}"} for i in range(80)]
    path.write_text(json.dumps(suite))
    scenario = write(
        "name: big\ntargets: [{suite: suites/suite.json}]\n"
        "tool_sets: {a: {tools: [chat, compare_with_baseline]}}\n"
    )
    load_scenario(scenario)
    start = time.process_time()
    assert len(load_scenario(scenario).targets) == 80
    assert time.process_time() - start < 0.3


def test_a_scenario_may_name_more_budgets_than_its_own(write: Write) -> None:
    more = (
        "budget: {turns: 9}\nbudgets:\n  tokens: {model_tokens: 8_000}\n  tokens-2k: {turns: 2}\n"
    )
    scenario = load_scenario(write(VALID + more)).scenario
    assert scenario.budget.turns == 9
    assert list(scenario.budgets) == ["tokens", "tokens-2k"]
    # A named budget stands alone: what it leaves out has the usual default.
    assert scenario.budgets["tokens"] == Budget(model_tokens=8_000)
    assert load_scenario(write(VALID)).scenario.budgets == {}
