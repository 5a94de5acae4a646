"""Servers that go away in the middle of a run, and come back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import main
from auditor.errors import OutageError
from auditor.investigator.protocol import Move, ToolCall
from auditor.provider.clock import scaled_clock
from auditor.provider.scripted import ScriptedPolicy
from auditor.records import Hypothesis, Submission
from auditor.run.execute import RunLimitError, RunOptions, RunOutageError, RunResult, execute
from auditor.run.executors.ray_cluster import RayExecutor
from auditor.run.executors.ray_host import Host, Line
from auditor.run.plan import plan
from auditor.run.resume import resume_run
from auditor.run.store import load_summaries, read_events
from auditor.scenario.schema import (
    Budget,
    JudgeSpec,
    ResolvedScenario,
    ServedModel,
    TargetSpec,
    ToolSet,
    Truth,
)
from tests.auditor.provider.servers import Fault, Loopback, Outage, Say

Make = Callable[..., ResolvedScenario]
Records = Callable[[Path], dict[str, list[str]]]
OVERLOADED = Fault(kind="status", status=529)
NO_KEY = Fault(kind="status", status=401)
READS: dict[str, Any] = {"reasoning": "no", "matches": [], "behaviours": []}


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with scaled_clock(0.0005):
        yield


def say(body: dict[str, Any]) -> Say:
    """Words that depend on model and seed alone; of a judge, that nothing is right."""
    if body["model"] == "judge":
        return Say(text=json.dumps(READS))
    return Say(text=f"{body['model']} talks of profit, money and paper {body['seed'] % 7}.")


def scenario(server: Loopback, make_resolved: Make, **changes: Any) -> ResolvedScenario:
    """Three trials of one row; every model is behind the server."""
    spec = TargetSpec(
        id="far",
        model=ServedModel(name=server.openai("target")),
        baseline=ServedModel(name=server.openai("baseline")),
        truth=Truth(group="guilty", motive="profit"),
    )
    budget = Budget(turns=4, tool_calls=3, target_tokens=4_000, seconds=None)
    row = {"black_box": ToolSet(tools=("chat", "compare_with_baseline"))}
    return make_resolved(spec, **{"tool_sets": row, "budget": budget, "trials": 3, **changes})


def judged_by_model(server: Loopback, **settings: Any) -> JudgeSpec:
    model = {"name": server.openai("judge"), **settings}
    return JudgeSpec.model_validate({"kind": "model", "model": model})


def run(resolved: ResolvedScenario, folder: Path, **options: Any) -> RunResult:
    return execute(resolved, RunOptions(runs_dir=folder, run="r", **{"workers": 1, **options}))


def statuses(run_dir: Path) -> list[str]:
    return [one.status for one in load_summaries(run_dir)]


@pytest.fixture
def claiming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every auditor ask once and claim a motive, so that a judge has something to read."""
    guess = Hypothesis(statement="it wants money", kind="motive")
    moves = [
        Move(thought="ask", calls=(ToolCall(tool="chat", arguments={"prompts": ["hello"]}),)),
        Move(thought="done", submission=Submission(verdict="motive", hypotheses=(guess,))),
    ]
    monkeypatch.setattr(
        "auditor.investigator.policies.make_policy", lambda *_, **__: ScriptedPolicy(moves)
    )


@pytest.fixture
def calm(make_resolved: Make, records: Records, tmp_path: Path) -> tuple[object, int]:
    """Records of a run that nothing disturbs, and how many replies it paid for."""
    with Loopback(say) as server:
        result = run(scenario(server, make_resolved), tmp_path / "calm")
    assert result.counts == {"scored": 3}
    return records(result.run_dir), len(server.paid)


@pytest.mark.parametrize("fault", [OVERLOADED, NO_KEY], ids=["passing", "for-all"])
@pytest.mark.parametrize(
    ("after", "how"),
    [(40, {"workers": 1}), (40, {"concurrency": 3})],
    ids=["one", "threads"],
)
def test_a_run_stops_where_its_target_goes_away_and_goes_on_when_it_is_back(
    fault: Fault,
    after: int,
    how: dict[str, Any],
    calm: tuple[object, int],
    make_resolved: Make,
    records: Records,
    tmp_path: Path,
) -> None:
    faults = Outage(fault, after=after)
    with Loopback(say, faults=faults) as server:
        resolved = scenario(server, make_resolved)
        with pytest.raises(RunOutageError, match=f"openai/.* answered {fault.status}") as caught:
            run(resolved, tmp_path, cache="write", **how)
        assert "`auditor resume r` goes on" in str(caught.value)
        begun = statuses(tmp_path / "r")
        assert "errored" not in begun
        assert begun.count("unfinished") >= 1
        assert not list((tmp_path / "r").rglob("*.part"))
        faults.healed = True
        result = resume_run(tmp_path / "r", **how)
        assert (records(result.run_dir), len(server.paid)) == calm, "no reply is paid for twice"


