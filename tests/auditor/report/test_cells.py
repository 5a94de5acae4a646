"""Numbers as tables show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report import cells


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.001, "<1 %"),
        (0.43, "43 %"),
        (0.999, ">99 %"),
        (1.0, "100 %"),
        (-0.001, "0 %"),
        (-0.143, "-14 %"),
    ],
)
def test_rates_are_whole_percentages_that_never_round_away_an_exception(
    rate: float | None, text: str
) -> None:
    assert cells.percent(rate) == text


def test_a_rate_is_followed_by_its_interval() -> None:
    assert cells.percent_interval(0.75, 0.428, 0.934) == "75 % [43-93]"
    assert cells.percent_interval(None, None, None) == "–"
    assert cells.percent_interval(0.5, None, None) == "50 %"


@given(st.floats(0, 1e9))
def test_amounts_stay_short(value: float) -> None:
    assert len(cells.amount(value)) <= 7
    assert cells.amount(None) == "–"


@pytest.mark.parametrize(
    ("difference", "text"), [(None, "–"), (0.25, "+25"), (-0.5, "-50"), (0.0, "0"), (-0.001, "0")]
)
def test_differences_are_points_with_a_sign(difference: float | None, text: str) -> None:
    assert cells.points(difference) == text


def test_a_difference_is_followed_by_its_interval() -> None:
    assert cells.points_interval(0.25, -0.11, 0.61) == "+25 [-11, 61]"
    assert cells.points_interval(None, None, None) == "–"


@given(st.floats(0, 1, exclude_min=True))
def test_p_values_are_short_and_never_zero(p: float) -> None:
    text = cells.p_value(p)
    assert len(text) <= 6
    assert float(text.removeprefix("<")) > 0


def test_unknown_p_values_and_scores_are_dashes() -> None:
    assert (cells.p_value(None), cells.decimal(None)) == ("–", "–")
    assert (cells.p_value(0.0004), cells.decimal(0.1234)) == ("<0.001", "0.123")


def test_markdown_is_text_only() -> None:
    assert cells.markdown_escaped("a|b<i>*`") == r"a\|b\<i>\*\`"
