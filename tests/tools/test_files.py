"""Tools in files, and arguments that a row fixes."""

from pathlib import Path
from typing import Any

import pytest

from tools.files import ToolFileError, parse_ref
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import find, tool, tools_of_row

SHOUT = '''
from tools.protocols import ToolOutput
from tools.registry import tool

@tool(name={name!r})
def shout():
    def execute(ctx, *, text: str, times: int = 1):
        """Shout.

        Args:
            text: What.
            times: How often.
        """
        return ToolOutput(summary="", items=({{"text": text.upper() * times}},))
    return execute

number = 7
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SHOUT.format(name="shout"))
    return path


def called(one: Any, **arguments: Any) -> Any:
    ctx = ToolContext(target=None, baseline=None, corpus=None, seed=0)
    return one.call(ctx, arguments).items[0]["text"]


def test_a_tool_in_a_file_is_found_and_called(file: Path) -> None:
    found = find(f"{file}:shout")
    assert found.name == "shout"
    assert called(found, text="a", times=2) == "AA"
    assert find(f"{file}:shout") is found


def test_files_of_one_name_do_not_meet(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(SHOUT.format(name="whisper"))
    assert find(f"{other}:shout").name == "whisper"
    assert find(f"{file}:shout").name == "shout"


@pytest.mark.parametrize("name", ["chat", "mine.py", "a.py:", "a.py:b c", ":x", "package:tool"])
def test_only_a_file_with_a_name_is_a_tool_in_a_file(name: str) -> None:
    if ".py" in name:
        with pytest.raises(ToolFileError, match="names no tool"):
            parse_ref(name)
    else:
        assert parse_ref(name) is None


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "shout", "there is no file"),
        ("x = 1", "shout", "has no 'shout'"),
        (SHOUT.format(name="shout"), "number", "is no tool; put @tool"),
        (SHOUT.format(name="chat"), "shout", "called 'chat', as an installed tool is"),
        ("1 / 0", "shout", "fails when it is loaded: ZeroDivisionError: division by zero"),
        ("def", "shout", "fails when it is loaded: SyntaxError"),
        ("raise SystemExit(3)", "shout", "fails when it is loaded: SystemExit"),
        ("import nowhere_to_be_found", "shout", "ModuleNotFoundError"),
        (SHOUT.format(name="shout").replace("text: What.", ""), "shout", "needs an annotation"),
    ],
)
def test_a_file_that_gives_no_tool_is_refused_in_one_line(
    tmp_path: Path, content: str | None, name: str, said: str
) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ToolFileError) as caught:
        find(f"{path}:{name}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["a\0b.py", "x" * 5000 + ".py", "."])
def test_a_path_that_no_file_can_have_is_refused(path: str) -> None:
    with pytest.raises(ToolFileError):
        find(f"{path}:shout" if path != "." else "./:.py:shout")


def test_a_fixed_argument_is_passed_and_cannot_be_given(file: Path) -> None:
    (found,) = tools_of_row([f"{file}:shout"], {"shout": {"times": 3}})
    assert called(found, text="a") == "AAA"
    assert list(found.parameters["properties"]) == ["text"]
    with pytest.raises(ToolError, match="there is no times"):
        called(found, text="a", times=1)
    assert called(find(f"{file}:shout"), text="a") == "A", "the tool itself is as it was"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"time": 3}, "shout has no parameter 'time'; did you mean 'times'?"),
        ({"times": "3"}, "times: .*integer"),
        ({"text": None}, "text: .*string"),
    ],
)
def test_a_wrong_setting_is_refused(file: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        tools_of_row([f"{file}:shout"], {"shout": arguments})


def test_limits_hold_for_fixed_arguments_too() -> None:
    with pytest.raises(ToolError, match="less than or equal to 100"):
        find("batch_chat").with_fixed({"k": 101})
    assert find("batch_chat").with_fixed({"k": 100}).fixed == {"k": 100}


def test_a_tool_of_which_all_is_fixed_takes_nothing() -> None:
    def execute(ctx: ToolContext, *, n: int = 1) -> ToolOutput:
        """Count.

        Args:
            n: How many.
        """
        return ToolOutput(summary="", items=({"text": str(n)},))

    counting = tool(name="count")(lambda: execute).with_fixed({"n": 5})
    assert called(counting) == "5"
    assert counting.parameters["properties"] == {}
