"""Descriptions by a language model: what is read off its replies, and what is kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nla_core.training.config import RecipeError
from nla_core.training.describe import INSTRUCTION, LanguageModelDescriber, parse_analysis
from nla_core.training.plugs import Place

MARKERS = ["- ", "* ", "• ", "+ ", "– ", "— ", "1. ", "12) ", "(3) ", "a. ", "B) ", "(c) ",
           "iv. ", "(ii) ", "XI) ", "  - ", "\t2.\t", ""]  # fmt: skip
FIRST = st.sampled_from(
    ["about", "genre:", "漢字の文章", '"quoted"', "3.14159", "mid-sentence,", "«ends»"]
)
REST = st.lists(
    st.sampled_from(["a", "*", "1.", "- b", "(c)", "it's", "**x**", "<b>", "_y_"]), max_size=4
)
FEATURES = st.builds(lambda first, rest: " ".join([first, *rest, "ends"]), FIRST, REST)
"""Begin with no marker and end with no emphasis."""


def analysis(*lines: str) -> str:
    return "Here it is.\n<analysis>\n" + "\n".join(lines) + "\n</analysis> Done."


@given(
    st.lists(st.tuples(st.sampled_from(MARKERS), FEATURES), min_size=2, max_size=5),
    st.lists(st.sampled_from(["", "  ", "\t"]), max_size=2),
)
def test_features_come_back_without_their_markers(
    marked: list[tuple[str, str]], blanks: list[str]
) -> None:
    lines = [line for marker, text in marked for line in (f"{marker}{text}", *blanks)]
    assert parse_analysis(analysis(*lines)) == "\n\n".join(text for _, text in marked)


@given(st.text("-*•1a(iv).)_ \n<>/analysis\r", max_size=80))
@example("<analysis>a</analysis>")
@example("1) _ _1\n1")
def test_any_reply_gives_features_or_nothing(text: str) -> None:
    for reply in (text, f"<analysis>{text}</analysis>"):
        found = parse_analysis(reply)
        if found is not None:
            features = found.split("\n\n")
            assert len(features) >= 2
            assert all(f == f.strip() and f == f.strip("*_") and f for f in features)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("- **Genre**: a recipe", "Genre: a recipe"),
        ("1. **Genre:** a recipe", "Genre: a recipe"),
        ("**Genre** a recipe", "Genre a recipe"),
        ("* *in italics*", "in italics"),
        ("__underlined__", "underlined"),
        ("- - twice marked", "- twice marked"),
        ("-no space", "-no space"),
        ("1.no space", "1.no space"),
        ("3.14 is a number", "3.14 is a number"),
        ("(see below) a remark", "(see below) a remark"),
        ("mild. Not a numeral", "mild. Not a numeral"),
        ("ends in **bold**", "ends in **bold"),
        ("text about 2 * 3", "text about 2 * 3"),
    ],
)
def test_lines_lose_one_marker_the_leading_bold_and_emphasis_at_their_ends(
    line: str, expected: str
) -> None:
    assert parse_analysis(analysis(line, "the second one")) == f"{expected}\n\nthe second one"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "one\ntwo",
        "<analysis>one\ntwo",
        "one\ntwo</analysis>",
        "</analysis>one\ntwo<analysis>",
        analysis("one"),
        analysis("one", "", "**", "- _"),
    ],
)
def test_a_reply_without_both_tags_and_two_features_is_nothing(reply: str) -> None:
    assert parse_analysis(reply) is None


def place(text: str) -> Place:
    return Place(doc_id="d", n_raw_tokens=3, text=text)


class Model:
    """Answers with the text that it was asked about, and remembers what it was asked."""

    def __init__(self, **replies: Sequence[str | None]) -> None:
        self.asked: list[str] = []
        self.batches: list[int] = []
        self._replies = {text: iter(given) for text, given in replies.items()}

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        self.batches.append(len(prompts))
        return [self._reply(prompt) for prompt in prompts]

    def _reply(self, prompt: str) -> str | None:
        text = prompt.rpartition("<text>\n")[2].removesuffix("\n</text>")
        self.asked.append(text)
        if text in self._replies:
            return next(self._replies[text])
        return analysis(f"about {text}", "the end")


def describer(asked: Model, cache: Path, **options: object) -> LanguageModelDescriber:
    return LanguageModelDescriber(asked, cache, **({"model": "m"} | options))  # type: ignore[arg-type]


def said(text: str) -> str:
    return f"about {text}\n\nthe end"


def test_explanations_come_in_the_order_of_the_places_and_equal_texts_are_asked_once(
    tmp_path: Path,
) -> None:
    model = Model()
    texts = ["c", "a", "c", "b", "a"]
    found = describer(model, tmp_path / "cache", batch_size=2).describe(list(map(place, texts)))
    assert found == [said(text) for text in texts]
    assert model.asked == ["c", "a", "b"]
    assert model.batches == [2, 1]


def test_nothing_is_asked_twice_not_even_by_another_instance(tmp_path: Path) -> None:
    first, second = Model(), Model()
    cache = tmp_path / "deep" / "cache.jsonl"
    describer(first, cache).describe([place("a"), place("b")])
    found = describer(second, cache).describe([place("b"), place("c"), place("a")])
    assert found == [said("b"), said("c"), said("a")]
    assert second.asked == ["c"]


@pytest.mark.parametrize("other", [{"model": "another"}, {"instruction": "Say it differently."}])
def test_another_model_or_instruction_is_asked_anew(other: dict[str, str], tmp_path: Path) -> None:
    cache, model = tmp_path / "cache", Model()
    describer(Model(), cache).describe([place("a")])
    describer(model, cache, **other).describe([place("a")])
    assert model.asked == ["a"]


def test_a_reply_that_cannot_be_read_is_asked_for_once_more_and_not_kept(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    model = Model(bad=["nothing", "still nothing"], good=["oops", analysis("x", "y")], none=[None, None])  # fmt: skip
    found = describer(model, cache).describe([place("bad"), place("good"), place("none")])
    assert found == [None, "x\n\ny", None]
    assert model.asked == ["bad", "good", "none"] * 2
    later = Model()
    found = describer(later, cache).describe([place("none"), place("good"), place("bad")])
    assert found == [said("none"), "x\n\ny", said("bad")]
    assert later.asked == ["none", "bad"]


@pytest.mark.parametrize("kept_bytes", [1, 40, 90, -1])
def test_a_last_line_cut_by_a_kill_costs_that_line_only(kept_bytes: int, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    describer(Model(), cache).describe([place("a"), place("b")])
    first, second = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(first + second[:kept_bytes])
    model = Model()
    found = describer(model, cache).describe([place("a"), place("b"), place("c")])
    assert found == [said("a"), said("b"), said("c")]
    # Only the newline was lost in the last case.
    assert model.asked == (["c"] if kept_bytes == -1 else ["b", "c"])
    again = Model()
    describer(again, cache).describe([place("a"), place("b"), place("c")])
    assert again.asked == []


def test_batches_that_came_before_a_failure_are_kept(tmp_path: Path) -> None:
    class Failing(Model):
        def __call__(self, prompts: Sequence[str]) -> list[str | None]:
            if self.batches:
                raise ConnectionError
            return super().__call__(prompts)

    cache = tmp_path / "cache"
    with pytest.raises(ConnectionError):
        describer(Failing(), cache, batch_size=1).describe([place("a"), place("b")])
    model = Model()
    describer(model, cache).describe([place("a"), place("b")])
    assert model.asked == ["b"]


def test_a_wrong_number_of_replies_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 prompts need as many replies, got 1"):
        LanguageModelDescriber(lambda prompts: ["x"], tmp_path / "c", model="m").describe(
            [place("a"), place("b")]
        )
    with pytest.raises(ValueError, match="batch_size"):
        describer(Model(), tmp_path / "c", batch_size=0)


def test_a_cache_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"{tmp_path}: cannot be read: Is a directory"):
        describer(Model(), tmp_path)


def test_foreign_lines_in_the_cache_are_passed_over(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(b'[1]\n{"key": 3}\n\xff\n' + json.dumps({"key": "k", "reply": None}).encode())
    model = Model()
    assert describer(model, cache).describe([place("a")]) == [said("a")]


def test_texts_of_any_characters_can_be_asked_about(tmp_path: Path) -> None:
    texts = ["", "\udcff lone surrogate", "</text> {braces} %s", "漢\n字"]
    model = Model()
    found = describer(model, tmp_path / "cache").describe([place(text) for text in texts])
    assert None not in found
    assert len(set(model.asked)) == 4


def test_the_instruction_asks_for_what_the_parser_reads() -> None:
    assert "<analysis>" in INSTRUCTION
    assert "</analysis>" in INSTRUCTION
    assert "two or three" in INSTRUCTION
