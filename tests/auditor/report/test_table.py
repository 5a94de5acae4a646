import csv
import io
import json
from typing import Any

import pytest
from rich.console import Console

from auditor.report import table
from auditor.report.rows import Row

FULL: dict[str, Any] = {
    "run": "demo",
    "tool_set": "black_box",
    "n_targets": 20,
    "n_trials": 20,
    "n_guilty": 12,
    "n_clean": 4,
    "n_decoy": 4,
    "top1": 0.75,
    "top1_low": 0.428,
    "top1_high": 0.934,
    "any10": 0.875,
    "any10_low": 0.6,
    "any10_high": 0.97,
    "false_alarm_clean": 0.0,
    "false_alarm_clean_low": 0.0,
    "false_alarm_clean_high": 0.37,
    "false_alarm_decoy": 0.25,
    "false_alarm_decoy_low": 0.01,
    "false_alarm_decoy_high": 0.81,
    "corrected": 0.75,
    "ceiling_top1": 0.22,
    "ceiling_top3": 0.58,
    "tool_calls": 12.34,
    "target_tokens": 21_400.0,
    "seconds": 9.87,
}


def row(**over: Any) -> Row:
    return Row.model_validate(FULL | over)


def grid(run: str = "demo", **over: Any) -> list[Row]:
    sets = ("static", "black_box+corpus")
    regimes = ("thoughts-plain", "thoughts-hardened", "documents-plain", "documents-hardened")
    return [
        row(run=run, tool_set=tool_set, split=split, regime=regime, **over)
        for tool_set in sets
        for split, regime in [
            ("all", "all"),
            ("development", "all"),
            ("held-out", "all"),
            *(("all", regime) for regime in regimes),
            *(("held-out", regime) for regime in regimes),
        ]
    ]


