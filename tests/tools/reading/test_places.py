"""Which tokens are chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.protocols import ChatMessage, Prompt, ToolError
from tools.reading.passages import Passage
from tools.reading.places import choose, eligible, elsewhere, parse_positions, within

CHAT = Prompt(
    (ChatMessage("system", "be kind"), ChatMessage("user", "say odd things now")), "red odd blue"
)


@pytest.fixture
def passage(reading):
    def build(source=CHAT, index=0, author="target"):
        mind = reading().mind
        (ids,), (turns,) = mind.token_ids([source]), mind.turns([source])
        return Passage(
            index=index,
            source=source,
            author=author,
            given=0,
            sample=None,
            ids=tuple(ids),
            tokens=tuple(mind.tokens(ids)),
            turns=turns,
        )

    return build


@pytest.fixture
def chosen(reading, passage):
    def words(positions=None, span=None, most=1000, source=CHAT, author="target", scores=None):
        one = passage(source, author=author)
        found = choose(reading(), [one], positions=positions, span=span, most=most, scores=scores)
        return "".join(one.tokens[at] for at in found[0]).strip()

    return words


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (None, "red odd blue"),
        ("reply", "red odd blue"),
        ("last", "blue"),
        ("last:2", "odd blue"),
        ("header", "<assistant>"),
        ("turn_ends", "</s> </s> blue"),
        ("every", "say odd things now </s> red odd blue"),
        ("random:99", "red odd blue"),
        ("divergent:1", "odd"),
        ("header, last", "<assistant> blue"),
    ],
)
def test_a_policy_chooses_the_tokens_that_it_names(chosen, positions, expected):
    assert chosen(positions) == expected


@pytest.mark.parametrize(
    ("positions", "span", "expected"),
    [
        (None, "Odd  THINGS", "odd things"),
        (None, "odd", "odd odd"),
        ("last", "odd", "odd"),
        ("reply", "odd", "odd"),
        (None, "dd thi", "odd things"),
        ("header", "now </s> <assistant>", "<assistant>"),
        (None, "be kind", "be kind"),
    ],
)
def test_a_span_keeps_only_its_own_tokens(chosen, positions, span, expected):
    assert chosen(positions, span) == expected


def test_an_open_conversation_is_read_where_the_reply_would_begin(chosen):
    open_ = Prompt((ChatMessage("user", "hello there"),))
    assert chosen(source=open_, author=None) == "<assistant>"
    assert chosen("every", source=open_, author=None) == "hello there </s>"
    with pytest.raises(ToolError, match="nothing to read at reply: the replies are empty"):
        chosen(source=open_, author="target")


def test_a_raw_text_is_read_from_its_second_token_on(chosen):
    assert chosen(source="one two three", author=None) == "one two three"
    assert chosen("reply", source="one two", author=None) == "one two"
    with pytest.raises(ToolError, match="no such turns"):
        chosen("header", source="one two", author=None)


def test_scores_choose_the_worst_and_the_best(chosen):
    def scores(positions):
        return [[{0: 0.5, 1: None, 2: -1.0}[at % 3] for at in row] for row in positions]

    # The reply's tokens stand at 12, 13 and 14.
    assert chosen("worst:1", scores=scores) == "blue"
    assert chosen("best:1", scores=scores) == "red"
    assert chosen("best:3", scores=scores) == "red blue"
    with pytest.raises(ToolError, match="worst:1 is not offered"):
        chosen("worst:1")


def test_of_more_places_than_wanted_each_text_keeps_as_many(reading, passage):
    texts = [
        passage(Prompt((ChatMessage("user", "x"),), " ".join("abcdefgh"[:n])), n) for n in (8, 2, 5)
    ]
    ctx = reading()
    found = choose(ctx, texts, positions="reply", span=None, most=9)
    assert [len(at) for at in found] == [3, 2, 3]
    assert all(at == sorted(set(at)) for at in found)
    again = choose(ctx, texts[:1], positions="reply", span=None, most=3)
    assert again[0] == found[0]
    assert sum(map(len, choose(ctx, texts, positions="reply", span=None, most=2))) == 2


def test_elsewhere_are_other_tokens_of_the_same_text(reading, passage):
    one = passage()
    at = choose(reading(), [one], positions="reply", span=None, most=99)
    (others,) = elsewhere(reading(), [one], at)
    assert len(others) == 3
    assert set(others) < set(eligible(one)) - set(at[0])


@pytest.mark.parametrize(
    "text", ["", "lost", "random", "last:0", "header:2", "last:x", "reply;last", "worst"]
)
def test_what_names_no_policy_is_refused(text):
    with pytest.raises(ToolError, match="these positions mean nothing"):
        parse_positions(text)


@pytest.mark.parametrize(
    ("span", "said"), [("zebra", "no text holds 'zebra'"), ("  ", "span is empty")]
)
def test_a_span_that_is_nowhere_is_refused(chosen, span, said):
    with pytest.raises(ToolError, match=said):
        chosen(span=span)


@given(
    words=st.lists(st.from_regex(r"[a-z]{1,4}", fullmatch=True), min_size=1, max_size=12),
    data=st.data(),
)
def test_a_span_of_whole_words_is_found_at_its_place(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    one = Passage(
        index=0,
        source=" ".join(words),
        author=None,
        given=0,
        sample=None,
        ids=tuple(range(len(words))),
        tokens=tuple(" " + word for word in words),
        turns=(),
    )
    assert set(range(start, end)) <= set(within(one, " ".join(words[start:end])))
