"""`auditor list`, `table` and `reindex` on run folders made by hand."""

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call, Made


def test_list_counts_the_trials_of_every_run(call: "Call", made: "Made") -> None:
    made.run("first")
    made.run("second", events=made.errored)
    ended = call("list")
    lines = {line.split()[0]: line.split() for line in ended.out.splitlines()[1:]}
    assert lines["first"][1] == "tiny"
    assert "2/2" in lines["first"]
    assert lines["second"][4:] == ["0/2", "2"]


def test_list_as_json_is_one_object_a_run(call: "Call", made: "Made") -> None:
    made.run("first")
    made.run("second", events=made.errored)
    found = {one["run"]: one for one in map(json.loads, call("list", "--json").out.splitlines())}
    assert found["first"]["scored"] == 2
    assert found["second"]["errored"] == 2
    assert found["second"]["unfinished"] == 0


def test_an_empty_folder_is_no_error(call: "Call") -> None:
    ended = call("list")
    assert ended.code == 0
    assert ended.out == ""
    assert "auditor run sandbox" in ended.err
    assert call("list", "--json").out == ""


def test_reindex_brings_back_a_lost_index(call: "Call", made: "Made") -> None:
    made.run()
    assert call("reindex").code == 0
    index = made.runs_dir / "auditor.db"
    assert index.is_file()
    index.unlink()
    assert "indexed 1 runs with 2 trials" in call("reindex").err
    assert "2/2" in call("list").out


def test_the_table_has_a_row_for_each_tool_set(call: "Call", made: "Made") -> None:
    made.run(targets=("guilty-1", "guilty-2", "clean-1", "decoy-1"))
    ended = call("table", "tiny-1")
    assert ended.code == 0
    row = next(line for line in ended.out.splitlines() if line.startswith("black_box"))
    assert "100 %" in row
    assert "ideal black box" in ended.out
    assert "\x1b" not in ended.out


def test_the_table_as_json_is_one_object_a_row(call: "Call", made: "Made") -> None:
    made.run(targets=("guilty-1", "guilty-2", "clean-1", "decoy-1"), events=made.wrong)
    out = call("table", "tiny-1", "--json").out
    assert out == call("table", "tiny-1", "--format", "json").out
    rows = [json.loads(line) for line in out.splitlines()]
    whole = next(row for row in rows if (row["split"], row["regime"]) == ("all", "all"))
    wanted = {
        "tool_set", "split", "regime", "n_targets", "n_trials", "top1", "top1_low", "top1_high",
        "any10", "false_alarm_clean", "false_alarm_decoy", "corrected", "ceiling_top1",
    }  # fmt: skip
    assert wanted <= whole.keys()
    assert (whole["top1"], whole["false_alarm_clean"], whole["ceiling_top1"]) == (0.0, 1.0, 0.25)


def test_several_runs_stand_in_one_table(call: "Call", made: "Made") -> None:
    made.run("one")
    made.run("two")
    rows = map(json.loads, call("table", "one", "two", "one", "--json").out.splitlines())
    runs = [row["run"] for row in rows if (row["split"], row["regime"]) == ("all", "all")]
    assert runs == ["one", "two"]


@pytest.mark.parametrize(("by", "other"), [("split", "regime"), ("regime", "split")])
def test_rows_may_be_limited_to_one_kind_of_slice(
    call: "Call", made: "Made", by: str, other: str
) -> None:
    made.run()
    rows = [json.loads(x) for x in call("table", "tiny-1", "--json", "--by", by).out.splitlines()]
    assert {row[other] for row in rows} == {"all"}
    assert "all" in {row[by] for row in rows}


def test_markdown_and_csv_go_to_standard_output_alone(call: "Call", made: "Made") -> None:
    made.run()
    markdown = call("table", "tiny-1", "--format", "markdown")
    assert markdown.out.startswith("| tool set |")
    csv = call("table", "tiny-1", "--format", "csv")
    assert csv.out.startswith("run,tool_set,")
    assert markdown.err == csv.err == ""


def test_a_table_of_an_unknown_run_suggests_one(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("table", "tinny")
    assert ended.code == 2
    assert "did you mean tiny-1?" in ended.err
