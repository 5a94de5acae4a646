from auditor.investigator.ledger.evidence import read_memos, read_samples, user_turns


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
