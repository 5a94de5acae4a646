"""`auditor run` as a shell sees it: streams, exit codes, and what an interrupt leaves.

The audits themselves are played from records made by hand.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import auditor.run.execute as execution
import auditor.scenario
from auditor.errors import Mistake, ScenarioError
from auditor.records import TrialEvent
from auditor.run.record import new_record
from auditor.run.store import TrialWriter, load_summaries, trial_path, write_run

if TYPE_CHECKING:
    from conftest import Call, Made

    from auditor.scenario.schema import ResolvedScenario


class Stage:
    """Stands in for the audits: trials end as `events` says, and what was asked is kept."""

    def __init__(self, made: "Made") -> None:
        self.made = made
        self.events: Callable[..., list[TrialEvent]] = made.right
        self.options: execution.RunOptions | None = None
        self.seed: int | None = None
        self.interrupt_after: int | None = None

    def execute(
        self,
        resolved: "ResolvedScenario",
        options: execution.RunOptions,
        *,
        hooks: execution.Hooks,
    ) -> execution.RunResult:
        """Play every trial."""
        self.options, self.seed = options, resolved.scenario.seed
        what = execution.plan_run(resolved, options)
        (what.run_dir / "trials").mkdir(parents=True, exist_ok=True)
        planned = len(what.trials)
        write_run(what.run_dir, new_record(resolved, run=what.run, planned=planned, options={}))
        hooks.on_plan(what)
        for number, trial in enumerate(what.todo):
            if number == self.interrupt_after:
                raise execution.RunInterruptedError(what, finished=number)
            with TrialWriter(trial_path(what.run_dir, trial.key)) as writer:
                for event in self.events(trial.key, trial.target.truth.group):
                    writer.write(event)
                    if hooks.on_event is not None:
                        hooks.on_event(trial.key, event)
        summaries = tuple(load_summaries(what.run_dir))
        return execution.RunResult(run=what.run, run_dir=what.run_dir, summaries=summaries)


@pytest.fixture
def stage(made: "Made", monkeypatch: pytest.MonkeyPatch) -> Stage:
    played = Stage(made)
    monkeypatch.setattr(execution, "execute", played.execute)
    monkeypatch.setattr(auditor.scenario, "load_scenario", lambda _: made.scenario())
    return played


def test_the_table_is_all_that_standard_output_carries(call: "Call", stage: Stage) -> None:
    ended = call("run", "tiny", "--run", "mine")
    assert ended.code == 0
    assert "ideal black box" in ended.out
    assert "✓ found" not in ended.out
    assert "[1/2] ✓ found" in ended.err
    assert "[2/2] – correctly quiet" in ended.err
    assert "2 targets × black_box = 2 trials" in ended.err
    assert "auditor show" in ended.err


def test_quiet_prints_nothing_but_the_table(call: "Call", stage: Stage) -> None:
    ended = call("run", "tiny", "--quiet", "--run", "mine")
    assert ended.err == ""
    assert ended.out == call("table", "mine").out


def test_json_is_lines_of_launch_trials_rows_and_done(call: "Call", stage: Stage) -> None:
    ended = call("run", "tiny", "--json", "--run", "mine")
    found = [json.loads(line) for line in ended.out.splitlines()]
    events = [one["event"] for one in found]
    assert events[:3] == ["launch", "trial", "trial"]
    assert set(events[3:-1]) == {"row"}
    assert events[-1] == "done"
    assert found[0]["run"] == "mine"
    assert found[0]["n_trials"] == 2
    assert found[0]["tool_sets"] == ["black_box"]
    trials = {one["key"]: one for one in found[1:3]}
    guilty = trials["mine/guilty-1/black_box/0"]
    assert (guilty["outcome"], guilty["status"], guilty["truth"]) == ("found", "scored", "approval")
    assert guilty["usage"]["tool_calls"] == 1
    assert guilty["submission"]["verdict"] == "motive"
    assert found[-1]["counts"] == {"scored": 2}


@pytest.mark.parametrize("mode", ["off", "read", "write"])
def test_whether_replies_are_kept_is_passed_on(call: "Call", stage: Stage, mode: str) -> None:
    assert call("run", "tiny", "--cache", mode, "--run", "mine").code == 0
    assert stage.options is not None
    assert stage.options.cache == mode
    assert call("run", "tiny", "--run", "other").code == 0
    assert stage.options.cache == "off"


def test_an_unknown_way_to_keep_replies_is_a_usage_error(call: "Call", stage: Stage) -> None:
    ended = call("run", "tiny", "--cache", "always")
    assert ended.code == 2
    assert "'always'" in ended.err


def test_the_budget_is_named_where_one_was_chosen(call: "Call", stage: Stage) -> None:
    chosen = call("run", "tiny", "--budget", "tokens", "--run", "mine")
    assert "2 trials; budget tokens; run mine" in chosen.err
    assert "2 trials; run other" in call("run", "tiny", "--run", "other").err
    for name in (None, "tokens"):
        words = () if name is None else ("--budget", name)
        launch = json.loads(call("run", "tiny", "--json", *words).out.splitlines()[0])
        assert launch["budget"] == name


def test_json_with_quiet_leaves_standard_error_empty(call: "Call", stage: Stage) -> None:
    ended = call("run", "tiny", "--json", "--quiet")
    assert ended.err == ""
    assert all(json.loads(line)["event"] for line in ended.out.splitlines())


def test_a_trial_that_begins_again_is_reported_once(call: "Call", stage: Stage) -> None:
    def twice(key: Any, group: Any) -> list[TrialEvent]:
        events = stage.made.right(key, group)
        return [*events[:4], *events]

    stage.events = twice
    found = map(json.loads, call("run", "tiny", "--json").out.splitlines())
    assert sum(one["event"] == "trial" for one in found) == 2


def test_verbose_prints_every_call(call: "Call", stage: Stage) -> None:
    assert 'turn 1  chat(prompts=["How are you?"])' in call("run", "tiny", "-v").err


def test_options_reach_the_run(call: "Call", stage: Stage) -> None:
    call(
        "run", "tiny", "--tool-sets", "black_box, ", "--targets", "guilty-*,group:clean",
        "--trials", "3", "--seed", "11", "--budget", "tokens", "--workers", "2", "--run", "mine",
    )  # fmt: skip
    assert stage.options is not None
    assert stage.options.tool_sets == ["black_box"]
    assert stage.options.targets == ["guilty-*", "group:clean"]
    assert (stage.options.trials, stage.options.workers) == (3, 2)
    assert (stage.options.run, stage.options.budget) == ("mine", "tokens")
    assert stage.options.runs_dir == stage.made.runs_dir
    assert stage.seed == 11


def test_wrong_verdicts_are_no_failure_of_the_command(call: "Call", stage: Stage) -> None:
    stage.events = stage.made.wrong
    assert call("run", "tiny").code == 0


def test_errored_trials_are_named_and_exit_with_1(call: "Call", stage: Stage) -> None:
    stage.events = stage.made.errored
    ended = call("run", "tiny")
    assert ended.code == 1
    assert "errored: guilty-1__black_box__0: OSError: the disk is full" in ended.err


def test_a_finished_run_is_not_run_again(call: "Call", stage: Stage) -> None:
    call("run", "tiny", "--run", "mine")
    ended = call("run", "tiny", "--run", "mine")
    assert ended.code == 0
    assert "2 of them already finished" in ended.err
    assert "[1/2]" not in ended.err


def test_an_interrupt_says_how_to_continue(call: "Call", stage: Stage) -> None:
    stage.interrupt_after = 1
    ended = call("run", "my file.yaml", "--trials", "2", "--quiet", "--run", "mine")
    assert ended.code == 130
    assert ended.out == ""
    assert ended.err.strip() == (
        "interrupted after 1 of 4 trials; continue with: "
        "auditor run 'my file.yaml' --trials 2 --quiet --run mine"
    )


def test_an_interrupt_of_an_unnamed_run_gives_its_name(call: "Call", stage: Stage) -> None:
    stage.interrupt_after = 0
    ended = call("run", "tiny")
    (run_dir,) = stage.made.runs_dir.iterdir()
    assert ended.err.strip().endswith(f"auditor run tiny --run {run_dir.name}")


def test_every_mistake_of_a_scenario_is_a_line(
    call: "Call", stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistakes = [
        Mistake("a.yaml", 3, 5, "unknown key"),
        Mistake("a.yaml", 9, 1, "wrong \x1b[2Jtype"),
    ]

    def fail(_: str) -> None:
        raise ScenarioError(mistakes)

    monkeypatch.setattr(auditor.scenario, "load_scenario", fail)
    ended = call("run", "a.yaml")
    assert ended.code == 2
    assert ended.err.splitlines() == ["a.yaml:3:5: unknown key", "a.yaml:9:1: wrong type"]
    assert not stage.made.runs_dir.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tool-sets", "black_bocks"), "did you mean 'black_box'?"),
        (("--targets", "nobody"), "nobody"),
        (("--run", "a/b"), "a/b"),
        (("--budget", "token"), "did you mean 'tokens'? there are tokens"),
    ],
)
def test_wrong_options_are_one_line(
    call: "Call", stage: Stage, words: tuple[str, ...], message: str
) -> None:
    ended = call("run", "tiny", *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("words", [("--trials", "0"), ("--seed", "-1"), ("--workers", "two")])
def test_impossible_numbers_are_refused_before_anything_runs(
    call: "Call", stage: Stage, words: tuple[str, ...]
) -> None:
    ended = call("run", "tiny", *words)
    assert ended.code == 2
    assert words[0] in ended.err
    assert stage.options is None


def test_an_unexpected_error_is_a_traceback(
    call: "Call", stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(execution, "execute", crash)
    with pytest.raises(ZeroDivisionError):
        call("run", "tiny")
