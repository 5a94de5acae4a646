"""Disks that are full or cannot be written, for real."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import RunError
from auditor.records import TrialEvent, TrialKey
from auditor.run.execute import Hooks, RunOptions, execute
from auditor.run.resume import resume_run
from auditor.run.store import read_events
from auditor.scenario.schema import ResolvedScenario

Make = Callable[..., ResolvedScenario]
Records = Callable[[Path], dict[str, list[str]]]
SIZE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "small", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only the superuser can mount a small disk; a limit on files is tested anyway")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def resolved(make_resolved: Make) -> ResolvedScenario:
    return make_resolved(tool_sets={"row": {"tools": ["chat", "sample_user"]}})


@pytest.fixture
def hooks(make_pool: Callable) -> Hooks:
    return Hooks(pool=make_pool())


def finished_alone(resolved: ResolvedScenario, hooks: Hooks, folder: Path) -> Path:
    return execute(resolved, RunOptions(runs_dir=folder, run="r", workers=1), hooks=hooks).run_dir


def no_trial_is_errored(run_dir: Path) -> bool:
    paths = (run_dir / "trials").iterdir()
    return not any(event.type == "error" for path in paths for event in read_events(path))


@pytest.mark.parametrize("left", [0, 20_000, 60_000])
def test_a_run_that_fills_its_disk_goes_on_once_there_is_room(
    resolved: ResolvedScenario,
    hooks: Hooks,
    records: Records,
    small_disk: Path,
    tmp_path: Path,
    left: int,
) -> None:
    ballast = small_disk / "ballast"

    def fill(key: TrialKey, event: TrialEvent) -> None:
        """Leave so many bytes, once the first trial is under way."""
        if event.type == "tool_result" and not ballast.exists():
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={ballast}"], capture_output=True, check=False
            )
            if left:
                with ballast.open("r+b") as file:
                    file.truncate(ballast.stat().st_size - left)

    options = RunOptions(runs_dir=small_disk, run="r", workers=1)
    with pytest.raises(
        RunError, match="cannot write .*(No space left|is full|I/O error)"
    ) as caught:
        execute(resolved, options, hooks=replace(hooks, on_event=fill))
    assert "\n" not in str(caught.value)
    assert no_trial_is_errored(small_disk / "r")
    ballast.unlink()
    again = resume_run(small_disk / "r", workers=1, hooks=hooks)
    assert records(again.run_dir) == records(finished_alone(resolved, hooks, tmp_path / "alone"))


def test_a_disk_that_becomes_read_only_stops_the_run_in_one_line(
    resolved: ResolvedScenario, hooks: Hooks, small_disk: Path
) -> None:
    finished_alone(resolved, hooks, small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    options = RunOptions(runs_dir=small_disk, run="r", workers=1, trials=2)
    with pytest.raises(RunError, match="cannot write .*Read-only file system") as caught:
        execute(resolved, options, hooks=hooks)
    assert "\n" not in str(caught.value)


LIMITED = """
import resource, sys
from pathlib import Path
from auditor.errors import RunError
from auditor.run.execute import Hooks, RunOptions, execute
from auditor.scenario.schema import ResolvedScenario
sys.path.insert(0, sys.argv[3])
from conftest import FakePool
resolved = ResolvedScenario.model_validate_json(Path(sys.argv[1]).read_text())
def limit(what):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
options = RunOptions(runs_dir=Path(sys.argv[2]), run="r", workers=1)
try:
    execute(resolved, options, hooks=Hooks(pool=FakePool(), on_plan=limit))
except RunError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("limit", [1_500, 20_000], ids=["record", "checkpoint"])
def test_a_file_that_may_not_grow_stops_the_run_and_spoils_no_trial(
    resolved: ResolvedScenario, hooks: Hooks, records: Records, tmp_path: Path, limit: int
) -> None:
    scenario = tmp_path / "resolved.json"
    scenario.write_text(resolved.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(scenario), str(tmp_path / "runs")]
        + [str(Path(__file__).parent), str(limit)],
        stdout=subprocess.PIPE,
        # Compiled modules that are cut short would spoil every later import.
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.decode().count("\n") == 1
    assert done.stdout.startswith(b"cannot write ")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert no_trial_is_errored(tmp_path / "runs" / "r")
    again = resume_run(tmp_path / "runs" / "r", workers=1, hooks=hooks)
    assert records(again.run_dir) == records(finished_alone(resolved, hooks, tmp_path / "alone"))


@pytest.mark.parametrize("where", ["file/runs", "file"])
def test_a_folder_that_cannot_be_made_is_one_line(
    resolved: ResolvedScenario, hooks: Hooks, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot .*Not a directory"):
        finished_alone(resolved, hooks, tmp_path / where)


def test_an_index_that_is_gone_is_built_again(
    resolved: ResolvedScenario, hooks: Hooks, tmp_path: Path
) -> None:
    from auditor.run.index import INDEX_FILE, indexed_trials

    run_dir = finished_alone(resolved, hooks, tmp_path)
    (tmp_path / INDEX_FILE).unlink()
    resume_run(run_dir, hooks=hooks)
    assert len(indexed_trials(tmp_path, "r")) == 3
