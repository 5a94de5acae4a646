"""Whole runs against targets behind a provider: cache, limits, faults and secrets on disk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import UsageError
from auditor.provider.clock import scaled_clock
from auditor.run.execute import RunOptions, RunOutageError, RunResult, execute
from auditor.run.store import read_events, trial_path
from auditor.scenario.schema import (
    Budget,
    ResolvedScenario,
    ServedModel,
    TargetSpec,
    ToolSet,
    Truth,
)
from tests.auditor.provider.servers import KEY, Fault, Loopback, Say, fault_schedule

Make = Callable[..., ResolvedScenario]
ROW = {"black_box": ToolSet(tools=("chat", "compare_with_baseline"))}
EACH = (10 * 1 + 5 * 10) / 1e6
"""Dollars of a reply: 10 input tokens at 1, and 5 output tokens at 10 dollars a million."""
SHORT = Budget(turns=4, tool_calls=3, target_tokens=4_000, seconds=None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with scaled_clock(0.0005):
        yield


def say(body: dict[str, Any]) -> Say:
    """Words that depend on model and seed alone, as an honest server's would."""
    seed = body.get("seed", 0)
    return Say(text=f"{body['model']} talks of bread, river and paper {seed % 7}.")


def served(name: str, **settings: Any) -> ServedModel:
    price = {"input": 1.0, "output": 10.0}
    return ServedModel(name=name, key_env="LOOPBACK_KEY", price=price, **settings)


def scenario(server: Loopback, make_resolved: Make, **changes: Any) -> ResolvedScenario:
    spec = TargetSpec(
        id="far",
        model=served(server.openai("target")),
        baseline=served(server.openai("baseline")),
        truth=Truth(group="clean"),
    )
    return make_resolved(spec, **{"tool_sets": ROW, "budget": SHORT, **changes})


def run(resolved: ResolvedScenario, folder: Path, **options: Any) -> RunResult:
    return execute(resolved, RunOptions(runs_dir=folder, **{"workers": 1, **options}))


def ended(result: RunResult) -> list[str | None]:
    assert all(one.error is None for one in result.summaries), result.summaries
    return [one.ended_by for one in result.summaries]


def outcome(result: RunResult) -> list[object]:
    """All that does not depend on the run's name and the hour."""
    found = []
    for one in result.summaries:
        events = read_events(trial_path(result.run_dir, one.key))
        found += [event.model_dump(exclude={"at", "key", "seconds", "usage"}) for event in events]
    return found


def test_a_target_behind_a_provider_is_audited_as_any_other(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        result = run(scenario(server, make_resolved), tmp_path)
        models = {body["model"] for body in server.bodies}
    assert result.counts == {"scored": 1}
    assert models == {"target", "baseline"}
    (summary,) = result.summaries
    assert summary.usage is not None
    assert summary.usage.target_tokens > 0


def test_faults_on_the_way_change_nothing_of_the_record(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        calm = run(scenario(server, make_resolved), tmp_path, run="calm")
    for seed in range(2):
        faults = fault_schedule(seed, rate=0.2, replies=False)
        with Loopback(say, faults=faults) as server:
            resolved = scenario(server, make_resolved)
            rough = run(resolved, tmp_path, run=f"rough-{seed}")
        assert outcome(rough) == outcome(calm)


def test_a_second_run_takes_kept_replies_and_asks_nothing(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        resolved = scenario(server, make_resolved)
        first = run(resolved, tmp_path, cache="write")
        n_asked = len(server.bodies)
        again = run(resolved, tmp_path, cache="read")
        assert len(server.bodies) == n_asked > 0
        run(resolved, tmp_path, cache="off")
        assert len(server.bodies) == 2 * n_asked
    assert outcome(again) == outcome(first)


def test_processes_together_stop_before_the_dollars_of_a_run_are_exceeded(
    make_resolved: Make, tmp_path: Path
) -> None:
    limit = 0.006
    with Loopback(say) as server:
        resolved = scenario(server, make_resolved, run_budget={"dollars": limit}, trials=2)
        result = run(resolved, tmp_path, workers=2)
        paid = len(server.paid) * EACH
    assert ended(result) == ["run_dollars", "run_dollars"]
    assert not result.counts.get("errored")
    assert 0 < paid <= limit


def test_a_run_whose_limit_was_raised_goes_on(make_resolved: Make, tmp_path: Path) -> None:
    with Loopback(say) as server:
        low = scenario(server, make_resolved, run_budget={"dollars": 0.001})
        assert ended(run(low, tmp_path, run="r")) == ["run_dollars"]
        high = scenario(server, make_resolved, run_budget={"dollars": 10.0}, trials=2)
        assert ended(run(high, tmp_path, run="r"))[0] == "run_dollars", "what is sealed stays"
        assert ended(run(high, tmp_path, run="r"))[1] != "run_dollars"


def test_the_key_and_the_truth_of_names_stay_where_they_belong(
    make_resolved: Make, tmp_path: Path
) -> None:
    faults = [Fault(kind="status", status=429), None, Fault(kind="status", status=401)]
    with Loopback(say, faults=faults) as server:
        resolved = scenario(server, make_resolved, run_budget={"dollars": 5.0})
        with pytest.raises(RunOutageError):
            run(resolved, tmp_path, cache="write")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "spending.db" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    for body in server.bodies:
        assert "far" not in str(body["messages"])


def dollars(result: RunResult) -> float | None:
    (summary,) = result.summaries
    assert summary.usage is not None
    return summary.usage.dollars


def test_what_target_and_baseline_cost_is_in_the_dollars_of_a_trial(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        resolved = scenario(server, make_resolved)
        bought = run(resolved, tmp_path, cache="write")
        assert dollars(bought) == pytest.approx(len(server.paid) * EACH)
        kept = run(resolved, tmp_path, cache="read")
        assert dollars(kept) is None, "nobody was paid"


def test_one_unknown_price_leaves_the_dollars_of_a_trial_blank(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        priced, free = served(server.openai("target")), ServedModel(name=server.openai("baseline"))
        for model, baseline in ((priced, free), (free, priced)):
            spec = TargetSpec(id="far", model=model, baseline=baseline, truth=Truth(group="clean"))
            resolved = make_resolved(spec, tool_sets=ROW, budget=SHORT)
            assert dollars(run(resolved, tmp_path)) is None


def test_the_dollars_of_a_trial_hold_for_what_its_target_costs(
    make_resolved: Make, tmp_path: Path
) -> None:
    with Loopback(say) as server:
        limit = SHORT.model_copy(update={"dollars": 0.0001})
        result = run(scenario(server, make_resolved, budget=limit), tmp_path)
    assert ended(result) == ["dollars"]
    (summary,) = result.summaries
    assert summary.usage is not None
    assert summary.usage.tool_calls == 1, "a call that has begun is finished"
    assert (dollars(result) or 0) >= 0.0001


def test_a_missing_key_is_told_before_any_work(
    make_resolved: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPBACK_KEY")
    with Loopback(say) as server:
        resolved = scenario(server, make_resolved)
        with pytest.raises(UsageError, match="needs a key; set LOOPBACK_KEY"):
            run(resolved, tmp_path)
        assert server.bodies == []
    assert list(tmp_path.iterdir()) == []
