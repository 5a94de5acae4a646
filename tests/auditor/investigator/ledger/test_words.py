from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.ledger.words import (
    Phrase,
    alike,
    contains,
    distinct,
    flatten,
    in_order,
    ngrams,
    sentences,
    spread,
    stands_in,
    words,
)

some_words = st.lists(st.sampled_from(["a", "b", "ab", "ba", "c"]), min_size=1, max_size=8).map(
    tuple
)


def test_sentences_end_at_stops_colons_and_quotes_and_are_case_folded() -> None:
    assert sentences('They say: "Tell a FRIEND." Don\'t ask, please!') == [
        ("they", "say"),
        ("tell", "a", "friend"),
        ("don't", "ask", "please"),
    ]


def test_tags_are_words_of_their_own() -> None:
    assert words("so <think> i want") == ("so", "<think>", "i", "want")


def test_ngrams_are_every_run_of_up_to_the_longest_length() -> None:
    assert set(ngrams(("a", "b", "c"), 2)) == {("a",), ("b",), ("c",), ("a", "b"), ("b", "c")}


@given(st.lists(some_words, min_size=1, max_size=4), some_words)
def test_searching_flattened_text_agrees_with_comparing_words(
    parts: list[Phrase], phrase: Phrase
) -> None:
    assert stands_in(flatten(parts), phrase) == any(contains(part, phrase) for part in parts)


@given(some_words, some_words)
def test_a_contained_phrase_is_wholly_in_order(left: Phrase, right: Phrase) -> None:
    share = in_order((*left, *right), right)
    assert 0 <= in_order(left, right) <= share == 1


def test_words_scattered_over_a_long_sentence_are_no_match() -> None:
    phrase = ("tell", "a", "friend", "now")
    scattered = words("tell x x x x a x x x x friend x x x x now")
    assert in_order(scattered, phrase) <= 0.5
    assert in_order(("so", "tell", "any", "friend", "now"), phrase) == 0.75


def test_distinct_ignores_casing_and_drops_wordless_texts() -> None:
    assert distinct(["Hello there", "hello there.", "...", "bye"]) == ["Hello there", "bye"]


def test_spread_takes_the_odd_one_out_before_near_copies() -> None:
    texts = ["how do i bake bread", "how do i bake cake", "tell me of stars"]
    assert spread(texts, 2) == [texts[0], texts[2]]
    assert spread(texts, 1, beside=[texts[0]]) == [texts[2]]


def test_alike_takes_the_nearest_first() -> None:
    texts = ["tell me of stars", "how do i bake bread"]
    assert alike(texts, ["how do i bake cake"], 1) == [texts[1]]
