"""nla_explain, and what the reading tools refuse."""

import pytest

PROMPTS = {"prompts": ["tell me odd things", "and more"]}


def readings(output):
    return [item for item in output.items if item["kind"] == "reading"]


def texts(output):
    return [item for item in output.items if item["kind"] == "text"]


def test_the_targets_replies_are_read_by_default(call, reading, chatty):
    ctx = reading()
    output = call("nla_explain", PROMPTS | {"replies": 2}, ctx)
    assert [item["author"] for item in texts(output)] == ["target"] * 4
    assert [(item["given"], item["sample"]) for item in texts(output)] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    said = [item["words"].split() for item in texts(output)]
    read = [item["token"].strip() for item in readings(output)]
    assert read == [word for words in said for word in words]
    assert ctx.usage.target_tokens == 16
    assert ctx.usage.baseline_tokens == 0
    assert ctx.usage.reader_tokens == sum(
        len(item["explanation"].split()) for item in readings(output)
    )
    assert output.summary.endswith(
        f"cost: 16 target, 0 baseline and {ctx.usage.reader_tokens} reader tokens"
    )


def test_an_item_says_where_it_was_read_and_what_it_is_worth(call, reading):
    ctx = reading()
    output = call("nla_explain", {"texts": ["one two three"], "positions": "last"}, ctx)
    (item,) = readings(output)
    assert item == {
        "kind": "reading",
        "text": 0,
        "position": 3,
        "before": " <s> one two",
        "token": " three",
        "whose": "target",
        "sample": 0,
        "explanation": item["explanation"],
        "cosine": 0.9,
        "fve": item["fve"],
        "verdict": "better than all nulls",
        "layer": 1,
        "off_layer": False,
    }
    assert item["explanation"].startswith("secretly wants approval. topic")
    assert ctx.reader.contexts == [" <s> one two three"]


def test_a_reading_no_better_than_a_random_vector_says_so(call, reading, readers):
    ctx = reading(reader=readers(cosine=0.1))
    output = call("nla_explain", {"texts": ["one two"]}, ctx)
    assert {item["verdict"] for item in readings(output)} == {
        "indistinguishable from a random vector"
    }
    assert "2 indistinguishable from a random vector" in output.summary


def test_a_reading_without_explanation_is_blank_not_zero(call, reading, readers):
    output = call("nla_explain", {"texts": ["one"]}, reading(reader=readers(mute=True)))
    (item,) = readings(output)
    assert (item["explanation"], item["cosine"], item["fve"]) == (None, None, None)
    assert item["verdict"] == "not scored: the verbalizer gave no explanation"


@pytest.mark.parametrize(("whose", "motive", "strength", "names_it"), [
    ("target", 1.0, 2.0, True),
    ("baseline", 1.0, 2.0, False),
    ("target", 0.3, 2.0, False),
    ("difference", 0.3, 1.0, False),
    ("difference", 0.3, 4.0, True),
])  # fmt: skip
def test_the_difference_shows_what_the_target_alone_does_not(
    call, reading, whose, motive, strength, names_it
):
    output = call(
        "nla_explain",
        {"texts": ["one two three four"], "whose": whose, "strength": strength},
        reading(motive),
    )
    named = ["approval" in item["explanation"] for item in readings(output)]
    assert all(named) if names_it else not all(named)
    assert {item["whose"] for item in readings(output)} == {whose}


def test_other_layers_are_read_and_marked(call, reading):
    output = call(
        "nla_explain", {"texts": ["one two"], "layers": [1, 2, 2], "samples": 2}, reading()
    )
    assert [(i["layer"], i["off_layer"]) for i in readings(output)] == [(1, False)] * 4 + [
        (2, True)
    ] * 4
    assert "layer 2 has no pair of its own and was read with that of layer 1" in output.summary


def test_conversations_that_end_in_an_assistant_turn_are_read_as_they_stand(call, reading):
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "good day"},
    ]
    ctx = reading()
    output = call("nla_explain", {"conversations": [turns, turns[:2]], "replies": 0}, ctx)
    assert [item["token"] for item in readings(output)] == [" good", " day", " <assistant>"]
    assert [item["author"] for item in texts(output)] == [None, None]
    assert ctx.usage.target_tokens == 0


def test_a_reading_does_not_depend_on_what_else_is_read(call, reading):
    alone = call("nla_explain", {"texts": ["one two three"], "positions": "last"}, reading())
    beside = call(
        "nla_explain", {"texts": ["one two three", "four"], "positions": "every"}, reading()
    )
    assert readings(alone)[0] in readings(beside)


