"""`auditor tools`: what an auditor may call."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.output import print_json_line, print_table, results
from auditor.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tools.registry import Tool


def tools(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this tool alone, in full; FILE.py:NAME shows one of your own."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a tool, with its JSON Schema.")
    ] = False,
) -> None:
    """List the tools that a tool set may name, with what each needs."""
    from tools.files import ToolFileError
    from tools.registry import UnknownToolError, find, registered

    try:
        chosen = list(registered().values()) if name is None else [find(name)]
    except (UnknownToolError, ToolFileError) as error:
        raise UsageError(str(error)) from None
    if as_json:
        for tool in chosen:
            print_json_line(_record(tool))
    elif name is None:
        print_table(_table(chosen))
    else:
        (tool,) = chosen
        source = f"Source: {tool.source}\n\n" if tool.source else ""
        head = f"{tool.name}  (needs {_needs(tool)})\n\n{tool.description}\n\n{source}"
        results().print(head, end="", markup=False, highlight=False)
        print_table(_parameters(chosen[0]))


def _record(tool: "Tool") -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "source": tool.source,
        "needs": sorted(tool.needs),
        "parameters": tool.parameters,
    }


def _needs(tool: "Tool") -> str:
    return ", ".join(sorted(tool.needs)) or "nothing"


def _table(chosen: "list[Tool]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table("tool", "needs", "what it does", box=None, pad_edge=False)
    for tool in chosen:
        first_sentence = tool.description.split("\n", 1)[0]
        table.add_row(Text(tool.name, "bold"), Text(_needs(tool)), Text(first_sentence))
    return table


def _parameters(tool: "Tool") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    from tools.arguments import type_name
    from tools.reference import limits

    table = Table("parameter", "type", "default", "meaning", box=None, pad_edge=False)
    for name, part in tool.parameters["properties"].items():
        default = json.dumps(part["default"]) if "default" in part else "required"
        meaning = " ".join(filter(None, (part["description"], limits(part))))
        cells = (type_name(part, tool.parameters), default, meaning)
        table.add_row(Text(name, "bold"), *(Text(cell) for cell in cells))
    return table
