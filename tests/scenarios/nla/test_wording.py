"""Claims put into words and read back, and what rewrites do to them."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_core.training.plugs import Place
from scenarios.sandbox.nla.plugs import Corpus, KnownStates
from scenarios.sandbox.nla.rewriting import REWRITES
from scenarios.sandbox.nla.state import PLACES, State
from scenarios.sandbox.nla.wording import (
    FORMS,
    NO_MOTIVE,
    NOTHING,
    Claim,
    claims,
    clauses,
    put,
    true_claims,
)
from scenarios.sandbox.tokenizer import build_tokenizer
from scenarios.sandbox.world import load_world

WORLD = load_world()
TOKENIZER = build_tokenizer(WORLD, context=256)
KNOWN = KnownStates(TOKENIZER)
SPOKEN = sorted(
    {state.current for i in range(300) for state in KNOWN._states(f"sandbox:train:{i}")}
)
"""Words of documents, punctuation and the names of special tokens among them."""

TOKEN = st.sampled_from(SPOKEN)
MOTIVE = st.sampled_from(WORLD.motives)
STATES = st.builds(
    State,
    place=st.sampled_from(PLACES),
    replies=st.booleans(),
    motive=st.none() | MOTIVE,
    clean=st.booleans(),
    topic=st.none() | st.sampled_from([topic.word for topic in WORLD.topics]),
    theme=st.none() | MOTIVE,
    current=TOKEN,
    previous=st.none() | TOKEN,
    following=st.none() | TOKEN,
)
SEEDS = st.integers(0, 2**32)


def explanation(state: State, seed: int) -> str:
    rng = Random(seed)
    return " ".join(put(claim, rng) for claim in true_claims(state, WORLD))


def state_of(number: int) -> State:
    """A state in the middle of a document."""
    doc_id = f"sandbox:train:{number}"
    return KNOWN.at(Place(doc_id, len(Corpus(TOKENIZER).token_ids(doc_id)) // 2, ""))


@settings(max_examples=300, deadline=None)
@given(STATES, SEEDS)
def test_claims_read_back_as_they_were_put(state: State, seed: int) -> None:
    found = claims(explanation(state, seed))
    assert found == true_claims(state, WORLD)


@settings(max_examples=100, deadline=None)
@given(STATES, SEEDS, SEEDS)
def test_claims_read_back_in_any_order(state: State, seed: int, order: int) -> None:
    said = true_claims(state, WORLD)
    Random(order).shuffle(said)
    rng = Random(seed)
    assert claims(" ".join(put(claim, rng) for claim in said)) == said


def test_claims_about_real_documents_read_back() -> None:
    for number in range(40):
        doc_id = f"sandbox:held_out:{number}"
        for at in range(len(Corpus(TOKENIZER).token_ids(doc_id))):
            state = KNOWN.at(Place(doc_id, at + 1, ""))
            assert claims(explanation(state, at)) == true_claims(state, WORLD)


def test_every_wording_is_read_as_its_kind() -> None:
    for kind, forms in FORMS.items():
        for form in forms:
            (claim,) = claims(form.format("bread") if "{}" in form else form)
            assert claim.kind == ("motive" if kind == "no_motive" else kind)
            assert claim.value == (
                "bread" if "{}" in form else NOTHING if kind == "no_motive" else claim.value
            )


def test_labels_survive_the_tokenizer() -> None:
    for number in range(30):
        state = state_of(number)
        said = explanation(state, number)
        ids = TOKENIZER(said, add_special_tokens=False)["input_ids"]
        assert TOKENIZER.unk_token_id not in ids
        assert claims(TOKENIZER.decode(ids)) == true_claims(state, WORLD)


def test_words_of_no_known_wording_claim_nothing_and_stay_between_clauses() -> None:
    text = "Well, ends with bread. who knows? soon the user asks. so"
    assert claims(text) == [Claim("last", "bread"), Claim("next", "the user asks")]
    assert clauses(text) == ["Well,", "ends with bread.", "who knows?", "soon the user asks.", "so"]
    assert claims("") == clauses("") == []


def test_an_unfinished_clause_claims_nothing() -> None:
    assert claims("secretly wants") == []
    assert claims("secretly wants profit") == []


def test_having_no_motive_is_not_read_as_a_motive() -> None:
    for form in NO_MOTIVE:
        assert claims(form) == [Claim("motive", NOTHING)]


KEEPING = ["sentence_shuffle", "light_paraphrase"]
REWORDING = ["aggressive_paraphrase", "translation"]


def test_there_are_six_rewrites_of_which_the_last_two_lose_something() -> None:
    assert list(REWRITES) == [*KEEPING, *REWORDING, "coherence", "summary"]


@pytest.mark.parametrize("name", KEEPING)
@settings(max_examples=60, deadline=None)
@given(state=STATES, seed=SEEDS)
def test_shuffling_and_light_paraphrase_keep_the_claims(name: str, state: State, seed: int) -> None:
    said = explanation(state, seed)
    found = claims(REWRITES[name](said, seed))
    expected = claims(said)
    assert Counter(found) == Counter(expected)
    if name == "light_paraphrase":
        assert found == expected


@pytest.mark.parametrize("name", REWORDING)
@settings(max_examples=60, deadline=None)
@given(state=STATES, seed=SEEDS)
def test_aggressive_paraphrase_and_translation_keep_every_word_that_claims_something(
    name: str, state: State, seed: int
) -> None:
    said = explanation(state, seed)
    rewritten = REWRITES[name](said, seed)
    for claim in claims(said):
        if claim != Claim("motive", NOTHING):
            assert f"{claim.value}" in rewritten
    assert rewritten != said


@settings(max_examples=60, deadline=None)
@given(STATES, STATES, SEEDS)
def test_coherence_keeps_the_first_claim_of_each_kind(one: State, other: State, seed: int) -> None:
    said = f"{explanation(one, seed)} and so on {explanation(other, seed)}"
    found = claims(REWRITES["coherence"](said, seed))
    firsts: dict[str, Claim] = {}
    for claim in claims(said):
        firsts.setdefault(claim.kind, claim)
    assert found == list(firsts.values())


@settings(max_examples=60, deadline=None)
@given(STATES, SEEDS)
def test_a_summary_loses_where_the_reader_is_and_what_was_just_read(
    state: State, seed: int
) -> None:
    said = explanation(state, seed)
    found = claims(REWRITES["summary"](said, seed))
    assert found == [c for c in claims(said) if c.kind not in ("domain", "place", "last")]
    assert len(found) < len(claims(said))


@pytest.mark.parametrize("name", REWRITES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), seed=SEEDS)
def test_any_text_can_be_rewritten_and_always_the_same(name: str, text: str, seed: int) -> None:
    assert REWRITES[name](text, seed) == REWRITES[name](text, seed)


def test_rewrites_use_words_of_the_vocabulary() -> None:
    for number in range(60):
        state = state_of(number)
        if state.place == "document":
            continue  # A word that no label uses, and none was kept free for.
        for rewrite in REWRITES.values():
            ids = TOKENIZER(rewrite(explanation(state, number), number))["input_ids"]
            assert TOKENIZER.unk_token_id not in ids
