import json
import re
from pathlib import Path

from tools.protocols import ToolContext
from tools.reference import EXAMPLES, render
from tools.registry import Registry

DOCS = Path(__file__).parents[2] / "docs" / "tools.md"


def test_the_reference_is_up_to_date():
    assert DOCS.read_text("utf-8") == render(), "run: python -m tools.reference > docs/tools.md"


def test_the_reference_names_every_tool_and_parameter():
    text = render()
    for name, tool in Registry.built_in().registered().items():
        section = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert section is not None
        for parameter in tool.parameters["properties"]:
            assert f"| `{parameter}` |" in section[1]


def test_every_tool_has_an_example_that_its_schema_takes():
    examples = json.loads(EXAMPLES.read_text("utf-8"))
    tools = Registry.built_in().registered()
    assert set(examples) == set(tools)
    for name, example in examples.items():
        tools[name].arguments.model_validate_json(json.dumps(example["arguments"]))
        assert example["summary"]
        assert example["items"]


def test_the_example_of_a_plugin_works():
    code = re.search(r"```python\n(.*?)```", render(), re.S)[1]
    scope = {"__name__": "example"}
    exec(code, scope)
    ctx = ToolContext(target=None, baseline=None, corpus=["one", "two"], seed=0)
    assert scope["corpus_size"].call(ctx, {}).items == ({"documents": 2},)
