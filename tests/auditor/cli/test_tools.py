"""`auditor tools`: the list, one tool, and their schemas."""

import json
from typing import TYPE_CHECKING

import pytest

from tools.registry import registered

if TYPE_CHECKING:
    from conftest import Call


def test_the_list_has_a_line_for_every_tool_with_what_it_needs(call: "Call") -> None:
    lines = {line.split()[0]: line for line in call("tools").out.splitlines()[1:]}
    assert set(lines) == set(registered())
    assert "baseline, chat" in lines["compare_with_baseline"]
    assert "nothing" in lines["read_result"]
    assert all(
        tool.description.split("\n")[0] in lines[tool.name] for tool in registered().values()
    )


def test_json_is_one_object_a_tool_with_its_schema(call: "Call") -> None:
    found = [json.loads(line) for line in call("tools", "--json").out.splitlines()]
    assert [one["name"] for one in found] == list(registered())
    for one in found:
        assert set(one) == {"name", "description", "source", "needs", "parameters"}
        assert one["parameters"] == registered()[one["name"]].parameters


@pytest.mark.parametrize("name", registered())
def test_one_tool_is_shown_with_every_parameter(call: "Call", name: str) -> None:
    shown = call("tools", name).out
    assert shown.startswith(f"{name}  (needs ")
    started = {line.split()[0] for line in shown.splitlines() if line.strip()}
    assert set(registered()[name].parameters["properties"]) <= started


def test_one_tool_as_json_is_one_line(call: "Call") -> None:
    (line,) = call("tools", "chat", "--json").out.splitlines()
    assert json.loads(line)["name"] == "chat"


def test_an_unknown_tool_is_one_line_that_helps(call: "Call") -> None:
    ended = call("tools", "chta")
    assert ended.code == 2
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert "did you mean 'chat'?" in line
