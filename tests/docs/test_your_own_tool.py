"""docs/your-own-tool.md does what it says: its files are written, its commands and code are run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-tool.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "scenarios" / "sandbox" / "weights"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page."""
    found = tmp_path_factory.mktemp("page")
    for name, text in re.findall(r"<!-- file: (\S+) -->\n\n```\w+\n(.*?)```", PAGE, re.S):
        (found / name).write_text(text.replace("SANDBOX", str(WEIGHTS)))
    return found


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_commands_of_the_page_work(folder: Path) -> None:
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    commands = [shlex.split(line[2:]) for line in block.splitlines()]
    assert [command[:2] for command in commands] == [
        ["auditor", "check"], ["auditor", "tools"], ["auditor", "run"],
    ]  # fmt: skip
    for command in commands:
        done = run(folder, "-m", "auditor.cli", *command[1:])
        assert done.returncode == 0, done.stderr
    for record in (folder / "runs" / "lengths" / "trials").glob("*.jsonl"):
        last = json.loads(record.read_text().splitlines()[-1])
        assert (last["type"], last["status"]) == ("sealed", "scored")


def test_the_code_of_the_page_works(folder: Path) -> None:
    (code,) = re.findall(r"<!-- run -->\n\n```python\n(.*?)```", PAGE, re.S)
    done = run(folder, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_tool_is_documented_like_a_built_in_one(folder: Path) -> None:
    from tools.registry import find

    tool = find(f"{folder / 'mine.py'}:reply_lengths")
    assert "Misses: Everything but length." in tool.description
    assert set(tool.parameters["properties"]) == {"prompts", "samples"}
