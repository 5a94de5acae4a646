"""Makes the pictures of the terminal and of the report that stand in the docs.

    python docs/screens.py RUN_FOLDER TRIAL [--out docs/pictures]

`RUN_FOLDER` is that of a finished run, `TRIAL` the stem of one of its trials. The terminal's
picture is drawn without a terminal; those of the report need Chromium and playwright.
"""

import argparse
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from auditor.report.page.write import write_report
from auditor.report.transcript import render
from auditor.run.listing import trial_files
from auditor.run.store import read_events

COLUMNS = 80
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def terminal(record: Path, out: Path) -> Path:
    """Draw the transcript of a trial as it stands in a terminal of 80 columns."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    for part in render(read_events(record)):
        console.print(part)
    svg = console.export_svg(title=f"auditor show {record.parent.parent.name}")
    # The picture must load nothing.
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    path = out / "terminal.svg"
    path.write_text(svg, encoding="utf-8")
    return path


def report(run_dir: Path, trial: int, out: Path) -> list[Path]:
    """Photograph the top of a run's report, and a trial in it with a reading pointed at."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("pictures of the report need Chromium")
    paths = [out / "report.png", out / "report-trial.png"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = write_report(run_dir, Path(folder) / "report.html")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 860}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        page.screenshot(path=paths[0])
        page.goto(f"{page_file.as_uri()}#trial-{trial}")
        page.wait_for_selector("#trial .verdict")
        page.locator("#trial .call", has_text="token readings").first.locator("summary").click()
        page.locator("#trial .words .tok").nth(1).hover()
        page.screenshot(path=paths[1])
        browser.close()
    return paths


def main() -> None:
    """Make all pictures and name their files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("trial")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    args = parser.parse_args()
    files = trial_files(args.run)
    stems = [path.stem for path in files]
    if args.trial not in stems:
        sys.exit(f"no trial {args.trial} in {args.run}")
    at = stems.index(args.trial)
    for path in (terminal(files[at], args.out), *report(args.run, at + 1, args.out)):
        print(path)


if __name__ == "__main__":
    main()
