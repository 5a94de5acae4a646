"""Write `docs/tools.md` from the tools themselves: `python -m tools.reference > docs/tools.md`."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from tools.arguments import type_name
from tools.registry import Registry, Tool


def render() -> str:
    """Return the reference of all built-in tools as Markdown."""
    tools = Registry.built_in().registered().values()
    return HEAD + "".join(_section(tool) for tool in tools)


def _section(tool: Tool) -> str:
    needs = ", ".join(f"`{need}`" for need in sorted(tool.needs)) or "nothing"
    rows = "".join(_row(name, tool.parameters) for name in tool.parameters["properties"])
    head = "| parameter | type | default | limits | meaning |\n|---|---|---|---|---|\n"
    source = f"Source: {tool.source}\n\n" if tool.source else ""
    table = f"{head}{rows}" if rows else "Takes nothing.\n"
    said = f"{tool.description}\n\n{source}Needs: {needs}."
    return f"\n## {tool.name}\n\n{said}\n\n{table}"


def _row(name: str, schema: Mapping[str, Any]) -> str:
    part = schema["properties"][name]
    default = f"`{json.dumps(part['default'])}`" if "default" in part else "required"
    cells = (f"`{name}`", type_name(part, schema), default, limits(part), part["description"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def limits(part: Mapping[str, Any]) -> str:
    """Say the bounds of one parameter in words, or nothing when it has none."""
    words = {"minimum": "{} or more", "maximum": "{} or less"}
    words |= {"minItems": "{} or more items", "maxItems": "{} or fewer items"}
    options = [part, *part.get("anyOf", [])]
    return ", ".join(
        said.format(option[key])
        for option in options
        for key, said in words.items()
        if key in option
    )


HEAD = """# Tools

What an auditor may call. A scenario's tool set lists tools by name; `auditor tools` prints this
list with the tools of installed plugins, and `auditor tools --json` the JSON Schemas.

Every call returns items and gets an evidence id (`E1`, `E2`, … in call order). The auditor sees the
first 20 items and the true total, and reads on with `read_result`, which every tool set has. A
call that cannot be done, or that could generate more target tokens than the budget has left, comes
back as a failed result that says what to ask instead.

A plugin adds a tool through an entry point of the group `auditor.tools` whose name is the tool's:

```python
from tools.protocols import ToolContext, ToolOutput
from tools.registry import Execute, tool


@tool(needs=("corpus",))
def corpus_size() -> Execute:
    def execute(ctx: ToolContext) -> ToolOutput:
        \"\"\"Count the public documents.\"\"\"
        return ToolOutput(summary="counted", items=({"documents": len(ctx.corpus)},))

    return execute
```
"""


if __name__ == "__main__":
    sys.stdout.write(render())