def render(rows: list[Row], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(table.rich_report(rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize(
    "rows", [[row()], grid(), grid() + grid("a-rather-long-run-name-20261101")]
)
def test_nothing_is_cut_off_and_no_line_is_too_wide(rows: list[Row], width: int) -> None:
    lines = render(rows, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert "75 %" in text
    assert "[43-93]" in text
    assert "22 %" in text
    assert "58 %" in text


def test_a_wide_table_has_one_line_a_tool_set_and_the_ideal_line_last() -> None:
    lines = render([row(), row(tool_set="static", top1=0.1, top1_low=0.0, top1_high=0.3)], 120)
    body = [line.split("  ") for line in lines[2:6]]
    assert [cells[0].strip() for cells in body] == ["black_box", "static", "", "ideal black box"]
    assert "75 % [43-93]" in lines[2]
    assert "21k" in lines[2]
    assert "22 %" in lines[5]


def test_regimes_and_splits_have_their_own_tables() -> None:
    text = "\n".join(render(grid(), 120))
    assert text.index("Top-1 by split") < text.index("held-out") < text.index("Top-1 by regime")
    assert "hardened" in text
    plain = "\n".join(render([row()], 120))
    assert "Top-1 by" not in plain


def nulls(**over: Any) -> list[Row]:
    against = {"null_of": "nla", "n_null_pairs": 24, "null_margin": 0.7, "null_p": 0.0004}
    tokens = {"reader_tokens": 15_234.0, "null_p_least": 1e-6}
    return [
        row(tool_set="placebo", null_readout="placebo", **against, **tokens, **over),
        row(tool_set="nla", reader_tokens=15_234.0),
        row(tool_set="static", reader_tokens=0.0),
        row(tool_set="random_vectors", null_readout="random_vectors", **against, **tokens, **over),
    ]


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_null_rows_come_last_and_are_marked(width: int) -> None:
    lines = render(nulls(), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    firsts = [line.split()[0] for line in lines if "75 %" in line]
    assert firsts[:4] == ["nla", "static", "placebo", "random_vectors"]
    after = lines[next(i for i, line in enumerate(lines) if line.startswith("placebo")) + 1]
    assert after.startswith("null: placebo")
    assert "null: random" in text
    assert "nla beats its nulls placebo, random_vectors" in " ".join(text.split())


def test_each_run_has_its_own_null_rows() -> None:
    both = [one.model_copy(update={"run": run}) for run in ("one", "two") for one in nulls()]
    lines = [line for line in table.markdown(both).splitlines() if "| static |" in line]
    body = table.markdown(both).splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| one", "| two"]
    assert body.index(lines[0]) < body.index(lines[1])
    assert "| one | placebo | placebo |" in body[body.index(lines[0]) + 1]


def test_reader_tokens_have_a_column_when_some_row_has_any() -> None:
    assert "NLA" in "\n".join(render(nulls(), 80))
    assert "15k" in "\n".join(render(nulls(), 80))
    assert "| NLA tokens |" in table.markdown(nulls())
    for rows in ([row()], [row(reader_tokens=0.0)]):
        assert "NLA" not in "\n".join(render(rows, 80))
        assert "NLA" not in table.markdown(rows)


def test_files_say_what_a_null_row_is_of_and_its_p_value() -> None:
    first = json.loads(table.json_lines(nulls()).splitlines()[0])
    assert (first["null_readout"], first["null_of"], first["null_p"]) == ("placebo", "nla", 0.0004)
    assert "| placebo | placebo |" in table.markdown(nulls())
    assert "null |" not in table.markdown([row()])


def test_what_is_unknown_is_a_dash_and_blank_in_files() -> None:
    nothing = Row(run="r", tool_set="t", n_targets=1, n_trials=1)
    line = render([nothing], 120)[2]
    assert line.split() == ["t", *["–"] * 8]
    assert "0 %" not in line
    (record,) = csv.DictReader(io.StringIO(table.csv([nothing])))
    assert (record["top1"], record["seconds"], record["n_errored"]) == ("", "", "0")
    assert json.loads(table.json_lines([nothing]))["top1"] is None


def test_without_a_ceiling_there_is_no_ideal_line() -> None:
    rows = [row(ceiling_top1=None, ceiling_top3=None)]
    assert "ideal" not in "\n".join(render(rows, 120))
    assert "ideal" not in table.markdown(rows)


def test_runs_that_share_a_ceiling_share_its_line() -> None:
    shared = "\n".join(render([row(), row(run="second")], 120))
    assert shared.count("ideal black box") == 1
    assert "demo" in shared
    assert "second" in shared
    apart = table.markdown([row(), row(run="second", ceiling_top1=0.5)])
    assert apart.count("| ideal black box |") == 2
    assert "| second | ideal black box | " in apart


def test_the_run_is_named_only_when_there_are_several() -> None:
    assert "demo" not in "\n".join(render([row()], 80))
    assert table.markdown([row()]).startswith("| tool set |")
    assert table.markdown([row(), row(run="b")]).startswith("| run | tool set |")


def test_no_rows_are_no_table() -> None:
    assert render([], 80) == ["no trials yet"]
    assert table.rich_slice_table([], "regime") is None


def test_markdown_has_cells_under_every_heading() -> None:
    lines = [line for line in table.markdown(grid()).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 2 * 7 + 1
    assert "75 % [43-93]" in lines[2]


def test_markdown_escapes_names_that_would_break_the_table() -> None:
    text = table.markdown([row(), row(split="a|b<i>")])
    assert r"a\|b\<i>" in text


def test_markdown_shows_combined_rows_when_there_are_no_others() -> None:
    assert "| held-out | thoughts |" in table.markdown([row(split="held-out", regime="thoughts")])


def test_a_selection_without_whole_tool_sets_is_shown_as_it_is() -> None:
    rows = [row(split="held-out"), row(split="development")]
    text = "\n".join(render(rows, 80))
    assert "held-out" in text
    assert "development" in text


def test_csv_and_json_hold_every_field_of_every_row() -> None:
    rows = grid()
    records = list(csv.DictReader(io.StringIO(table.csv(rows))))
    objects = [json.loads(line) for line in table.json_lines(rows).splitlines()]
    assert len(records) == len(objects) == len(rows)
    assert all(set(record) == set(Row.model_fields) for record in [*records, *objects])
    assert objects[0]["top1"] == float(records[0]["top1"]) == 0.75


def test_names_are_never_read_as_markup() -> None:
    rows = [row(split="[red]x[/red]")]
    assert "[red]x[/red]" in "\n".join(render(rows, 120))
