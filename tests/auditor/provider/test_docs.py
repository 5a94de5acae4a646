"""The page on language models, executed."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from auditor.provider import make_provider
from auditor.scenario import load_scenario
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import CHAT, ask

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_scripts_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, usage = blocks("python")
    (tmp_path / "brain.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    listed = make_provider(LanguageModel(name="scripted/brain.py:replies")).complete(ask())
    assert listed.tool_uses[0].name == "chat"
    asked = make_provider(LanguageModel(name="scripted/brain.py:reply"))
    assert asked.complete(ask(tools=(CHAT,))).text == "I could use chat."
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(usage, "docs/providers.md", "exec"), {})
    assert printed.getvalue().startswith("I could use nothing. end")


def test_the_scenarios_of_the_page_are_valid(tmp_path: Path) -> None:
    roles, targets = blocks("yaml")
    rows = "tool_sets: {a: {tools: [chat, compare_with_baseline, complete_text]}}\n"
    path = tmp_path / "scenario.yaml"
    path.write_text(f"name: page\n{roles}\n{targets}\n{rows}")
    scenario = load_scenario(path)
    assert scenario.scenario.auditor.kind == "model"
    assert scenario.targets[0].model.continues_text


def test_every_field_of_a_cache_entry_s_key_is_on_the_page() -> None:
    from auditor.provider.cache import _NOT_DECISIVE

    for field in LanguageModel.model_fields.keys() - _NOT_DECISIVE - {"name"}:
        assert f"`{field}`" in PAGE
