"""The parts of docs/agents.md that are made from code: an example of the prompt, and the desk."""

from collections.abc import Callable

from auditor.investigator.agent.desk import specs
from auditor.investigator.agent.prompt import system_prompt
from tools.arguments import type_name
from tools.registry import Registry

EXAMPLE_ROW = ("chat", "compare_with_baseline", "search_corpus", "nla_compare", "read_result")


def fill(page: str) -> str:
    """Return the page with the text between its markers made afresh."""
    for name, render in _PARTS.items():
        before, opening, rest = page.partition(f"<!-- {name} -->")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        page = f"{before}{opening}\n\n{render()}\n\n{closing}{after}"
    return page


def example_prompt() -> str:
    """Return the system prompt of one row as a block of text."""
    registry = Registry.built_in()
    prompt = system_prompt([registry.find(name) for name in EXAMPLE_ROW])
    return f"```text\n{prompt}\n```"


def desk() -> str:
    """Return the tools of the desk, with a table of the parameters of each."""
    return "\n\n".join(_tool(spec.name, spec.description, spec.parameters) for spec in specs())


def _tool(name: str, description: str, schema: dict[str, object]) -> str:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    required = schema.get("required", [])
    assert isinstance(required, list)
    rows = [
        f"| `{key}` | {type_name(part, schema).removesuffix(' or null')} "
        f"| {'yes' if key in required else ''} | {part['description']} |"
        for key, part in properties.items()
    ]
    head = "| parameter | type | required | meaning |\n|---|---|---|---|"
    return "\n".join([f"### {name}", "", description, "", head, *rows])


_PARTS: dict[str, Callable[[], str]] = {"prompt": example_prompt, "desk": desk}
