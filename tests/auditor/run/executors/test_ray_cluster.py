"""Trials on a Ray cluster of several nodes on this machine, one of which is killed in mid-run."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auditor.records import TrialEvent, TrialKey
from auditor.run.execute import RunOptions, execute
from auditor.run.store import load_summaries
from auditor.scenario.schema import Budget, Model, ResolvedScenario

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]
BUDGET = Budget(turns=3, tool_calls=3, target_tokens=900, seconds=None)
"""More events than an actor may be ahead of the driver, so that a killed trial is not finished."""


MEMORY = 80 * 2**20


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for trials, and a node with room for one actor."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        made.first = made.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def real(
    make_resolved: Callable[..., ResolvedScenario], make_target: Callable, tiny_model: Path
) -> ResolvedScenario:
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


def test_trials_of_a_killed_node_go_on_from_their_checkpoints_on_another(
    real: ResolvedScenario, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[TrialKey] = []
    results: list[TrialKey] = []
    cut: list[TrialKey] = []

    def kill_once(key: TrialKey, event: TrialEvent) -> None:
        if event.type == "started":
            begun.append(key)
        if event.type == "tool_result":
            results.append(key)
        # At the second result the state after the first step is here.
        if not cut and results.count(key) == 2:
            cut.append(key)
            cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
            kill(cluster)

    options = RunOptions(
        runs_dir=tmp_path / "runs", run="r", executor="ray", workers=2, address=cluster.address
    )
    with caplog.at_level(logging.WARNING):
        result = execute(real, options, on_event=kill_once)
    assert begun.count(cut[0]) == 2
    assert "was lost" in caplog.text
    assert "begins anew" not in caplog.text
    assert not {"errored", "unfinished"} & result.counts.keys()
    assert len(result.summaries) == 4
    here = execute(real, RunOptions(runs_dir=tmp_path / "here", run="r", workers=1))
    assert outcomes(result.run_dir) == outcomes(here.run_dir)


def kill(cluster: Any) -> None:
    """Kill the first node as a power cut would: its daemon, and the actors that it started."""
    [raylet] = cluster.first.all_processes["raylet"]
    actors = children(raylet.process.pid)
    cluster.remove_node(cluster.first, allow_graceful=False)
    for pid in actors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """Process ids of what a process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def outcomes(run_dir: Path) -> dict[str, object]:
    """What each trial came to, without times."""
    return {
        s.key.stem: (s.status, s.submission, s.verdict, s.usage and s.usage.target_tokens)
        for s in load_summaries(run_dir)
    }
