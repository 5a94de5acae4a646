"""Nothing that a target says can act on a terminal."""

import io
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from auditor.report.text import call_line, clean, literal, one_line

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
NASTY = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x07\x9b\x9c\x9d\x90\r\n\t[]();mHJK0123456789\\\u202e\u200b\u0301"),
    ),
    max_size=300,
)


@given(NASTY)
@example("\x1b\x1b[2J[2J")
@example("\x1b]0;\x1b[31mtitle\x07")
@example("\ud800 lone surrogate")
def test_no_control_or_hidden_character_survives(text: str) -> None:
    assert not [
        c for c in clean(text) if c != "\n" and unicodedata.category(c) in HIDDEN and c != "\ufffd"
    ]


@given(NASTY)
def test_clean_text_can_be_written_as_utf_8(text: str) -> None:
    clean(text).encode("utf-8")


@given(st.one_of(NASTY, st.text(max_size=2000)), st.integers(0, 300), st.integers(0, 200))
def test_cleaning_twice_is_cleaning_once(text: str, max_chars: int, max_line: int) -> None:
    once = clean(text * 5, max_chars=max_chars, max_line=max_line)
    assert clean(once, max_chars=max_chars, max_line=max_line) == once


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs"))))
def test_plain_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@given(NASTY, st.integers(80, 400), st.integers(80, 200))
def test_length_is_bounded(text: str, max_chars: int, max_line: int) -> None:
    shown = clean(text * 20, max_chars=max_chars, max_line=max_line)
    assert len(shown) <= max_chars
    assert all(len(line) <= max_line for line in shown.split("\n"))


@given(NASTY, st.integers(0, 120))
def test_one_line_fits_its_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert "\n" not in line
    assert cell_len(line) <= width


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]0;new title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;Y2xpcGJvYXJk\x07text", "text"),
        ("\x1bPq#0\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("\x1b(0lines", "lines"),
        ("\x1b]0;never closed, yet readable", "\u241b]0;never closed, yet readable"),
        ("safe\rEVIL", "safe\u240dEVIL"),
        ("a\r\nb", "a\nb"),
        ("a\tb", "a    b"),
        ("bell\x07", "bell\u2407"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("pay\u200bload", "pay\ufffdload"),
        ("\U000e0041hidden tag", "\ufffdhidden tag"),
        ("smuggled\ufe00\U000e0101", "smuggled"),
        ("caf\u00e9 e\u0301 日本 😀", "caf\u00e9 e\u0301 日本 😀"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 3),
    ],
)
def test_known_attacks_become_harmless(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_what_is_cut_is_counted() -> None:
    shown = clean("x" * 5_000_000)
    assert len(shown) <= 20_000
    assert "more characters]" in shown
    long_line = clean("y" * 3000, max_line=1000)
    kept = long_line.count("y")
    assert f"[{3000 - kept:,} more characters]" in long_line


def test_many_megabytes_take_no_time() -> None:
    hostile = ["\x1b]" * 10**6, "\x1b[0;" * 10**6, "\u0301" * 10**6, "\x1b[" + "1;" * 10**6]
    start = time.perf_counter()
    for text in hostile:
        clean(text)
    assert time.perf_counter() - start < 5


def test_markup_in_target_text_is_not_read() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system="truecolor")
    console.print(literal("[bold red]alarm[/] [link=http://evil]x[/link] :skull:"))
    assert "[bold red]alarm[/] [link=http://evil]x[/link] :skull:" in out.getvalue()


def test_a_call_is_one_line_with_its_arguments() -> None:
    line = call_line("chat", {"prompt": "Hi\n\x1b[31mthere", "n": 8}, 80)
    assert line == r'chat(prompt="Hi\n\u001b[31mthere", n=8)'
    assert len(call_line("chat", {"prompt": "x" * 500}, 40)) <= 40
