import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import RunLockedError, UsageError
from auditor.records import SealedEvent, ToolResultEvent, TrialEvent, TrialKey
from auditor.run import index
from auditor.run.execute import RunInterruptedError, RunOptions, RunPlan, execute, plan_run
from auditor.run.lock import locked
from auditor.run.store import is_sealed, load_run, load_summaries, read_events, trial_path
from auditor.scenario.schema import Budget, ResolvedScenario

Make = Callable[..., ResolvedScenario]


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(runs_dir=tmp_path / "runs", run="r", workers=1)


def outcomes(run_dir: Path) -> dict[str, object]:
    """What each trial came to, without times."""
    return {
        s.key.stem: (s.status, s.submission, s.verdict, s.usage and s.usage.target_tokens)
        for s in load_summaries(run_dir)
    }


def files(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run_dir / "trials").iterdir()}


def test_a_run_leaves_its_folder_and_its_index(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    resolved.source.write_text("name: toy\n")
    result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"scored": 6}
    assert result.run_dir == options.runs_dir / "r"
    assert sorted(path.name for path in result.run_dir.iterdir()) == [
        *("lock", "run.json", "scenario.yaml", "trials")
    ]
    assert load_run(result.run_dir).planned == 6
    [info] = index.list_runs(options.runs_dir)
    assert (info.run, info.scored, info.unfinished) == ("r", 6, 0)


