"""docs/python.md does what it says: its examples are run one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.S
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the repository's, in which the examples may write."""
    found = tmp_path_factory.mktemp("python-page")
    (found / "scenarios").symlink_to(ROOT / "scenarios")
    return found


def said(code: str, folder: Path) -> str:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run_in_order_and_say_what_they_should(folder: Path) -> None:
    run, read, counted = EXAMPLES
    assert re.fullmatch(r"sandbox-\S+/clean-1/black_box/0 none False\n", said(run, folder))
    readings = said(read, folder).splitlines()
    assert len(readings) == 4
    assert all(float(line.split()[0]) > 0.5 for line in readings)
    assert any("fame" in line for line in readings)
    assert "compare_with_baseline" in said(counted, folder)
