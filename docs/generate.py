"""Writes the pages that are made from code; with `--check`, says which are out of date."""

import sys
from pathlib import Path

from auditor.cli.reference import cli_reference
from auditor.scenario.reference import render as scenario_reference
from tools.reference import render as tool_reference

DOCS = Path(__file__).parent
PAGES = {"cli.md": cli_reference, "scenario.md": scenario_reference, "tools.md": tool_reference}


def main(*, check: bool) -> int:
    """Write all pages, or name the stale ones; returns the exit code."""
    stale = []
    for name, render in PAGES.items():
        path, text = DOCS / name, render()
        if check and path.read_text(encoding="utf-8") != text:
            stale.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
