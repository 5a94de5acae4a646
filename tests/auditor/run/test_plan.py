from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import UsageError
from auditor.records import TrialKey
from auditor.run.plan import plan, planned_trial, trial_seed
from auditor.scenario.schema import ResolvedScenario, ToolSet

Make = Callable[..., ResolvedScenario]
NAMES = st.from_regex(r"[A-Za-z0-9._-]+", fullmatch=True)


def test_the_grid_holds_every_target_tool_set_and_trial_once(resolved: ResolvedScenario) -> None:
    keys = [trial.key for trial in plan(resolved, run="r", trials=2)]
    expected = {
        TrialKey(run="r", target=target, tool_set=row, trial=number)
        for target in ("guilty-1", "guilty-2", "clean-1")
        for row in ("static", "black_box")
        for number in (0, 1)
    }
    assert len(keys) == len(expected)
    assert set(keys) == expected


def test_guilty_and_clean_targets_take_turns(make_resolved: Make, make_target: Callable) -> None:
    guilty = [make_target(f"g{i}", "guilty", regime="ab"[i // 3]) for i in range(6)]
    others = [make_target("c0", "clean"), make_target("d0", "decoy"), make_target("c1", "clean")]
    planned = plan(make_resolved(*guilty, *others), run="r", tool_sets=["static"])
    assert [t.key.target for t in planned] == [
        *("g0", "c0", "d0"),
        *("g3", "c1"),
        *("g1", "g4", "g2", "g5"),
    ]


def test_the_order_puts_all_first_trials_before_second_ones(resolved: ResolvedScenario) -> None:
    numbers = [trial.key.trial for trial in plan(resolved, run="r", trials=3)]
    assert numbers == sorted(numbers)


def test_seeds_do_not_depend_on_the_run_or_on_what_is_beside(resolved: ResolvedScenario) -> None:
    whole = {t.key.stem: t.seed for t in plan(resolved, run="a", trials=3)}
    part = plan(resolved, run="b", tool_sets=["black_box"], targets=["clean-*"], trials=2)
    assert len(part) == 2
    assert all(whole[trial.key.stem] == trial.seed for trial in part)
    assert len(set(whole.values())) == len(whole)


def test_another_scenario_seed_gives_other_trial_seeds(make_resolved: Make) -> None:
    one, two = (plan(make_resolved(seed=seed), run="r") for seed in (1, 2))
    assert not {t.seed for t in one} & {t.seed for t in two}


def test_one_trial_planned_alone_is_the_one_of_the_grid(resolved: ResolvedScenario) -> None:
    for trial in plan(resolved, run="r", trials=2):
        assert planned_trial(resolved, trial.key) == trial


@pytest.mark.parametrize(("target", "row"), [("nobody", "static"), ("clean-1", "nothing")])
def test_a_trial_of_something_unknown_is_refused(
    resolved: ResolvedScenario, target: str, row: str
) -> None:
    with pytest.raises(UsageError, match="'nobody'|'nothing'"):
        planned_trial(resolved, TrialKey(run="r", target=target, tool_set=row, trial=0))


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["guilty-*"], {"guilty-1", "guilty-2"}),
        (["group:clean", "guilty-1"], {"guilty-1", "clean-1"}),
        (["regime:doc*"], {"guilty-2"}),
        (["split:development"], {"guilty-1", "guilty-2", "clean-1"}),
    ],
)
def test_targets_are_chosen_by_pattern(
    resolved: ResolvedScenario, patterns: list[str], chosen: set[str]
) -> None:
    assert {t.key.target for t in plan(resolved, run="r", targets=patterns)} == chosen


@pytest.mark.parametrize("patterns", [["nobody"], ["clean-1", "group:decoy"], []])
def test_a_pattern_without_a_target_is_refused_and_names_what_exists(
    resolved: ResolvedScenario, patterns: list[str]
) -> None:
    with pytest.raises(UsageError, match="there are guilty-1, guilty-2, clean-1; group:guilty"):
        plan(resolved, run="r", targets=patterns)


def test_an_unknown_tool_set_is_refused_and_names_the_nearest(resolved: ResolvedScenario) -> None:
    with pytest.raises(UsageError, match="did you mean 'black_box'.*static, black_box"):
        plan(resolved, run="r", tool_sets=["blackbox"])


def test_no_tool_set_and_no_trial_are_refused(resolved: ResolvedScenario) -> None:
    with pytest.raises(UsageError, match="no tool set"):
        plan(resolved, run="r", tool_sets=[])
    with pytest.raises(UsageError, match="trials must be 1 or more"):
        plan(resolved, run="r", trials=0)


def test_two_trials_that_would_share_a_file_are_refused(
    make_resolved: Make, make_target: Callable
) -> None:
    rows = {"c": ToolSet(policy="static"), "b__c": ToolSet(policy="static")}
    mixed = make_resolved(make_target("a", "clean"), make_target("a__b", "clean"), tool_sets=rows)
    with pytest.raises(UsageError, match="would share the file a__b__c__0.jsonl"):
        plan(mixed, run="r")
    cases = make_resolved(make_target("a", "clean"), make_target("A", "clean"))
    with pytest.raises(UsageError, match="would share"):
        plan(cases, run="r")


@given(run=NAMES, target=NAMES, row=NAMES, trial=st.integers(min_value=0))
def test_a_key_survives_its_string_form(run: str, target: str, row: str, trial: int) -> None:
    key = TrialKey(run=run, target=target, tool_set=row, trial=trial)
    assert TrialKey.parse(str(key)) == key
    assert str(key).count("/") == 3


@given(
    st.tuples(st.integers(0, 9), NAMES, NAMES, st.integers(0, 99)),
    st.tuples(st.integers(0, 9), NAMES, NAMES, st.integers(0, 99)),
)
def test_different_trials_have_different_seeds(
    one: tuple[int, str, str, int], two: tuple[int, str, str, int]
) -> None:
    def seed(of: tuple[int, str, str, int]) -> int:
        return trial_seed(of[0], target=of[1], tool_set=of[2], trial=of[3])

    assert (seed(one) == seed(two)) == (one == two)
