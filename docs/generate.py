"""Writes the pages that are made from code: `make docs`. Tests fail when they are out of date."""

from pathlib import Path

from auditor.cli.reference import cli_reference
from auditor.scenario.reference import render as scenario_reference
from tools.reference import render as tool_reference

DOCS = Path(__file__).parent

if __name__ == "__main__":
    for name, text in (
        ("cli.md", cli_reference()),
        ("scenario.md", scenario_reference()),
        ("tools.md", tool_reference()),
    ):
        (DOCS / name).write_text(text, encoding="utf-8")
