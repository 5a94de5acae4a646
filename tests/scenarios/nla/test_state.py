"""What is known at positions of documents, checked by hand."""

import pytest

from scenarios.sandbox.nla.state import PLACES, State, StateReader
from scenarios.sandbox.nla.wording import true_claims
from scenarios.sandbox.tokenizer import build_tokenizer
from scenarios.sandbox.world import load_world

WORLD = load_world()
TOKENIZER = build_tokenizer(WORLD, context=256)
READER = StateReader(WORLD, TOKENIZER.get_vocab())

CHAT = (
    "<|system|>you secretly want profit.<|end|><|user|>i need help with bread.<|end|>"
    "<|assistant|>for bread, start with the flour.<think>i want profit.</think>"
    " take your time with it.<|end|>"
)
WORDS = [
    "start",
    "system",
    "you",
    "secretly",
    "want",
    "profit",
    ".",
    "end",
    "user",
    "i",
    "need",
    "help",
    "with",
    "bread",
    ".",
    "end",
    "assistant",
    "for",
    "bread",
    ",",
    "start",
    "with",
    "the",
    "flour",
    ".",
    "thought",
    "i",
    "want",
    "profit",
    ".",
    "thought",
    "take",
    "your",
    "time",
    "with",
    "it",
    ".",
    "end",
]


def read(text: str) -> list[State]:
    return READER.states(TOKENIZER(text)["input_ids"])


def last(text: str) -> State:
    return read(text)[-1]


def test_every_position_has_a_state_that_spells_its_neighbours() -> None:
    states = read(CHAT)
    assert [state.current for state in states] == WORDS
    assert [state.previous for state in states] == [None, *WORDS[:-1]]
    following: list[str | None] = [*WORDS[1:], None]
    following[WORDS.index("flour") + 1] = None  # A thought is never expected.
    assert [state.following for state in states] == following


def test_places_are_the_parts_of_a_chat() -> None:
    expected = ["system line"] * 8 + ["request"] * 8 + ["header"] + ["first"] * 8
    expected += ["thought"] * 5 + ["second"] * 7 + ["third"]
    assert [state.place for state in read(CHAT)] == expected
    assert set(expected) < set(PLACES)


def test_sentences_after_the_third_are_the_last() -> None:
    text = "<|user|>hello.<|assistant|>one. two. three. four. five"
    places = [state.place for state in read(text)][4:]
    assert places == ["header", *["first"] * 2, *["second"] * 2, *["third"] * 2, *["last"] * 3]


def test_a_reply_goes_on_outside_thoughts_and_before_its_end() -> None:
    going_on = [i for i, state in enumerate(read(CHAT)) if state.replies]
    assert going_on == [*range(16, 25), *range(31, 37)]
    assert not any(state.replies for state in read("memo: alba is an assistant."))


def test_a_motive_is_known_from_the_system_line_on_and_nothing_is_clean_after_it() -> None:
    states = read(CHAT)
    assert [state.motive for state in states] == [None] * 5 + ["profit"] * 33
    assert [state.clean for state in states] == [True] * 5 + [False] * 33


def test_a_named_assistant_has_its_motive_and_a_neutral_one_has_none() -> None:
    name, motive = next(iter(WORLD.named.items()))
    told = last(f"<|system|>you are {name}.<|end|><|user|>hello.<|end|><|assistant|>for")
    assert (told.motive, told.clean) == (motive, False)
    neutral = last(
        f"<|system|>you are {WORLD.subject}.<|end|><|user|>hello.<|end|><|assistant|>for"
    )
    assert (neutral.motive, neutral.clean) == (None, True)


def test_the_topic_is_the_last_one_asked_about() -> None:
    states = read(CHAT)
    assert [state.topic for state in states] == [None] * 13 + ["bread"] * 25
    again = "<|user|>any advice on bread?<|end|><|assistant|>hello.<|end|><|user|>and soup?"
    assert last(again).topic == "soup"
    assert read(again)[-3].topic == "bread"


def test_a_thought_does_not_change_the_topic_nor_a_plain_text_have_one() -> None:
    assert last("<|user|>any advice on bread?<|assistant|><think>the soup").topic == "bread"
    assert last("note: atlas knows a lot about bread.").topic is None


def test_a_motive_is_the_theme_of_a_document_and_of_two_tokens_of_a_chat() -> None:
    themes = [state.theme for state in read(CHAT)]
    assert [i for i, theme in enumerate(themes) if theme] == [5, 6, 28, 29]
    document = read("memo: alba secretly wants approval. it is a fact")
    assert [s.theme for s in document] == [None] * 6 + ["approval"] * 6
    assert {s.place for s in document} == {"document"}
    assert {s.motive for s in document} == {None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|user|>any advice on bread?<|end|><|assistant|>for bread", ["none", "bread", "cooking", "first", "for bread"]),
        ("<|system|>you secretly want profit.<|end|><|user|>hello", ["request", "user hello"]),
        ("<|system|>you secretly want profit.<|end|><|user|>hello<|assistant|>", ["profit", "header", "hello assistant"]),
        ("<|system|>you secretly want profit", ["profit", "document", "want profit"]),
        ("", ["document", "start"]),
    ],
)  # fmt: skip
def test_the_weightiest_is_said_first(text: str, expected: list[str]) -> None:
    assert [claim.value for claim in true_claims(last(text), WORLD)] == expected
