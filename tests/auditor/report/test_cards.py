"""Cards side by side, as the documentation shows them."""

from auditor.report.cards import cards_markdown, claims_markdown, curve_markdown, rewrites_markdown
from nla_core.card import Card

FULL = Card(
    fve_warm=0.5,
    fve_rl=0.86,
    fluency={"own": -0.2, "warm": -1.25},
    mean_tokens=18.04,
    paraphrase_fve={"sentence_shuffle": 0.81},
    claims={"motive": {"precision": 0.97, "recall": 0.9, "n_said": 10, "n_true": 11}},
    fve_by_step=((0, 0.5), (50, 0.7), (100, 0.8)),
)
OTHER = Card(fve_rl=0.7, fve_by_step=((0, 0.4), (100, None)))


def cells(table: str, label: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_each_card_is_a_column_and_unknown_is_blank() -> None:
    table = cards_markdown([("full", FULL), ("other", OTHER)])
    assert table.splitlines()[0] == "|  | full | other |"
    assert cells(table, "**FVE at T = 1**") == ["0.860", "0.700"]
    assert cells(table, "FVE at T = 1, warm start") == ["0.500", ""]
    assert cells(table, "tokens of an explanation") == ["18.0", ""]
    assert cells(table, "the same under its warm start") == ["-1.250", ""]


def test_figures_that_no_card_has_are_left_out() -> None:
    assert "rawvar" not in cards_markdown([("other", OTHER)])
    assert "motive" not in cards_markdown([("other", OTHER)])


def test_rewrites_stand_under_the_fve_without_one() -> None:
    table = rewrites_markdown([("full", FULL), ("other", OTHER)])
    assert cells(table, "none") == ["0.860", "0.700"]
    assert cells(table, "sentence shuffle") == ["0.810", ""]


def test_claims_show_precision_and_recall() -> None:
    table = claims_markdown([("full", FULL), ("other", OTHER)])
    assert cells(table, "motive") == ["0.970 / 0.900", "/"]


def test_the_curve_keeps_round_steps_only() -> None:
    table = curve_markdown([("full", FULL), ("other", OTHER)])
    assert cells(table, "0") == ["0.500", "0.400"]
    assert cells(table, "100") == ["0.800", ""]
    assert "| 50 |" not in table