def test_events_reach_the_listener_after_they_are_written(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    plans: list[RunPlan] = []
    heard: dict[TrialKey, int] = {}

    def listen(key: TrialKey, event: TrialEvent) -> None:
        heard[key] = heard.get(key, 0) + 1
        assert read_events(trial_path(options.runs_dir / "r", key))[-1] == event

    execute(resolved, options, on_plan=plans.append, on_event=listen, pool=make_pool())
    [what] = plans
    assert list(heard) == [trial.key for trial in what.trials]
    assert (len(what.todo), what.n_done, what.workers) == (6, 0, 1)


def test_trials_do_not_depend_on_order_or_on_those_beside(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    whole = execute(resolved, replace(options, trials=2), pool=make_pool())
    backwards = resolved.model_copy(update={"targets": resolved.targets[::-1]})
    other = execute(backwards, replace(options, run="other", trials=2), pool=make_pool())
    alone = execute(
        resolved,
        replace(options, run="alone", targets=["guilty-2"], tool_sets=["black_box"]),
        pool=make_pool(),
    )
    expected = outcomes(whole.run_dir)
    assert outcomes(other.run_dir) == expected
    assert outcomes(alone.run_dir) == {"guilty-2__black_box__0": expected["guilty-2__black_box__0"]}


def test_a_finished_run_is_not_done_again(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    first = execute(resolved, options, pool=make_pool())
    before = files(first.run_dir)
    pool = make_pool()
    again = execute(resolved, options, pool=pool)
    assert pool.loaded == []
    assert files(again.run_dir) == before
    assert again.summaries == first.summaries


def test_more_trials_extend_a_run_and_leave_sealed_ones_alone(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    first = execute(resolved, replace(options, tool_sets=["static"]), pool=make_pool())
    before = files(first.run_dir)
    longer = execute(resolved, replace(options, trials=2), pool=make_pool())
    after = files(longer.run_dir)
    assert (len(before), len(after)) == (3, 12)
    assert before.items() <= after.items()


def test_an_errored_trial_does_not_stop_the_run_and_stays_as_it_is(
    make_resolved: Make, make_target: Callable, options: RunOptions, make_pool: Callable
) -> None:
    resolved = make_resolved(
        make_target("bad", "guilty", path="broken"), make_target("good", "clean")
    )
    result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"errored": 2, "scored": 2}
    assert {s.key.target for s in result.summaries if s.status == "errored"} == {"bad"}
    before = files(result.run_dir)
    assert files(execute(resolved, options, pool=make_pool()).run_dir) == before
    assert index.list_runs(options.runs_dir)[0].errored == 2


def test_an_interrupted_run_says_how_to_go_on_and_does(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    def interrupt(key: TrialKey, event: TrialEvent) -> None:
        if key.target == "clean-1" and isinstance(event, ToolResultEvent):
            raise KeyboardInterrupt

    with pytest.raises(RunInterruptedError, match="2 of 6 trials .* --run r ") as caught:
        execute(resolved, options, on_event=interrupt, pool=make_pool())
    assert isinstance(caught.value, KeyboardInterrupt)
    run_dir = options.runs_dir / "r"
    sealed = {name: text for name, text in files(run_dir).items() if b'"sealed"' in text}
    assert len(sealed) == 2
    assert len(load_summaries(run_dir)) == 3
    result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"scored": 6}
    assert sealed.items() <= files(run_dir).items()
    straight = execute(resolved, replace(options, run="straight"), pool=make_pool())
    assert outcomes(run_dir) == outcomes(straight.run_dir)


def test_a_torn_trial_is_begun_anew(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    first = execute(resolved, options, pool=make_pool())
    expected = outcomes(first.run_dir)
    path = sorted((first.run_dir / "trials").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-9])
    assert not is_sealed(path)
    execute(resolved, options, pool=make_pool())
    assert outcomes(first.run_dir) == expected


def test_two_processes_cannot_write_one_run(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    (options.runs_dir / "r").mkdir(parents=True)
    with locked(options.runs_dir / "r" / "lock"), pytest.raises(RunLockedError):
        execute(resolved, options, pool=make_pool())
    assert dict(execute(resolved, options, pool=make_pool()).counts) == {"scored": 6}


def test_a_run_of_another_seed_is_not_continued(
    make_resolved: Make, options: RunOptions, make_pool: Callable
) -> None:
    first = execute(make_resolved(), options, pool=make_pool())
    before = (files(first.run_dir), (first.run_dir / "run.json").read_bytes())
    with pytest.raises(UsageError, match="another seed"):
        execute(make_resolved(seed=99), replace(options, trials=2), pool=make_pool())
    assert (files(first.run_dir), (first.run_dir / "run.json").read_bytes()) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": ["nobody"]},
        {"tool_sets": ["nothing"]},
        {"trials": 0},
        {"workers": 0},
        {"threads": 0},
        {"run": "../up"},
    ],
)
def test_a_wrong_option_writes_nothing(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable, wrong: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        execute(resolved, replace(options, **wrong), pool=make_pool())
    assert not options.runs_dir.exists()


def test_a_folder_that_is_not_a_run_is_left_alone(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    (options.runs_dir / "r").mkdir(parents=True)
    (options.runs_dir / "r" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a run"):
        execute(resolved, options, pool=make_pool())
    assert [p.name for p in (options.runs_dir / "r").iterdir()] == ["thesis.txt"]


def test_a_run_without_a_name_gets_one_of_its_own(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    unnamed = replace(options, run=None, targets=["clean-1"], tool_sets=["static"])
    names = {execute(resolved, unnamed, pool=make_pool()).run for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("toy-20") for name in names)


def test_a_broken_index_does_not_stop_a_run(
    resolved: ResolvedScenario,
    options: RunOptions,
    make_pool: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (options.runs_dir / index.INDEX_FILE).mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        result = execute(resolved, options, pool=make_pool())
    assert dict(result.counts) == {"scored": 6}
    assert "auditor reindex" in caplog.text


def test_the_default_number_of_workers_is_small(
    resolved: ResolvedScenario, options: RunOptions
) -> None:
    automatic = replace(options, workers=None)
    assert 1 <= plan_run(resolved, automatic).workers <= 2
    one = replace(automatic, targets=["clean-1"], tool_sets=["static"])
    assert plan_run(resolved, one).workers == 1
    assert plan_run(resolved, replace(options, workers=50)).workers == 6


def test_every_sealed_trial_is_indexed_at_once(
    resolved: ResolvedScenario, options: RunOptions, make_pool: Callable
) -> None:
    counts = []

    def listen(key: TrialKey, event: TrialEvent) -> None:
        if isinstance(event, SealedEvent):
            counts.append(index.list_runs(options.runs_dir)[0].scored)

    execute(resolved, options, on_event=listen, pool=make_pool())
    assert counts == [1, 2, 3, 4, 5, 6]


BUDGETS = {"tokens": Budget(model_tokens=900, seconds=None), "steps": Budget(turns=2, seconds=None)}


def test_a_named_budget_is_kept_with_the_run_and_limits_its_trials(
    make_resolved: Make, options: RunOptions, make_pool: Callable
) -> None:
    resolved = make_resolved(budgets=BUDGETS)
    options = replace(options, tool_sets=["black_box"])
    wide = execute(resolved, options, pool=make_pool())
    tight = execute(resolved, replace(options, run="tight", budget="tokens"), pool=make_pool())
    record = load_run(tight.run_dir)
    assert record.options["budget"] == "tokens"
    assert record.resolved.scenario.budget == BUDGETS["tokens"]
    assert load_run(wide.run_dir).resolved.scenario.budget == resolved.scenario.budget
    assert {s.status for s in tight.summaries} == {"scored"}
    assert [s.key.target for s in tight.summaries] == [s.key.target for s in wide.summaries]
    for less, more in zip(tight.summaries, wide.summaries, strict=True):
        assert less.usage
        assert more.usage
        assert 0 < less.usage.model_tokens < min(900, more.usage.model_tokens)
    # The seeds are the same, so that the two can be compared trial by trial.
    assert (
        plan_run(resolved, options).trials
        == plan_run(resolved, replace(options, budget="tokens")).trials
    )


def test_a_run_goes_on_with_its_own_budget_alone(
    make_resolved: Make, options: RunOptions, make_pool: Callable
) -> None:
    resolved = make_resolved(budgets=BUDGETS)
    options = replace(options, tool_sets=["static"], targets=["clean-1"], budget="steps")
    first = execute(resolved, options, pool=make_pool())
    before = files(first.run_dir)
    for other in ("tokens", None):
        with pytest.raises(UsageError, match=r"another budget \(--budget steps\)"):
            execute(resolved, replace(options, budget=other), pool=make_pool())
    assert execute(resolved, options, pool=make_pool()).summaries == first.summaries
    assert files(first.run_dir) == before


@pytest.mark.parametrize(
    ("name", "budgets", "said"),
    [
        (
            "token",
            BUDGETS,
            "unknown budget 'token': did you mean 'tokens'? there are tokens, steps",
        ),
        ("x", BUDGETS, "unknown budget 'x': there are tokens, steps"),
        ("tokens", {}, "unknown budget 'tokens': the scenario names none"),
    ],
)
def test_an_unknown_budget_is_refused_with_the_names_there_are(
    make_resolved: Make, options: RunOptions, name: str, budgets: dict[str, Budget], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        execute(make_resolved(budgets=budgets), replace(options, budget=name))
    assert str(caught.value) == said
    assert not options.runs_dir.exists()
