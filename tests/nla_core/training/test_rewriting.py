"""Rewrites by rule."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_core.training.rewriting import REWRITES, sentences

TEXT = "The user's cat, Mia, is ill.\n\nA vet may help! Is it late?"


def test_sentences_are_told_apart_by_their_ends_and_by_lines() -> None:
    assert sentences(TEXT) == ["The user's cat, Mia, is ill.", "A vet may help!", "Is it late?"]
    assert sentences(" \n ") == []


def test_each_rewrite_changes_what_its_name_says() -> None:
    found = {name: rewrite(TEXT, 3) for name, rewrite in REWRITES.items()}
    assert found["sentence_shuffle"] != " ".join(sentences(TEXT))
    assert Counter(sentences(found["sentence_shuffle"])) == Counter(sentences(TEXT))
    assert found["first_half"] == "The user's cat, Mia, is ill. A vet may help!"
    assert found["plain_words"] == "the user's cat mia is ill a vet may help is it late"
    assert Counter(found["word_shuffle"].split()) == Counter(TEXT.split())
    assert found["word_shuffle"].split() != TEXT.split()


def test_one_sentence_keeps_the_first_half_of_its_words() -> None:
    assert REWRITES["first_half"]("a vet may help", 0) == "a vet"


@pytest.mark.parametrize("name", REWRITES)
@given(text=st.text(), seed=st.integers(0, 2**63 - 1))
def test_a_rewrite_follows_from_text_and_seed_whatever_they_are(
    name: str, text: str, seed: int
) -> None:
    rewrite = REWRITES[name]
    found = rewrite(text, seed)
    assert found == rewrite(text, seed)
    assert not set("".join(found.split()).lower()) - set(text.lower())
