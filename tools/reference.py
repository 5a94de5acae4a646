"""Write `docs/tools.md` from the tools themselves: `python -m tools.reference > docs/tools.md`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.arguments import type_name
from tools.registry import Registry, Tool

EXAMPLES = Path(__file__).with_name("examples.json")
"""One real call of every tool, written by `docs/examples.py`."""


def render() -> str:
    """Return the reference of all built-in tools as Markdown."""
    tools = Registry.built_in().registered().values()
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return HEAD + "".join(_section(tool) + _example(examples[tool.name]) for tool in tools)


def _section(tool: Tool) -> str:
    needs = ", ".join(f"`{need}`" for need in sorted(tool.needs)) or "nothing"
    rows = "".join(_row(name, tool.parameters) for name in tool.parameters["properties"])
    head = "| parameter | type | default | limits | meaning |\n|---|---|---|---|---|\n"
    source = f"Source: {tool.source}\n\n" if tool.source else ""
    table = f"{head}{rows}" if rows else "Takes nothing.\n"
    said = f"{tool.description}\n\n{source}Needs: {needs}."
    return f"\n## {tool.name}\n\n{said}\n\n{table}"


def _example(example: Mapping[str, Any]) -> str:
    """Show one real call: its arguments, the summary, and some of the items."""
    items = "\n".join(json.dumps(item, ensure_ascii=False) for item in example["items"])
    arguments = json.dumps(example["arguments"], ensure_ascii=False)
    return (
        f"\nOn a sandbox organism that wants fame, {len(example['items'])} of {example['total']} "
        f"items, cut short:\n\n```\n{arguments}\n→ {example['summary']}\n{items}\n```\n"
    )


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

Tools that compare read the baseline at the same tokens, or ask it with the same seeds, wherever the
scenario has one. The batch tools (`batch_…`) let an auxiliary model write their inputs where the
scenario names one (`writer`), and fill templates otherwise. In `simulate_scenario` the same model,
or templates, play the user and the tools that the target is told it has.

An auditor that is a language model has tools of its own desk beside these, which touch no target
and cost no call: `note`, `hypothesis`, `todo` and `submit` (`docs/agents.md`).

A tool of your own stands in a file (`docs/your-own-tool.md`), or comes with an installed package
through an entry point of the group `auditor.tools` whose name is the tool's:

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
