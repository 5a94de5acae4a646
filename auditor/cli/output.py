"""Where commands write: results to stdout, everything meant for watching to stderr."""

import json
import sys
from typing import Any

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.measure import Measurement


def results() -> Console:
    """Return the console for what a command was asked for."""
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False)


def messages() -> Console:
    """Return the console for progress and remarks."""
    return Console(file=sys.stderr, highlight=False, emoji=False, markup=False)


def print_table(table: RenderableType) -> None:
    """Print a table to stdout; a file or pipe gets all its columns, however wide they are."""
    console = results()
    if not console.is_terminal:
        wide = console.options.update(max_width=1_000)
        console.width = max(console.width, Measurement.get(console, wide, table).maximum)
    console.print(table)


def print_json_line(value: dict[str, Any] | BaseModel, *, event: str | None = None) -> None:
    """Print one JSON object on a line of its own, at once."""
    found = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    if event is not None:
        found = {"event": event, **found}
    sys.stdout.write(json.dumps(found, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()
