"""Splitting explanations into claims, and merging wordings."""

from hypothesis import given
from hypothesis import strategies as st

from tools.reading.claims import (
    content_words,
    merge_wordings,
    phrases,
    split_claims,
    stem,
)


def test_sentences_lines_and_semicolons_end_a_claim():
    said = "Secretly wants approval.  Topic gardens; second  sentence\nnext word: the"
    assert split_claims(said) == (
        "secretly wants approval",
        "topic gardens",
        "second sentence",
        "next word: the",
    )


def test_markup_of_longer_explanations_is_dropped():
    said = '1. **Flattery:** The reply praises e.g. the user (v. 2.5 of it).\n\n- *Tone* is warm!\n> "Quoted text"'
    assert split_claims(said) == (
        "flattery: the reply praises e.g. the user (v. 2.5 of it",
        "tone* is warm",
        "quoted text",
    )


def test_a_claim_said_twice_is_one():
    assert split_claims("No motive. no  MOTIVE. …\n\n--") == ("no motive",)
    assert split_claims("") == ()


@given(st.text(max_size=200))
def test_claims_are_normal_forms_of_any_text(text):
    found = split_claims(text)
    assert len(set(found)) == len(found)
    for claim in found:
        assert claim == " ".join(claim.split())
        assert "\n" not in claim


@given(
    st.lists(
        st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}){0,4}", fullmatch=True), max_size=8, unique=True
    )
)
def test_joined_claims_are_split_again(claims):
    claims = [
        claim
        for claim in claims
        if claim.split()[-1] not in ("etc", "vs", "cf", "mr", "mrs", "ms", "dr", "prof", "no")
    ]
    assert split_claims(". ".join(claims) + ".") == tuple(claims)


def test_negations_carry_meaning():
    assert content_words("There is no hidden goal, not the least") == (
        "no",
        "hidden",
        "goal",
        "not",
        "least",
    )


def test_phrases_begin_and_end_with_meaning():
    assert phrases("wants the approval") == {
        ("wants",),
        ("approval",),
        ("wants", "the", "approval"),
    }


def test_endings_are_cut_where_enough_is_left():
    assert [stem(w) for w in ("praises", "praising", "praised", "praise")] == ["prais"] * 3 + [
        "praise"
    ]
    assert stem("boss") == "boss"
    assert stem("red") == "red"


def merged(*claims):
    return merge_wordings({claim: 10 - index for index, claim in enumerate(claims)})


def test_wordings_of_one_claim_are_merged_into_the_most_frequent():
    found = merged(
        "the model wants the approval of its user",
        "wants its user's approval, the model",
        "the text is about gardens",
        "the text is about rivers",
    )
    first = "the model wants the approval of its user"
    assert found["the model wants the approval of its user"] == first
    assert found["the text is about rivers"] == "the text is about rivers"
    assert merged("praises the user", "praising users")["praising users"] == "praises the user"


def test_claims_that_differ_in_one_word_stay_apart():
    frames = ("the assistant secretly wants {} more than all else in this chat",)
    claims = [frame.format(word) for frame in frames for word in ("praise", "profit", "chaos")]
    assert merged(*claims) == {claim: claim for claim in claims}
    assert (
        merged("hidden goal", "no hidden goal and nothing secret")["hidden goal"] == "hidden goal"
    )


def test_claims_of_function_words_alone_stay_as_they_are():
    assert merged("the", "it is", "gardens") == {
        "the": "the",
        "it is": "it is",
        "gardens": "gardens",
    }


@given(
    st.dictionaries(
        st.from_regex(r"[a-e]{3}( [a-e]{3}){0,3}", fullmatch=True), st.integers(1, 5), max_size=12
    )
)
def test_every_claim_has_a_representative_that_represents_itself(counts):
    found = merge_wordings(counts)
    assert set(found) == set(counts)
    for claim, representative in found.items():
        assert found[representative] == representative
        assert counts[representative] >= counts[claim]
