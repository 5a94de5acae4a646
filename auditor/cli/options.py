"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RUNS_DIR = Path("runs")

RunsDir = Annotated[
    Path,
    typer.Option("--runs-dir", envvar="AUDITOR_RUNS_DIR", help="Folder that holds the runs."),
]


def names(text: str | None) -> list[str] | None:
    """Split a comma-separated option; None when it was not given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