def test_no_other_trial_begins_in_an_outage(make_resolved: Make, tmp_path: Path) -> None:
    stopped = pytest.raises(RunOutageError, match="0 of 3 trials are finished")
    with Loopback(say, faults=Outage(OVERLOADED, after=0)) as server, stopped:
        run(scenario(server, make_resolved), tmp_path)
    assert statuses(tmp_path / "r") == ["unfinished"]


def test_what_one_request_has_met_ends_its_trial_alone(make_resolved: Make, tmp_path: Path) -> None:
    faults = iter([Fault(kind="status", status=422)])
    with Loopback(say, faults=faults) as server:
        result = run(scenario(server, make_resolved), tmp_path)
    assert result.counts == {"errored": 1, "scored": 2}


@pytest.mark.slow
def test_a_trial_in_a_worker_process_stays_unfinished(
    calm: tuple[object, int], make_resolved: Make, records: Records, tmp_path: Path
) -> None:
    faults = Outage(NO_KEY, after=60)
    with Loopback(say, faults=faults) as server:
        resolved = scenario(server, make_resolved)
        with pytest.raises(RunOutageError, match="answered 401"):
            run(resolved, tmp_path, workers=2)
        assert {"unfinished"} <= set(statuses(tmp_path / "r")) <= {"unfinished", "scored"}
        faults.healed = True
        result = resume_run(tmp_path / "r", workers=1)
    assert records(result.run_dir) == calm[0]


def test_an_actor_tells_its_driver_of_an_outage(make_resolved: Make) -> None:
    with Loopback(say, faults=Outage(NO_KEY, after=0)) as server:
        resolved = scenario(server, make_resolved)
        (trial, *_) = plan(resolved, run="r")
        host = Host(resolved.model_dump_json(), 1, saves=False)
        *_, last = host.trial(str(trial.key), [], None)
    assert last.what == "outage"
    with pytest.raises(OutageError, match="answered 401"):
        RayExecutor(resolved, run_dir=Path())._heed(trial, Line(last.what, last.text))


@pytest.mark.usefixtures("claiming")
def test_a_judge_that_is_away_is_all_that_is_asked_afterwards(
    make_resolved: Make, tmp_path: Path
) -> None:
    away = Outage(OVERLOADED, after=0)
    with Loopback(say) as server, Loopback(say, faults=away) as court:
        resolved = scenario(server, make_resolved, judge=judged_by_model(court), trials=1)
        with pytest.raises(RunOutageError, match="openai/judge@.* answered 529"):
            run(resolved, tmp_path)
        (record,) = (tmp_path / "r" / "trials").iterdir()
        assert read_events(record)[-1].type == "submission"
        asked, away.healed = len(server.bodies), True
        (summary,) = resume_run(tmp_path / "r").summaries
        assert (summary.status, len(server.bodies)) == ("scored", asked)


@pytest.mark.usefixtures("claiming")
def test_a_judge_that_reaches_the_limit_of_the_run_leaves_the_trial_unfinished(
    make_resolved: Make, tmp_path: Path
) -> None:
    court = {"price": {"input": 1e6, "output": 1e6}}
    with Loopback(say) as server:
        target = {"name": server.openai("target"), "price": {"input": 0, "output": 0}}
        spec = TargetSpec(
            id="far",
            model=ServedModel.model_validate(target),
            truth=Truth(group="guilty", motive="profit"),
        )
        resolved = make_resolved(
            spec,
            tool_sets={"black_box": ToolSet(tools=("chat",))},
            judge=judged_by_model(server, **court),
            run_budget={"dollars": 5.0},
        )
        with pytest.raises(RunLimitError, match=r"run_budget\.dollars is 5"):
            run(resolved, tmp_path)
    assert statuses(tmp_path / "r") == ["unfinished"]


def test_the_command_line_says_who_is_away_in_one_line_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "far.json"
    with Loopback(say, faults=Outage(OVERLOADED, after=3)) as server:
        target = {
            "id": "far",
            "model": {"name": server.openai("target")},
            "baseline": {"name": server.openai("baseline")},
        }
        content = {
            "name": "far",
            "targets": [{**target, "truth": {"group": "clean"}}],
            "tool_sets": {"row": {"tools": ["chat", "compare_with_baseline"]}},
        }
        path.write_text(json.dumps(content))
        words = ["run", str(path), "--runs-dir", str(tmp_path), "--workers", "1", "--quiet"]
        with pytest.raises(SystemExit) as stop:
            main([*words, "--run", "r"])
    assert stop.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stopped after 0 of 1 trials: {server.openai('target')} answered 529")
    assert line.endswith("; then continue with: auditor " + " ".join([*words, "--run", "r"]))
