"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

RUNS_DIR = Path("runs")

RunsDir = Annotated[
    Path,
    typer.Option("--runs-dir", envvar="AUDITOR_RUNS_DIR", help="Folder that holds the runs."),
]
Cache = Annotated[
    Literal["off", "read", "write"],
    typer.Option(
        help="Replies of language models: read takes those that an earlier run kept, write also "
        "keeps new ones, off does neither."
    ),
]


def names(text: str | None) -> list[str] | None:
    """Split a comma-separated option; None when it was not given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
