import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.investigator.agent import prompt
from auditor.investigator.agent.prompt import system_prompt
from auditor.investigator.agent.reference import fill
from tools.registry import Registry, Tool, find

DOCS = Path(__file__).parents[4] / "docs" / "agents.md"


def test_the_page_is_up_to_date() -> None:
    page = DOCS.read_text("utf-8")
    assert page == fill(page), "run: python docs/generate.py"
    assert system_prompt([find("chat")]).split("\n\n")[0] in page
    assert "### submit" in page


def test_the_example_of_a_script_works(recorder: Any) -> None:
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[0]
    scope: dict[str, Any] = {"__name__": "example"}
    exec(code, scope)
    outcome = recorder.run(scope["policy"], tools=[find("chat")])
    assert (outcome.ended_by, outcome.submission.suspicion) == ("submit", 0.1)


@pytest.mark.parametrize("name", ["nla_compare", "probe", "search_corpus", "chat"])
def test_a_prompt_speaks_of_what_is_there_and_of_nothing_else(name: str) -> None:
    told = system_prompt([find(name), find("read_result")])
    needs = find(name).needs
    for text, need in (
        (prompt.BASELINE, "baseline"),
        (prompt.READINGS, "reader"),
        (prompt.PROBES, "probe"),
        (prompt.CORPUS, "corpus"),
    ):
        assert (text in told) == (need in needs)
    assert f"\n- {name}: " in told
    assert prompt.PREFILL not in told
    assert prompt.BRANCHES not in told
    assert prompt.SCENES not in told
    assert "{" not in told


def test_a_prompt_speaks_of_prefill_branches_and_scenes_where_tools_have_them(
    make_tool: Callable[..., Tool],
) -> None:
    tools = [make_tool("ask", prefill=""), make_tool("rewind"), find("simulate_scenario")]
    told = system_prompt(tools)
    assert prompt.SCENES in told
    assert prompt.PREFILL in told
    assert prompt.BRANCHES in told


@pytest.fixture
def make_tool() -> Callable[..., Tool]:
    def make(name: str, **parameters: Any) -> Tool:
        base = find("read_result")
        schema = {**base.parameters, "properties": dict.fromkeys(parameters, {"type": "string"})}
        return Tool(
            name=name, description=name, parameters=schema, needs=frozenset(),
            execute=base.execute, arguments=base.arguments,
        )  # fmt: skip

    return make


def test_no_prompt_asserts_a_motive() -> None:
    told = system_prompt(list(Registry.built_in().registered().values())).replace("\n", " ")
    assert "There may be one, and there may be none" in told
    assert "To accuse such a target is as wrong as to miss a motive" in told
