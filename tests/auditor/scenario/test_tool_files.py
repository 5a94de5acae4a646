"""Tools in files and settings of rows, as a scenario names them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake, ScenarioError, UsageError
from auditor.run.record import RunRecord, new_record
from auditor.scenario import load_scenario

HEAD = """\
name: mine
targets:
  - {id: a, model: {path: base}, truth: {group: clean}}
"""
TOOL = '''
from tools.protocols import ToolOutput
from tools.registry import tool

@tool(needs=("baseline",))
def shout():
    def execute(ctx, *, times: int = 1):
        """Shout.

        Args:
            times: How often.
        """
        return ToolOutput(summary="", items=())
    return execute
'''
BASELINE = "baseline: {path: base}\n"


@pytest.fixture(autouse=True)
def file(folder: Path) -> Path:
    path = folder / "mine.py"
    path.write_text(TOOL)
    return path


def row(tools: str, more: str = "") -> str:
    return f"tool_sets: {{r: {{tools: {tools}{more}}}}}\n"


def test_the_path_of_a_tool_is_made_absolute(write: Callable[[str], Path], file: Path) -> None:
    text = HEAD + BASELINE + row('[chat, "./mine.py:shout"]', ", settings: {shout: {times: 3}}")
    resolved = load_scenario(write(text))
    assert resolved.scenario.tool_sets["r"].tools == ("chat", f"{file}:shout")
    assert resolved.scenario.tool_sets["r"].settings == {"shout": {"times": 3}}
    assert list(resolved.tool_files) == [str(file)]
    again = type(resolved).model_validate_json(resolved.model_dump_json())
    assert again == resolved, "a worker gets all of it"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ('["./none.py:shout"]', "there is no file"),
        ('["./mine.py:nothing"]', "has no 'nothing'"),
        ('["./mine.py"]', "names no tool; write ./mine.py:NAME"),
        ('["./mine.py:shout", "mine.py:shout"]', "is listed twice"),
    ],
)
def test_a_file_without_the_tool_is_a_mistake_at_its_line(
    mistakes: Callable[[str], list[Mistake]], tools: str, said: str
) -> None:
    found = mistakes(HEAD + BASELINE + row(tools))
    assert said in found[0].what
    assert found[0].line == 5


def test_what_a_tool_in_a_file_needs_is_checked_like_any_other(
    mistake: Callable[[str], Mistake],
) -> None:
    assert "needs a baseline" in mistake(HEAD + row('["./mine.py:shout"]')).what


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{shuot: {times: 1}}", "no tool of this set is called 'shuot'; did you mean 'shout'?"),
        ("{shout: {tmes: 1}}", "shout has no parameter 'tmes'; did you mean 'times'?"),
        ("{shout: {times: many}}", "shout: times: "),
        ("{chat: {max_tokens: 5000}}", "chat: max_tokens: "),
        ("{shout: 3}", "should be a mapping"),
    ],
)
def test_a_wrong_setting_is_a_mistake(
    mistake: Callable[[str], Mistake], settings: str, said: str
) -> None:
    text = HEAD + BASELINE + row('[chat, "./mine.py:shout"]', f", settings: {settings}")
    what = mistake(text).what
    assert said in what or "mapping" in what


def test_a_run_is_not_continued_with_a_changed_tool(
    write: Callable[[str], Path], file: Path
) -> None:
    def recorded() -> RunRecord:
        text = HEAD + BASELINE + row('[chat, "./mine.py:shout"]')
        return new_record(load_scenario(write(text)), run="r", planned=1, options={})

    old = recorded()
    assert old.continued(recorded()).resolved.tool_files == old.resolved.tool_files
    file.write_text(TOOL + "# another version")
    with pytest.raises(UsageError, match="tool file"):
        old.continued(recorded())


@pytest.mark.parametrize(
    ("name", "is_sound"),
    [("anthropic/claude-haiku-4-5", True), ("scripted/none.py:x", False), ("gpt", False)],
)
def test_who_writes_is_checked_like_any_language_model(
    write: Callable[[str], Path], name: str, is_sound: bool
) -> None:
    text = HEAD + f"writer: {{name: '{name}'}}\n" + row("[chat]")
    if is_sound:
        assert load_scenario(write(text)).scenario.writer is not None
        return
    with pytest.raises(ScenarioError):
        load_scenario(write(text))
