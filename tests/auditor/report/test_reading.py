"""Readings on a terminal: what is worth believing in colour, what is not in grey, nothing hostile."""

import re
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from auditor.report.reading import (
    PROBLEMS,
    VERDICTS,
    Place,
    figure_name,
    number,
    render,
    style_of,
    token_label,
    verdict_text,
    worth,
)
from nla_core.fidelity import Fidelity, Problem, Score
from nla_core.pair import Reading
from nla_core.verbalizer import Explanation


def scored(cosine: float, fve: float | None = None) -> Score:
    return Score(mse_nrm=2 * (1 - cosine), cosine=cosine, fve=fve, fve_meannorm=None)


def place(
    position: int = 1,
    token: str = " bread",
    *,
    text: str | None = "you want money",
    score: Score | None = None,
    shuffled: Score | None = None,
    problem: Problem | None = None,
    off_layer: int | None = None,
    sample: int = 0,
) -> Place:
    explanation = Explanation(
        text=text,
        raw_text=text or "",
        vector=position,
        sample=sample,
        finish="stop",
        n_tokens=3,
        activation_norm=1.0,
    )
    fidelity = Fidelity(
        score=score,
        shuffled=shuffled,
        random_vector=scored(0.01),
        copied_context=None,
        problem=problem,
    )
    reading = Reading(
        explanation=explanation, fidelity=fidelity, layer=2, off_layer=off_layer, d_model=100
    )
    return Place(position=position, token=token, reading=reading)


def printed(
    tokens: list[str], places: list[Place], *, width: int = 80, colour: bool = False
) -> str:
    console = Console(
        file=StringIO(), width=width, force_terminal=colour, color_system="truecolor" if colour else None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    for part in render(tokens, places):
        console.print(part)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_reading_shows_token_fidelity_and_words() -> None:
    out = printed(["<s>", " bread"], [place(score=scored(0.9, 0.85))])
    assert out.splitlines()[0] == "<s> bread"
    line = next(line for line in out.splitlines() if "you want money" in line)
    assert line.split() == ["1", "bread", "0.85", "you", "want", "money"]
    assert "1 of 1 better than all nulls" in out


def test_a_reading_no_better_than_a_random_vector_says_so_in_grey() -> None:
    weak, strong = place(score=scored(0.1, -0.5)), place(2, score=scored(0.9, 0.9))
    out = printed(["a", "b", "c"], [weak, strong], colour=True)
    assert "(indistinguishable from a random vector)" in out
    grey, green = "\x1b[90m", "\x1b[32m"
    assert f"{grey}you want money" in out
    assert re.search(re.escape(green) + " *0.90", out)
    assert re.search(re.escape(grey) + " *-0.50", out)
    assert "indistinguishable" not in printed(["a", "b", "c"], [strong])


@pytest.mark.parametrize(("problem", "words"), PROBLEMS.items())
def test_what_has_no_score_says_why(problem: Problem, words: str) -> None:
    out = printed(["a", "b"], [place(text=None, problem=problem)], width=100)
    assert f"(not scored: {words})" in out
    assert "1 of 1 not scored" in out


def test_an_empty_explanation_is_scored_and_called_empty() -> None:
    found = place(text="", score=scored(0.9, 0.9), problem="empty_explanation")
    assert "(better than all nulls; the explanation is empty)" in printed(["a", "b"], [found])


def test_without_a_baseline_the_cosine_stands_in_and_is_called_cosine() -> None:
    out = printed(["a", "b"], [place(score=scored(0.61))])
    assert "cosine" in out
    assert "FVE" not in out
    assert "0.61" in out


def test_off_layer_readings_carry_a_warning() -> None:
    out = printed(["a", "b"], [place(score=scored(0.9), off_layer=7)])
    assert "read at layer 7 with a pair of layer 2: trust it less" in out


def test_samples_of_one_token_name_it_once() -> None:
    found = [place(score=scored(0.9), sample=i) for i in range(3)]
    out = printed(["a", " bread"], found)
    assert out.count("bread") == 2  # once in the text, once in the table
    assert out.count("you want money") == 3


def test_hostile_text_reaches_no_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[2J[red]x[/red]\u202eabc\r"
    out = printed(["<s>", evil], [place(token=evil, text=evil, score=scored(0.9, 0.9))])
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(out)
    assert "[red]x[/red]" in out


@given(
    token=st.text(max_size=40),
    text=st.none() | st.text(max_size=200),
    width=st.integers(40, 200),
    cosine=st.floats(-1, 1),
    fve=st.none() | st.floats(-1e5, 1),
)
def test_nothing_is_wider_than_the_terminal(
    token: str, text: str | None, width: int, cosine: float, fve: float | None
) -> None:
    from rich.cells import cell_len

    problem: Problem | None = "no_explanation" if text is None else None
    score = None if text is None else scored(cosine, fve)
    found = [place(9999, token=token, text=text, score=score, problem=problem)]
    for line in printed(["<s>", token], found, width=width).splitlines():
        assert cell_len(line) <= width


def test_line_breaks_and_blanks_of_tokens_are_visible() -> None:
    assert token_label("\n") == "⏎"
    assert token_label(" ") == "␣"
    assert token_label("") == "␣"
    assert token_label(" bread") == "bread"
    assert len(token_label("x" * 99)) == 14


def test_figures_that_are_unknown_are_blank() -> None:
    assert number(None) == ""
    assert number(-0.001) == "0.00"
    assert number(0.456) == "0.46"
    assert number(-12345.0) == "-1e+04"
    assert worth(None) is None
    assert worth(scored(0.5, 0.2)) == 0.2
    assert worth(scored(0.5)) == 0.5
    assert figure_name([None, scored(0.5, 0.1)]) == "FVE"
    assert figure_name([None, scored(0.5)]) == "cosine"


def test_every_verdict_has_words_and_a_style() -> None:
    found = place(score=scored(0.9)).reading.fidelity
    for verdict in VERDICTS:
        assert verdict_text(verdict, found) == VERDICTS[verdict]
    assert style_of("carries", 0.9) == "green"
    assert style_of("context", 0.5) == "yellow"
    assert style_of("carries", 0.1) == "red"
    assert style_of("shuffled", 0.9) == style_of("unscored", None) == "bright_black"
