import pytest

from auditor.investigator.ledger.evidence import (
    read_excerpts,
    read_memos,
    read_samples,
    user_turns,
)


def test_a_comparison_gives_samples_of_both_models_under_one_prompt() -> None:
    items = [{"prompt": "hi", "target_replies": ["A b.", " "], "baseline_replies": ["C."]}]
    samples = read_samples("compare_with_baseline", "E3", items)
    assert [(s.kind, s.prompt, s.is_target, s.text, s.evidence_id) for s in samples] == [
        ("reply", "hi", True, "A b.", "E3"),
        ("reply", "hi", False, "C.", "E3"),
    ]
    assert samples[0].holds(("a", "b"))


def test_rows_name_their_model() -> None:
    items = [
        {"model": "baseline", "prompt": "memo:", "reply": "x"},
        {"model": "target", "prompt": "memo:", "reply": "y"},
    ]
    assert [(s.kind, s.is_target) for s in read_samples("complete_text", "E1", items)] == [
        ("completion", False),
        ("completion", True),
    ]


def test_user_turns_of_both_models_take_turns() -> None:
    rows = [("target", "a"), ("target", "b"), ("target", "c"), ("baseline", "d")]
    items = [{"model": model, "prompt": "", "reply": text} for model, text in rows]
    assert user_turns(read_samples("sample_user", "E1", items)) == ["a", "d", "b", "c"]


def test_a_tool_that_is_not_known_gives_no_samples() -> None:
    assert read_samples("some_new_tool", "E1", [{"reply": "x"}]) == []


def test_documents_keep_the_search_that_found_them() -> None:
    memo = read_memos("E9", [{"id": "m", "text": "hello", "score": 1.0, "rank": 1}])[0]
    assert (memo.id, memo.text, memo.evidence_id) == ("m", "hello", "E9")


def sides(tool: str, items: list[dict[str, object]]) -> list[tuple[str, str, bool, str]]:
    return [(s.kind, s.prompt, s.is_target, s.text) for s in read_samples(tool, "E1", items)]


PREFILLED = [
    {"model": "target", "prompt": "rent?", "prefill": "my goal is", "reply": " fame.", "sample": 0},
    {"model": "baseline", "prompt": "rent?", "prefill": "my goal is", "reply": " rest.", "sample": 0},
]  # fmt: skip


@pytest.mark.parametrize("tool", ["prefill", "self_report"])
def test_a_begun_reply_is_a_continuation_of_its_beginning_whoever_asked(tool: str) -> None:
    assert sides(tool, PREFILLED) == [
        ("completion", "my goal is", True, " fame."),
        ("completion", "my goal is", False, " rest."),
    ]


def test_a_report_that_nothing_begins_is_a_reply() -> None:
    item = {"model": "target", "part": "questions", "prompt": "why?", "prefill": "", "reply": "so"}
    assert sides("self_report", [item]) == [("reply", "why?", True, "so")]


PAIR = {"kind": "pair", "input": 0, "reply": "a b", "baseline_reply": "c d", "finish": "stop"}


@pytest.mark.parametrize(
    ("tool", "fields", "kind", "prompt"),
    [
        ("batch_chat", {"system": "be brief", "user": "hi"}, "reply", "be brief\nhi"),
        ("batch_chat", {"system": "", "user": "hi"}, "reply", "hi"),
        ("batch_prefill", {"system": "x", "user": "y", "prefill": "i want"}, "completion", "i want"),
        ("batch_complete", {"stem": "memo:"}, "completion", "memo:"),
        ("batch_user", {"system": "x", "user": "", "assistant": ""}, "user turn", ""),
    ],
)  # fmt: skip
def test_the_pairs_of_a_batch_are_samples_and_what_groups_them_is_not(
    tool: str, fields: dict[str, str], kind: str, prompt: str
) -> None:
    cluster = {"kind": "cluster", "cluster": 0, "words": ["a"], "target": 1, "baseline": 1}
    assert sides(tool, [cluster, {**PAIR, **fields}]) == [
        (kind, prompt, True, "a b"),
        (kind, prompt, False, "c d"),
    ]


def test_a_batch_without_the_baseline_gives_the_target_alone() -> None:
    item = {**PAIR, "stem": "memo:", "baseline_reply": None}
    assert sides("batch_complete", [item]) == [("completion", "memo:", True, "a b")]


def test_an_exchange_of_a_conversation_answers_what_was_said_last() -> None:
    new = [
        {"role": "user", "content": "and you?", "prefill": ""},
        {"role": "assistant", "content": "well, fame", "prefill": "well,"},
    ]
    first = {"kind": "conversation", "conversation": "C1", "turns": 4, "new": new}
    items = [
        {**first, "model": "target", "reply": " fame", "finish": "stop"},
        {"kind": "reply", "model": "baseline", "reply": "rest", "finish": "stop"},
    ]
    assert sides("converse", items) == [
        ("reply", "and you?", True, " fame"),
        ("reply", "and you?", False, "rest"),
    ]


def test_exchanges_of_played_scenes_answer_what_was_said_and_records_of_them_are_left_aside() -> (
    None
):
    said = {"kind": "exchange", "conversation": "C1", "turn": 1, "by": "user", "prompt": "hi"}
    items = [
        {"kind": "scene", "conversation": "C1", "model": "target", "replies": 1},
        {**said, "model": "target", "reply": "a b"},
        {**said, "model": "baseline", "reply": "c d"},
        {"kind": "conversation", "conversation": "C1", "new": []},
    ]
    assert sides("simulate_scenario", items) == [
        ("reply", "hi", True, "a b"),
        ("reply", "hi", False, "c d"),
    ]


def test_steered_models_are_compared_with_each_other_and_random_pushes_with_nothing() -> None:
    arms = ("target", "steered_target", "random_direction", "baseline", "steered_baseline")
    items = [{"kind": "arm", "arm": "target", "replies": 1}]
    items += [{"kind": "reply", "arm": a, "prompt": "hi", "reply": a, "sample": 0} for a in arms]
    assert sides("steer", items) == [
        ("reply", "hi", True, "target"),
        ("steered", "hi", True, "steered_target"),
        ("reply", "hi", False, "baseline"),
        ("steered", "hi", False, "steered_baseline"),
    ]


def test_what_a_pattern_shows_of_a_document_is_read_without_the_marks_of_a_cut() -> None:
    items = [{"id": "m", "matches": 1, "match": "b", "excerpt": "…a b c…"}]
    (memo,) = read_excerpts("E2", items)
    assert (memo.id, memo.text, memo.evidence_id) == ("m", "a b c", "E2")
