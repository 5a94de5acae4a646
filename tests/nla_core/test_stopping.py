from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nla_core._stopping import Stopper

PIECES = ["a", "b", "ab", "ba", "", " a", "é", "bb\n"]


def spell(ids: Sequence[int]) -> str:
    return "".join(PIECES[i] for i in ids)


def first_cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.index(s) for s in stop if s in text), default=len(text))]


IDS = st.lists(st.integers(0, len(PIECES) - 1), max_size=40)
STOPS = st.lists(st.sampled_from(["ab", "b a", "aba", "é", "bb\na", "\n"]), max_size=3)


@given(IDS, STOPS)
def test_text_is_cut_before_the_first_stop_string_whatever_the_tokens(ids, stop):
    got = Stopper(stop, spell).generation(ids, "length")
    text = spell(ids)
    assert got.text == first_cut(text, stop)
    assert got.finish == ("length" if got.text == text else "stop")
    assert list(got.token_ids) == ids[: len(got.token_ids)]
    assert spell(got.token_ids).startswith(got.text)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 5, 6, 7]), min_size=1, max_size=40), STOPS)
def test_a_stop_string_is_noticed_at_the_token_that_completes_it(ids, stop):
    stopper = Stopper(stop, spell)
    noticed = next((n for n in range(1, len(ids) + 1) if stopper.hit(ids[:n])), None)
    complete = (
        n for n in range(1, len(ids) + 1) if first_cut(spell(ids[:n]), stop) != spell(ids[:n])
    )
    assert noticed == next(complete, None)


@given(IDS)
def test_without_stop_strings_nothing_is_cut(ids):
    got = Stopper((), spell).generation(ids, "stop")
    assert (got.text, got.token_ids, got.finish) == (spell(ids), tuple(ids), "stop")
