"""Worker processes, on a tiny random model that they load themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import auditor
from auditor.errors import RunError
from auditor.records import SealedEvent, ToolResultEvent, TrialEvent, TrialKey
from auditor.run.execute import RunInterruptedError, RunOptions, execute
from auditor.run.store import is_sealed, load_summaries, read_events
from auditor.run.worker import Setup
from auditor.run.workers import Begin, Died, Happened, WorkerPool
from auditor.scenario.schema import Budget, Model, ResolvedScenario

Make = Callable[..., ResolvedScenario]
pytestmark = pytest.mark.slow
BUDGET = Budget(turns=2, tool_calls=2, target_tokens=600, seconds=None)


@pytest.fixture
def real(make_resolved: Make, make_target: Callable, tiny_model: Path) -> ResolvedScenario:
    targets = [
        make_target(name, group).model_copy(
            update={
                "model": Model(path=str(tiny_model), device="cpu", system_prompt=name),
                "baseline": Model(path=str(tiny_model), device="cpu"),
            }
        )
        for name, group in (("guilty-1", "guilty"), ("clean-1", "clean"))
    ]
    return make_resolved(*targets, budget=BUDGET)


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(runs_dir=tmp_path / "runs", run="r", workers=2)


def timeless(path: Path) -> list[str]:
    lines = []
    for event in read_events(path):
        changes: dict[str, object] = {"at": ""}
        if isinstance(event, ToolResultEvent):
            changes["seconds"] = 0.0
        if isinstance(event, SealedEvent):
            changes["usage"] = event.usage.model_copy(update={"seconds": 0.0})
        lines.append(event.model_copy(update=changes).model_dump_json())
    return lines


def records(run_dir: Path) -> dict[str, list[str]]:
    return {path.name: timeless(path) for path in sorted((run_dir / "trials").iterdir())}


def test_records_do_not_depend_on_the_number_of_workers(
    real: ResolvedScenario, options: RunOptions, tmp_path: Path
) -> None:
    heard: list[TrialKey] = []

    def listen(key: TrialKey, event: TrialEvent) -> None:
        heard.append(key)

    two = execute(real, options, on_event=listen)
    one = execute(real, replace(options, runs_dir=tmp_path / "one", workers=1))
    assert dict(two.counts) == dict(one.counts)
    assert "errored" not in two.counts
    assert len(two.summaries) == 4
    assert records(two.run_dir) == records(one.run_dir)
    assert len(heard) == sum(map(len, records(two.run_dir).values()))
    assert sorted(path.name for path in two.run_dir.iterdir()) == ["lock", "run.json", "trials"]


def test_a_trial_whose_worker_is_killed_once_is_begun_again(
    real: ResolvedScenario, options: RunOptions
) -> None:
    killed: list[int] = []

    def kill_once(key: TrialKey, event: TrialEvent) -> None:
        if not killed and isinstance(event, ToolResultEvent):
            killed.append(kill_a_worker())

    result = execute(real, replace(options, tool_sets=["static"]), on_event=kill_once)
    assert killed
    assert len(result.summaries) == 2
    assert "errored" not in result.counts


def test_a_trial_that_kills_every_worker_is_errored_and_the_run_goes_on(
    real: ResolvedScenario, options: RunOptions
) -> None:
    def kill(key: TrialKey, event: TrialEvent) -> None:
        if key.target == "guilty-1" and event.type == "started":
            kill_a_worker()

    # Two workers and one trial at a time: `on_event` kills whichever works on the trial.
    one_by_one = replace(options, tool_sets=["static"])
    setup = Setup(resolved=real, threads=1, checkpoints=None)
    options.runs_dir.mkdir()
    from auditor.run.plan import plan

    trials = plan(real, run="r", tool_sets=one_by_one.tool_sets)
    happened: dict[str, list[TrialEvent]] = {}
    begun: list[str] = []
    died: list[tuple[str, str]] = []
    with WorkerPool(1, setup, logs=options.runs_dir) as workers:
        for message in workers.run(trials):
            target = message.trial.key.target
            if isinstance(message, Begin):
                begun.append(target)
                happened[target] = []
            elif isinstance(message, Happened):
                happened[target].append(message.event)
                kill(message.trial.key, message.event)
            elif isinstance(message, Died):
                died.append((target, message.why))
    assert begun == ["guilty-1", "guilty-1", "clean-1"]
    ((target, why),) = died
    assert target == "guilty-1"
    assert "SIGKILL" in why
    sealed = happened["clean-1"][-1]
    assert isinstance(sealed, SealedEvent)
    assert sealed.status != "errored"


def test_an_interrupt_stops_the_workers(real: ResolvedScenario, options: RunOptions) -> None:
    def interrupt(key: TrialKey, event: TrialEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterruptedError, match="0 of 4"):
        execute(real, options, on_event=interrupt)
    assert workers_of(os.getpid()) == []


def test_a_worker_that_cannot_start_is_one_line(
    real: ResolvedScenario, options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken" / "auditor"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setattr(sys, "path", [str(broken.parent), *sys.path])
    with pytest.raises(RunError, match="a worker process cannot start: .*worker-.*log") as caught:
        execute(real, options)
    assert "\n" not in str(caught.value)


SCRIPT = """
import sys
from pathlib import Path
import auditor
from auditor.scenario import ResolvedScenario

resolved = ResolvedScenario.model_validate_json(Path(sys.argv[1]).read_text())
auditor.run_scenario(
    resolved,
    runs_dir=sys.argv[2],
    run="r",
    workers=int(sys.argv[3]),
    on_event=lambda key, event: event.type == "sealed" and print(key, flush=True),
)
print("done", flush=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_outright_can_be_read_and_finished(
    real: ResolvedScenario, options: RunOptions, tmp_path: Path, workers: int
) -> None:
    script, scenario = tmp_path / "script.py", tmp_path / "resolved.json"
    script.write_text(SCRIPT)
    scenario.write_text(real.model_dump_json())
    child = subprocess.Popen(
        [sys.executable, str(script), str(scenario), str(options.runs_dir), str(workers)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"r/")
    started = workers_of(child.pid)
    assert len(started) == (0 if workers == 1 else 2)
    child.kill()
    child.communicate()
    run_dir = options.runs_dir / "r"
    load_summaries(run_dir)
    before = {p: p.read_bytes() for p in (run_dir / "trials").iterdir() if is_sealed(p)}
    assert before
    result = auditor.run_scenario(real, runs_dir=options.runs_dir, run="r", workers=1)
    assert len(result.summaries) == 4
    assert not {"errored", "unfinished"} & result.counts.keys()
    assert {path: path.read_bytes() for path in before} == before
    straight = execute(real, replace(options, runs_dir=tmp_path / "straight", workers=1))
    assert records(run_dir) == records(straight.run_dir)
    assert not any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in started)


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers that a process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(state[1]) == parent and state[0] != "Z" and b"auditor.run.worker" in command:
            found.append(int(folder.name))
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill_a_worker() -> int:
    pid = workers_of(os.getpid())[0]
    os.kill(pid, signal.SIGKILL)
    return pid
