"""Many trials at once in one process."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import UsageError
from auditor.records import TrialEvent, TrialKey
from auditor.run.execute import Hooks, RunInterruptedError, RunOptions, execute, plan_run
from auditor.run.stopping import Stop
from auditor.run.store import load_summaries, read_events, trial_path
from auditor.scenario.schema import Model, ResolvedScenario
from auditor.target.batching import BatchQueue

Make = Callable[..., ResolvedScenario]


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(runs_dir=tmp_path / "runs", run="r", concurrency=8, trials=2)


def outcomes(run_dir: Path) -> dict[str, object]:
    """What each trial came to, without times."""
    return {
        s.key.stem: (s.status, s.submission, s.verdict, s.usage and s.usage.target_tokens)
        for s in load_summaries(run_dir)
    }


class Meeting:
    """A pool whose models answer only while enough trials ask at once."""

    def __init__(self, inner: Any, guests: int) -> None:
        self._inner, self._barrier = inner, threading.Barrier(guests)
        self.met = 0

    def get(self, model: Model) -> Any:
        if self.met < 3 and model.path != "base":
            self._barrier.wait(20)
            self.met += 1
        return self._inner.get(model)


def test_trials_run_at_once_and_come_to_the_same_as_one_after_the_other(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable, tmp_path: Path
) -> None:
    pool = Meeting(make_pool(), guests=8)
    many = execute(resolved, options, pool=pool)
    one = execute(
        resolved, replace(options, runs_dir=tmp_path / "one", concurrency=1), pool=make_pool()
    )
    assert pool.met >= 3
    assert len(many.summaries) == 12
    assert outcomes(many.run_dir) == outcomes(one.run_dir)


def test_events_are_written_before_the_trial_goes_on(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    main = threading.current_thread()
    seen: dict[TrialKey, int] = {}

    def listen(key: TrialKey, event: TrialEvent) -> None:
        assert threading.current_thread() is main
        on_disk = read_events(trial_path(options.runs_dir / "r", key))
        seen[key] = seen.get(key, 0) + 1
        assert on_disk[-1] == event
        assert len(on_disk) == seen[key]

    execute(resolved, options, on_event=listen, pool=make_pool())
    assert len(seen) == 12


def test_a_model_that_falls_over_spoils_only_its_own_trials(
    make_resolved: Make, make_target: Callable, options: RunOptions, make_pool: Callable
) -> None:
    resolved = make_resolved(
        make_target("bad", "guilty", path="broken"), make_target("good", "clean")
    )
    result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"errored": 4, "scored": 4}
    assert {s.key.target for s in result.summaries if s.status == "errored"} == {"bad"}


def test_an_interrupt_ends_all_trials_and_the_run_can_be_gone_on_with(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    sealed: list[TrialKey] = []

    def stop_after_two(key: TrialKey, event: TrialEvent) -> None:
        if event.type == "sealed":
            sealed.append(key)
        if len(sealed) == 2:
            raise KeyboardInterrupt

    with pytest.raises(RunInterruptedError, match=r"stopped: \d+ of 12"):
        execute(resolved, options, on_event=stop_after_two, pool=make_pool())
    assert not [t for t in threading.enumerate() if t.name.startswith("trials-")]
    result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"scored": 12}


def test_what_stops_the_writer_reaches_the_caller(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    def full(key: TrialKey, event: TrialEvent) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        execute(resolved, options, on_event=full, pool=make_pool())
    assert not [t for t in threading.enumerate() if t.name.startswith("trials-")]


def test_no_more_trials_are_alive_than_asked_for(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    alive: list[int] = []
    now: set[TrialKey] = set()

    def count(key: TrialKey, event: TrialEvent) -> None:
        (now.discard if event.type == "sealed" else now.add)(key)
        alive.append(len(now))

    def slow(name: str) -> None:
        time.sleep(0.002)

    execute(resolved, replace(options, concurrency=3), on_event=count, pool=make_pool(slow))
    assert max(alive) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 2}, "choose --workers .* or --concurrency"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"address": "auto"}, "add --executor ray"),
        ({"num_gpus": 0.5}, "add --executor ray"),
        ({"executor": "ray", "num_gpus": -1.0}, "num_gpus must be 0 or more"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_work(
    resolved: ResolvedScenario, options: RunOptions, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_run(resolved, replace(options, **changes))
    assert not options.runs_dir.exists()


def test_a_cluster_without_ray_is_refused_in_one_line(
    resolved: ResolvedScenario, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'auditor\[ray\]'"):
        execute(resolved, replace(options, executor="ray"))


def test_a_trial_that_waits_for_a_model_is_stopped_there(
    resolved: ResolvedScenario, options: RunOptions
) -> None:
    queue, begun = BatchQueue(window=0), threading.Event()

    def interrupt() -> None:
        assert begun.wait(20)
        queue.close()

    class Waiting:
        def get(self, model: Model) -> Any:
            def work(rows: Sequence[Any]) -> Sequence[Any]:
                begun.set()
                return rows

            while True:
                queue.run(model.path, [1], work)

    threading.Thread(target=interrupt).start()
    result = execute(resolved, options, pool=Waiting())  # type: ignore[arg-type]
    assert dict(result.counts) == {"unfinished": 8}
    assert not [t for t in threading.enumerate() if t.name.startswith("trials-")]


def test_a_request_to_stop_lets_steps_end_and_nothing_is_done_twice(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable, tmp_path: Path
) -> None:
    stop, heard = Stop(), list[TrialEvent]()

    def listen(key: TrialKey, event: TrialEvent) -> None:
        heard.append(event)
        if sum(event.type == "tool_result" for event in heard) == 6:
            stop.request("interrupt")

    with pytest.raises(RunInterruptedError):
        execute(resolved, options, hooks=Hooks(on_event=listen, stop=stop, pool=make_pool()))
    assert list((options.runs_dir / "r" / "checkpoints").glob("*.db"))
    result = execute(resolved, options, pool=make_pool())
    straight = execute(resolved, replace(options, runs_dir=tmp_path / "straight"), pool=make_pool())
    assert dict(result.counts) == {"scored": 12}
    assert outcomes(result.run_dir) == outcomes(straight.run_dir)


def test_the_collector_passes_over_what_was_loaded_before_and_only_while_trials_run(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    before, seen = gc.get_freeze_count(), []

    def note(key: TrialKey, event: TrialEvent) -> None:
        if len(seen) < 5:  # counting takes a while
            seen.append(gc.get_freeze_count())

    execute(resolved, options, pool=make_pool(), on_event=note)
    assert min(seen) > 10_000
    assert gc.get_freeze_count() == before == 0
