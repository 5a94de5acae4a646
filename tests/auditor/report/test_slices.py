"""Markdown of slices and of success by number of reports."""

from auditor.report.heads import HeadsCurve, HeadsPoint
from auditor.report.rows import Row
from auditor.report.slices import heads_markdown, markdown_grid, slice_markdown


def row(tool_set: str, regime: str, top1: float | None, **more: str) -> Row:
    return Row(
        run="r", tool_set=tool_set, regime=regime, n_targets=4, n_trials=4, top1=top1,
        top1_low=top1, top1_high=top1, **more,
    )  # fmt: skip


def test_each_tool_set_has_a_line_and_each_regime_a_column() -> None:
    rows = [
        row("null", "a", 0.0, null_readout="placebo"),
        row("nla", "all", 0.5),
        row("nla", "a", 0.25),
        row("nla", "b", 1.0),
        row("null", "all", 0.0, null_readout="placebo"),
    ]
    assert slice_markdown(rows, "regime").splitlines() == [
        "| tool set | a | b |",
        "| :-- | --: | --: |",
        "| nla | 25 % [25-25] | 100 % [100-100] |",
        "| null | 0 % [0-0] | – |",
    ]


def test_hostile_names_cannot_leave_their_cell() -> None:
    assert "a\\|b" in markdown_grid(["a|b"], [["<script>"]])
    assert "\\<script" in markdown_grid(["a|b"], [["<script>"]])


def test_heads_stand_beside_the_majority_vote_and_unknown_is_a_dash() -> None:
    curve = HeadsCurve(
        run="r", tool_set="nla", split="held-out", pool="linear", limit=0.05, seed=0,
        points=(HeadsPoint(k=2, rule="threshold", threshold=0.5, success=0.75, false_alarm=0.0),),
        votes=(HeadsPoint(k=2, rule="majority", success=0.5),),
        notes=("few targets",),
    )  # fmt: skip
    lines = heads_markdown([curve]).splitlines()
    assert lines[2] == "| nla | 2 | 75 % | 0 % | 50 % | – |"
    assert lines[-1] == "few targets"