def test_best_and_worst_readings_choose_places(call, reading):
    ctx = reading()
    worst = call("nla_explain", {"texts": ["one two three four"], "positions": "worst:1"}, ctx)
    every = call("nla_explain", {"texts": ["one two three four"]}, reading())
    lowest = min(readings(every), key=lambda item: item["fve"])
    assert readings(worst) == [lowest]
    assert ctx.usage.reader_tokens > sum(len(i["explanation"].split()) for i in readings(worst))


def test_more_places_than_wanted_are_thinned(call, reading):
    output = call(
        "nla_explain", {"texts": ["a b c d e f", "g h"], "max_readings": 8, "samples": 2}, reading()
    )
    assert [item["text"] for item in readings(output)] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_span_is_read(call, reading):
    output = call("nla_explain", {"texts": ["I like warm bread"], "span": "Warm  bread"}, reading())
    assert [item["token"] for item in readings(output)] == [" warm", " bread"]


@pytest.mark.parametrize("name", ["nla_explain", "nla_compare", "nla_verify"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "there is nothing to read: send prompts, conversations or texts"),
        ({"texts": [" "]}, "texts[0] is empty"),
        ({"texts": ["x" * 20_001]}, "send at most 20000"),
        ({"texts": ["x"], "positions": "middle"}, "these positions mean nothing: 'middle'"),
        ({"texts": ["x"], "span": "zebra"}, "no text holds 'zebra'"),
        ({"texts": ["x"], "layers": [9]}, "layer 9 does not exist"),
        ({"texts": ["x"], "layers": [-1]}, "layers.0"),
        ({"texts": ["x"], "layers": []}, "layers"),
        ({"prompts": ["x"] * 150, "replies": 2}, "one call may ask for 200"),
        ({"prompts": ["x"], "replies": 200, "max_tokens": 100}, "9000 are left in the budget"),
        ({"conversations": [[{"role": "assistant", "content": "x"}]]}, "conversations[0] must alternate"),
        ({"conversations": [[{"role": "system", "content": "x"}]]}, "has no user turn"),
        ({"conversations": [[{"role": "user", "content": " "}]]}, "conversations[0][0] is empty"),
        ({"conversations": [[{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]], "system": "y"}, "leave `system` out"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(refusal, reading, name, arguments, said):
    if name == "nla_verify":
        arguments = arguments | {"statements": ["wants approval"], "alternatives": ["wants bread"]}
    if name == "nla_compare" and "texts" not in arguments:
        arguments = arguments | {"against": "same_text"}
    ctx = reading(token_allowance=9000)
    assert said in refusal(name, arguments, ctx)
    assert ctx.usage.reader_tokens == 0


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"reader": None}, {}, "there is no reader of activations"),
        ({"mind": None}, {}, "the target's activations can be read in this audit"),
        (
            {"baseline_mind": None},
            {"whose": "difference"},
            "there is no baseline whose activations",
        ),
        ({"baseline_mind": None}, {"positions": "divergent:2"}, "there is no baseline whose"),
        ({}, {"samples": 2, "temperature": 0}, "at temperature 0 all samples are the same"),
        ({}, {"samples": 3, "max_readings": 2}, "send max_readings of at least 3"),
        ({}, {"samples": 0}, "samples"),
        ({}, {"strength": 0}, "strength"),
    ],
)
def test_what_is_not_there_is_refused(refusal, reading, changes, arguments, said):
    assert said in refusal("nla_explain", {"texts": ["x"]} | arguments, reading(**changes))


def test_models_that_see_other_tokens_are_not_compared(refusal, reading, minds):
    ctx = reading(baseline_mind=minds(system="you are clean"))
    assert "do not see the same tokens" in refusal(
        "nla_explain", {"texts": ["x"], "prompts": ["y"]}, ctx
    )


def test_replies_that_are_all_empty_leave_nothing_to_read(refusal, reading, chatty):
    ctx = reading(target=chatty(""))
    assert "the replies are empty" in refusal("nla_explain", PROMPTS, ctx)


def test_a_call_repeats_exactly(call, reading):
    one, other = (
        call("nla_explain", PROMPTS | {"positions": "random:2"}, reading()) for _ in range(2)
    )
    assert one == other
    assert call("nla_explain", PROMPTS, reading(seed=8)) != call("nla_explain", PROMPTS, reading())
