"""`auditor stats` and `auditor table` on run folders with a null row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.records import (
    Group,
    SubmissionEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
    VerdictEvent,
)
from auditor.run.record import new_record
from auditor.run.store import TrialWriter, trial_path, write_run
from auditor.scenario.schema import ToolSet

if TYPE_CHECKING:
    from conftest import Call, Made

ROWS = {
    "black_box": ToolSet(tools=("chat",)),
    "placebo": ToolSet(tools=("nla_compare",), null_readout="placebo"),
    "nla": ToolSet(tools=("nla_compare",)),
}
TARGETS = (*(f"guilty-{i}" for i in range(8)), "clean-1", "clean-2")


def _told(event: TrialEvent, *, null: str | None, found: bool) -> TrialEvent:
    """The event with a confidence, a funnel and a null readout."""
    if isinstance(event, TrialStarted):
        labels = {"split": "development", "regime": "plain"} if event.group == "guilty" else {}
        return event.model_copy(update={"null_readout": null, **labels})
    if isinstance(event, SubmissionEvent):
        sure = {"confidence": 0.9 if event.submission.verdict == "motive" else 0.1}
        return event.model_copy(update={"submission": event.submission.model_copy(update=sure)})
    if isinstance(event, VerdictEvent) and event.verdict.top1 is not None:
        stages = {"exposed": True, "taken_up": found, "verified": False}
        return event.model_copy(update={"verdict": event.verdict.model_copy(update=stages)})
    return event


@pytest.fixture
def make_run(made: "Made") -> Callable[..., Path]:
    """Write a run in which nla finds every motive, black_box none, and placebo as it is told."""

    def write(name: str = "nulls-1", *, placebo: bool = False) -> Path:
        run_dir = made.runs_dir / name
        (run_dir / "trials").mkdir(parents=True)
        plan = made.scenario(TARGETS)
        plan = plan.model_copy(
            update={"scenario": plan.scenario.model_copy(update={"tool_sets": ROWS})}
        )
        planned = len(TARGETS) * len(ROWS)
        write_run(run_dir, new_record(plan, run=name, planned=planned, options={}))
        for row, tools in ROWS.items():
            found = row == "nla" or (row == "placebo" and placebo)
            for target in TARGETS:
                key = TrialKey(run=name, target=target, tool_set=row, trial=0)
                group: Group = "clean" if target.startswith("clean") else "guilty"
                events = (made.right if found or group == "clean" else made.wrong)(key, group)
                with TrialWriter(trial_path(run_dir, key)) as writer:
                    for event in events:
                        writer.write(_told(event, null=tools.null_readout, found=found))
        return run_dir

    return write


def test_the_table_puts_null_rows_last_and_says_that_they_are_beaten(
    call: "Call", make_run: Callable[..., Path]
) -> None:
    make_run()
    ended = call("table", "nulls-1")
    assert ended.code == 0
    words = " ".join(ended.out.split())
    starts = [line.split()[0] for line in ended.out.splitlines() if line.strip()]
    assert starts.index("black_box") < starts.index("nla") < starts.index("placebo")
    assert "null: placebo" in ended.out
    assert "nla beats its null placebo (paired over 8 guilty targets, Holm p <= 0.0078)." in words
    assert "In placebo the mind of another target is read" in words
    assert max(map(len, ended.out.splitlines())) <= 80


def test_the_table_takes_a_result_back_when_the_null_wins_as_often(
    call: "Call", make_run: Callable[..., Path]
) -> None:
    make_run(placebo=True)
    words = " ".join(call("table", "nulls-1").out.split())
    assert "WARNING: nla is not better than its null placebo (100 % against 100 %" in words
    assert "WARNING: nla is not better" in call("table", "nulls-1", "--format", "markdown").out


def test_the_table_as_json_names_the_real_row_and_the_p_value(
    call: "Call", make_run: Callable[..., Path]
) -> None:
    make_run()
    rows = list(map(json.loads, call("table", "nulls-1", "--json").out.splitlines()))
    whole = {row["tool_set"]: row for row in rows if (row["split"], row["regime"]) == ("all",) * 2}
    assert list(whole) == ["black_box", "placebo", "nla"]
    placebo = whole["placebo"]
    assert (placebo["null_readout"], placebo["null_of"]) == ("placebo", "nla")
    assert placebo["null_p"] == pytest.approx(2**-7)
    assert {whole["nla"][f"null_{name}"] for name in ("readout", "of", "p")} == {None}


def test_stats_say_how_far_to_trust_a_run(call: "Call", make_run: Callable[..., Path]) -> None:
    make_run()
    ended = call("stats", "nulls-1")
    assert ended.code == 0
    assert ended.err == ""
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "\x1b" not in ended.out
    for title in ("Top-1 against one row", "Funnel", "Right motive found", "Confidence"):
        assert title in ended.out
    assert "No rates in k trials" in ended.out


def test_stats_as_json_are_one_object_a_run(call: "Call", make_run: Callable[..., Path]) -> None:
    make_run("one")
    make_run("two", placebo=True)
    ended = call("stats", "one", "two", "one", "--json", "--split", "development")
    found = list(map(json.loads, ended.out.splitlines()))
    assert [run["run"] for run in found] == ["one", "two"]
    assert {run["split"] for run in found} == {"development"}
    nla = next(row for row in found[0]["rows"] if row["tool_set"] == "nla")
    assert nla["funnel"]["attributed"] == 1.0
    assert nla["detection"]["levels"][0]["level"] == 0.01
    assert nla["n_innocent"] == 2
    against = [one for one in found[0]["contrasts"] if one["family"] == "against"]
    assert [(one["left"], one["right"], one["difference"]) for one in against] == [
        ("nla", "black_box", 1.0)
    ]


def test_stats_are_markdown_on_request(call: "Call", make_run: Callable[..., Path]) -> None:
    make_run()
    ended = call("stats", "nulls-1", "--format", "markdown", "--regime", "plain")
    assert ended.out.startswith("## nulls-1 (plain)\n")
    assert "| nla | placebo | 8 | 100 % | 0 % |" in ended.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nulls-2",), "no run 'nulls-2'"),
        (("nulls-1", "--split", "x"), "no trial of split 'x': there are development"),
        (("nulls-1", "--regime", "x"), "no trial of regime 'x': there are plain"),
        (("nulls-1", "--against", "x"), "no row 'x' to hold others against"),
    ],
)
def test_a_mistake_is_one_line(
    call: "Call", make_run: Callable[..., Path], words: tuple[str, ...], message: str
) -> None:
    make_run()
    ended = call("stats", *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert ended.out == ""


def test_a_run_without_trials_has_no_statistics_and_is_no_error(call: "Call", made: "Made") -> None:
    made.run("empty", trials=0)
    ended = call("stats", "empty")
    assert ended.code == 0
    assert "No funnel" in ended.out
