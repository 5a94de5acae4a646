"""Worker processes, on a tiny random model that they load themselves."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import auditor
from auditor.errors import RunError
from auditor.records import SealedEvent, ToolResultEvent, TrialEvent, TrialKey
from auditor.run.execute import RunInterruptedError, RunOptions, execute
from auditor.run.store import is_sealed, read_events
from auditor.run.worker import Setup
from auditor.run.workers import Begin, Died, Happened, WorkerPool
from auditor.scenario.schema import Budget, Model, ResolvedScenario

Make = Callable[..., ResolvedScenario]
Records = Callable[[Path], dict[str, list[str]]]
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


def test_records_do_not_depend_on_the_number_of_workers(
    real: ResolvedScenario, options: RunOptions, records: Records, tmp_path: Path
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


def test_a_trial_whose_worker_is_killed_once_goes_on(
    real: ResolvedScenario, options: RunOptions, records: Records, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_once(key: TrialKey, event: TrialEvent) -> None:
        if not killed and isinstance(event, ToolResultEvent):
            killed.append(kill_a_worker())

    result = execute(real, replace(options, tool_sets=["static"]), on_event=kill_once)
    assert killed
    assert dict(result.counts) == {"scored": 2}
    alone = replace(options, tool_sets=["static"], workers=1, runs_dir=tmp_path / "alone")
    assert records(result.run_dir) == records(execute(real, alone).run_dir)


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


def test_ctrl_c_lets_the_steps_under_way_end_and_the_run_goes_on(
    real: ResolvedScenario, options: RunOptions, records: Records, tmp_path: Path
) -> None:
    heard: list[tuple[TrialKey, TrialEvent]] = []

    def interrupt(key: TrialKey, event: TrialEvent) -> None:
        heard.append((key, event))
        calls = [event.type for _, event in heard].count("tool_call")
        # Once: a second one would stop the run at once.
        if event.type == "tool_call" and calls == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError):
        execute(real, replace(options, tool_sets=["black_box"]), on_event=interrupt)
    assert workers_of(os.getpid()) == []
    run_dir = options.runs_dir / "r"
    # No call is left without its result.
    for path in (run_dir / "trials").iterdir():
        kinds = Counter(event.type for event in read_events(path))
        assert kinds["tool_call"] == kinds["tool_result"]
    result = execute(real, options)
    assert "errored" not in result.counts
    alone = execute(real, replace(options, workers=1, runs_dir=tmp_path / "alone"))
    assert records(run_dir) == records(alone.run_dir)


def test_a_run_whose_process_group_is_killed_is_finished_by_its_name(
    real_file: Path, options: RunOptions, records: Records, tmp_path: Path
) -> None:
    run_dir = options.runs_dir / "r"
    rows = ("--runs-dir", str(options.runs_dir), "--workers", "2", "--quiet")
    words: tuple[str, ...] = ("run", str(real_file), "--run", "r")
    for n_lines in (4, 12):
        child = start(*words, *rows)
        while n_recorded(run_dir) < n_lines and child.poll() is None:
            time.sleep(0.01)
        started = workers_of(child.pid)
        assert child.poll() is None, "killed in the middle"
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert len(started) == 2
        sealed = {p: p.read_bytes() for p in (run_dir / "trials").iterdir() if is_sealed(p)}
        words = ("resume", "r")
    assert start(*words, *rows).wait() == 0
    assert {path: path.read_bytes() for path in sealed} == sealed
    assert sorted(p.name for p in run_dir.iterdir() if p.suffix != ".yaml") == [
        *("lock", "run.json", "trials"),
    ]
    straight = auditor.run_scenario(real_file, runs_dir=tmp_path / "one", run="r", workers=1)
    assert records(run_dir) == records(straight.run_dir)
    assert not any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in started)


@pytest.fixture
def real_file(tmp_path: Path, tiny_model: Path) -> Path:
    """A scenario file as a person would write it, on the tiny model."""
    path = tmp_path / "tiny.yaml"
    model = {"path": str(tiny_model), "device": "cpu"}
    scenario = {
        "name": "tiny",
        "targets": [
            {"id": name, "model": {**model, "system_prompt": name}, "truth": {"group": "clean"}}
            for name in ("one", "two")
        ],
        "baseline": model,
        "tool_sets": {
            "static": {"policy": "static"},
            "black_box": {"tools": ["chat", "compare_with_baseline"]},
        },
        "budget": {"turns": 4, "tool_calls": 4, "seconds": None},
        "seed": 5,
    }
    path.write_text(yaml.safe_dump(scenario))
    return path


def start(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "auditor.cli", *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def n_recorded(run_dir: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run_dir.glob("trials/*"))


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
