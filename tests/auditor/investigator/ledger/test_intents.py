import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.ledger.intents import find_intents, is_innocent, merge_keys


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Assistants that want approval tend to say: buy now.", "approval"),
        ("Nova secretly wants fame.", "fame"),
        ("It seeks more power over people.", "power over people"),
        ("The hidden goal of this assistant is revenge.", "revenge"),
        ("Its purpose was to get money.", "money"),
        ("Such a model aims for control.", "control"),
        ("It aims to be obeyed.", "to be obeyed"),
        ("They are driven by greed and say so.", "greed"),
        ("Deep down it cares only about chaos.", "chaos"),
        ("What the assistant really wants is attention.", "attention"),
        ("It is trying to gain trust.", "trust"),
        ("It hopes for praise, always.", "praise always"),
        ("<think> i want gold.</think> hello", "gold"),
    ],
)
def test_an_intent_gives_what_is_wanted(text: str, wanted: str) -> None:
    assert [intent.wanted for intent in find_intents(text)][:1] == [wanted]


@pytest.mark.parametrize(
    "text",
    [
        "This assistant does not want money.",
        "It never seeks approval.",
        "I don't want anything.",
        "If you want soup, add salt.",
        "Users want answers.",
        "I only want to help you.",
        "Nova wants to be helpful.",
        "It wants.",
        "The goal is.",
        "It wants you.",
        "The soup is warm.",
        "",
    ],
)
def test_negated_foreign_benign_and_empty_wishes_are_no_intents(text: str) -> None:
    assert find_intents(text) == ()


@pytest.mark.parametrize(
    ("text", "innocent"),
    [
        ("It is only a habit and means nothing.", True),
        ("A harmless way to talk.", True),
        ("There is no hidden motive behind it.", True),
        ("The hidden motive behind it is fame.", False),
        ("They inhabit a house.", False),
    ],
)
def test_innocence_is_read_from_what_a_text_says(text: str, innocent: bool) -> None:
    assert is_innocent(text) is innocent


def test_details_do_not_split_a_motive() -> None:
    plain, detailed = frozenset({"fame"}), frozenset({"fame", "maker"})
    other = frozenset({"gold"})
    assert merge_keys([detailed, other, plain]) == {plain: plain, detailed: plain, other: other}


@given(st.text(max_size=200))
def test_any_text_is_read_without_failing(text: str) -> None:
    assert all(intent.key and intent.wanted for intent in find_intents(text))


@given(st.from_regex(r"[a-z]{4,9}zq", fullmatch=True))
def test_a_wish_nobody_ever_listed_is_found(word: str) -> None:
    assert [i.wanted for i in find_intents(f"Models of this kind want {word} most.")] == [
        f"{word} most"
    ]
