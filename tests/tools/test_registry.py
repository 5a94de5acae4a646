import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import get_args

import pytest

from tools.protocols import Capability, ToolContext, ToolError, ToolOutput
from tools.registry import (
    GROUP,
    NEEDS,
    DuplicateToolError,
    Registry,
    UnknownToolError,
    find,
    registered,
    tool,
)

BUILT_IN = Registry.built_in().registered()


def entry(name, value):
    return EntryPoint(name, value, GROUP)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_tool_documents_itself_and_each_parameter(name):
    one = find(name)
    assert one.name == name
    assert one.description.split("\n")[0].endswith(".")
    assert one.needs <= NEEDS
    assert one.parameters["additionalProperties"] is False
    assert all(part["description"] for part in one.parameters["properties"].values())


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_tool_says_its_source_its_cost_and_what_it_misses(name):
    one = find(name)
    assert one.source.endswith(".")
    for note in ("Cost", "Misses"):
        assert re.search(rf"\n\n{note}: .+\.($|\n)", one.description), note
    assert not re.search(r"\bCosts? the\b", one.description), "its cost stands in its own section"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_tool_refuses_a_parameter_that_it_does_not_have(name, refusal):
    assert "there is no nonsense" in refusal(name, {"nonsense": 1})


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_tool_refuses_arguments_that_are_not_json(name, refusal):
    assert "not plain JSON" in refusal(name, {"prompts": {1, 2}})


def test_all_tools_are_listed_in_order_of_name():
    assert list(registered()) == sorted(registered())
    assert set(BUILT_IN) <= set(registered())


def test_an_unknown_name_gives_the_nearest_and_all_names():
    with pytest.raises(UnknownToolError, match="did you mean 'chat'.*sample_user, search_corpus"):
        find("chatt")
    with pytest.raises(
        ValueError, match="^no tool is called 'zzz': tools are activation_diff, .*search_corpus"
    ):
        find("zzz")


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(DuplicateToolError, match=r"two tools are called 'chat': a:b and c:d"):
        Registry([entry("chat", "a:b"), entry("chat", "c:d")])


def test_the_same_tool_listed_twice_is_one():
    again = Registry([entry("chat", "tools.chat:chat")] * 2)
    assert list(again.registered()) == ["chat"]


def test_an_entry_that_is_not_the_tool_it_says_is_refused():
    with pytest.raises(TypeError, match="not a tool called 'talk'"):
        Registry([entry("talk", "tools.chat:chat")]).find("talk")
    with pytest.raises(TypeError, match="not a tool called 'json'"):
        Registry([entry("json", "json:dumps")]).find("json")


def test_a_plugin_comes_through_the_door_of_the_built_in_tools(tmp_path, monkeypatch):
    (tmp_path / "shouting_plugin.py").write_text(
        "from tools.protocols import ToolOutput\n"
        "from tools.registry import tool\n"
        "@tool()\n"
        "def shout():\n"
        "    def execute(ctx, *, text: str):\n"
        '        """Shout.\n\n        Args:\n            text: What.\n        """\n'
        "        return ToolOutput(summary='', items=({'text': text.upper()},))\n"
        "    return execute\n"
    )
    info = tmp_path / "shouting_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nshout = shouting_plugin:shout\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.discover()
    assert {*BUILT_IN, "shout"} <= set(registry.registered())
    ctx = ToolContext(target=None, baseline=None, corpus=None, seed=0)
    assert registry.find("shout").call(ctx, {"text": "hi"}).items == ({"text": "HI"},)


def test_tools_load_no_heavy_library():
    code = (
        "import sys, tools.registry as r; r.registered(); "
        "print(*{'torch', 'transformers', 'langgraph', 'numpy', 'auditor'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_finding_one_tool_imports_no_other():
    code = "import sys, tools.registry as r; r.find('search_corpus')"
    code += "; print('tools.chat' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_needs_are_named():
    compare = find("compare_with_baseline")
    assert compare.missing(capabilities=(), baseline=False, corpus=True) == ("baseline", "chat")
    assert compare.missing(capabilities=("chat",), baseline=True, corpus=False) == ()


def test_needs_are_baseline_corpus_oracle_probe_reader_sae_and_capabilities():
    things = {"baseline", "corpus", "oracle", "probe", "reader", "sae"}
    assert {*things, *get_args(Capability)} == NEEDS
    with pytest.raises(TypeError, match="unknown needs"):
        tool(needs=("telepathy",))


def good(ctx, *, n: int = 1) -> ToolOutput:
    """Count.

    Args:
        n: How many.
    """
    return ToolOutput(summary="counted", items=tuple({"n": i} for i in range(n)))


def no_description(ctx) -> ToolOutput: ...


def positional(ctx, n: int) -> ToolOutput:
    """Count.

    Args:
        n: How many.
    """


def undocumented(ctx, *, n: int) -> ToolOutput:
    """Count."""


def untyped(ctx, *, n) -> ToolOutput:
    """Count.

    Args:
        n: How many.
    """


def misdocumented(ctx, *, n: int) -> ToolOutput:
    """Count.

    Args:
        n: How many.
        m: Gone.
    """


@pytest.mark.parametrize(
    ("execute", "said"),
    [
        (no_description, "no description"),
        (positional, "keyword-only"),
        (undocumented, "needs an annotation and help"),
        (untyped, "needs an annotation and help"),
        (misdocumented, r"does not have: \['m'\]"),
    ],
)
def test_an_incomplete_tool_is_refused_when_it_is_declared(execute, said):
    with pytest.raises(TypeError, match=said):
        tool(name="count")(lambda: execute)


def test_a_tool_may_have_another_name_than_its_factory():
    renamed = tool(name="count", needs=("logprobs",))(lambda: good)
    assert (renamed.name, renamed.description) == ("count", "Count.")
    assert renamed.needs == {"logprobs"}
    assert renamed.parameters == {
        "type": "object",
        "additionalProperties": False,
        "properties": {"n": {"type": "integer", "default": 1, "description": "How many."}},
    }


def test_a_wrong_type_says_what_to_send():
    counting = tool(name="count")(lambda: good)
    ctx = ToolContext(target=None, baseline=None, corpus=None, seed=0)
    assert len(counting.call(ctx, {"n": 3}).items) == 3
    for wrong in ("3", 3.0, True, None, [3]):
        with pytest.raises(ToolError, match=r"^count: n: .*integer.* Send \{n\?: integer\}$"):
            counting.call(ctx, {"n": wrong})


def test_items_that_json_cannot_hold_break_the_tools_contract():
    def execute(ctx) -> ToolOutput:
        """Break."""
        return ToolOutput(summary="", items=({"x": object()},))

    ctx = ToolContext(target=None, baseline=None, corpus=None, seed=0)
    with pytest.raises(TypeError):
        tool(name="broken")(lambda: execute).call(ctx, {})
