"""`kill -9` at twenty random moments: what is left in the end is what an undisturbed run leaves."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.scenario.schema import ResolvedScenario, ToolSet

ROOT = Path(__file__).parents[3]
KILLS = 20


def calls(runs_dir: Path) -> Counter[str]:
    return Counter((runs_dir / "calls.log").read_text().splitlines())


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[ResolvedScenario, str], list[list[str]]]:
    """Run a scenario undisturbed, and again and again with kills; return how its lives ended."""

    def kill(resolved: ResolvedScenario, auditor: str) -> list[list[str]]:
        scenario = tmp_path / "resolved.json"
        scenario.write_text(resolved.model_dump_json())
        done = subprocess.run(
            [sys.executable, "-m", "tests.auditor.run.killing"]
            + [str(scenario), str(tmp_path), auditor, str(KILLS), "7"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(done.stdout)

    return kill


@pytest.mark.parametrize("auditor", ["scripted", "ledger"])
def test_twenty_kills_leave_the_records_of_an_undisturbed_run(
    make_resolved: Callable, killed: Callable, records: Callable, tmp_path: Path, auditor: str
) -> None:
    rows = {"black_box": ToolSet(tools=("chat", "compare_with_baseline", "sample_user"))}
    lives = killed(make_resolved(tool_sets=rows, trials=2), auditor)
    assert Counter(end for ends in lives for end in ends) == {
        "killed": sum(map(len, lives)) - len(lives),
        "exit 0": len(lives),
    }
    whole = records(tmp_path / "undisturbed" / "r")
    assert len(whole) == 6
    assert all('"status":"scored"' in lines[-1] for lines in whole.values())
    for number, ends in enumerate(lives):
        again = tmp_path / f"killed-{number}"
        assert records(again / "r") == whole
        assert not (again / "r" / "checkpoints").exists()
        if auditor == "scripted":
            once, paid = calls(tmp_path / "undisturbed"), calls(again)
            assert paid.keys() == once.keys()
            # One call may be in flight at each kill, and that one alone is paid for again.
            assert paid.total() - once.total() <= ends.count("killed")
