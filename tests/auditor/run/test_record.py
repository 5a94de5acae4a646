from collections.abc import Callable

import pytest

from auditor.errors import UsageError
from auditor.run.record import RunRecord, check_run_name, default_run_name, new_record
from auditor.scenario.schema import AuditorSpec, Budget, ResolvedScenario, ToolSet

Make = Callable[..., ResolvedScenario]


def record(resolved: ResolvedScenario, planned: int = 1) -> RunRecord:
    return new_record(resolved, run="r", planned=planned, options={})


def test_a_run_may_grow_by_targets_tool_sets_and_trials(
    make_resolved: Make, make_target: Callable
) -> None:
    first, second = make_target("a", "clean"), make_target("b", "clean")
    old = record(make_resolved(first, tool_sets={"x": ToolSet(policy="static")}), planned=5)
    new = record(make_resolved(second, tool_sets={"y": ToolSet(policy="static")}), planned=3)
    grown = old.continued(new)
    assert {t.id for t in grown.resolved.targets} == {"a", "b"}
    assert grown.resolved.scenario.tool_sets.keys() == {"x", "y"}
    assert (grown.created, grown.planned) == (old.created, 5)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("seed", {"seed": 8}),
        ("budget", {"budget": Budget(turns=1)}),
        ("auditor", {"auditor": AuditorSpec(false_alarm=0.2)}),
        ("scenario", {"name": "other"}),
        ("tool set 'black_box'", {"tool_sets": {"black_box": ToolSet(policy="static")}}),
    ],
)
def test_a_run_started_differently_is_not_continued(
    make_resolved: Make, what: str, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=f"another {what}: .*--run"):
        record(make_resolved()).continued(record(make_resolved(**changes)))


def test_a_target_that_changed_is_not_continued(make_resolved: Make, make_target: Callable) -> None:
    old = record(make_resolved(make_target("a", "clean", path="one")))
    with pytest.raises(UsageError, match="another target 'a'"):
        old.continued(record(make_resolved(make_target("a", "clean", path="two"))))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "-x", ".hidden", "a b", "é", "x" * 129])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot call a run"):
        check_run_name(name)


def test_a_default_name_is_valid_and_not_taken() -> None:
    first = default_run_name("a+b", [])
    assert check_run_name(first).startswith("a-b-20")
    taken = [first, f"{first}-2", first[:-3] + "99Z"]
    again = default_run_name("a+b", taken)
    assert again not in taken
    assert check_run_name(again) == again


def test_versions_are_recorded(resolved: ResolvedScenario) -> None:
    assert {"python", "torch", "transformers"} <= record(resolved).versions.keys()


def test_the_name_of_the_budget_is_told_when_another_one_is_wanted(make_resolved: Make) -> None:
    old = new_record(make_resolved(), run="r", planned=1, options={"budget": "tokens-2k"})
    with pytest.raises(UsageError, match=r"another budget \(--budget tokens-2k\): take it back"):
        old.continued(record(make_resolved(budget=Budget(turns=1))))
