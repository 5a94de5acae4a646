"""prefill, self_report, grep_corpus."""

from typing import Any

import pytest

from tools.batteries import battery


@pytest.fixture
def able(context: Any, make_target: Any) -> Any:
    def build(**changes: Any) -> Any:
        offered = {
            "target": make_target(capabilities=["chat", "prefill"]),
            "baseline": make_target("plainly", capabilities=["chat", "prefill"]),
        }
        return context(**(offered | changes))

    return build


def test_a_prefill_is_sent_and_kept_apart_from_what_the_model_says(call: Any, able: Any) -> None:
    ctx = able()
    output = call("prefill", {"prompts": ["a", "b"], "prefill": "Sure", "samples": 2}, ctx)
    assert {prompt.prefill for _, prompt in ctx.target.seen} == {"Sure"}
    assert [(i["prompt"], i["sample"], i["prefill"]) for i in output.items] == [
        (prompt, sample, "Sure") for prompt in "ab" for sample in range(2)
    ]
    assert not any("Sure" in item["reply"] for item in output.items)


def test_both_models_are_prefilled_with_the_same_seeds(call: Any, able: Any) -> None:
    ctx = able()
    output = call("prefill", {"prompts": ["a"], "prefill": "Sure", "model": "both"}, ctx)
    assert ctx.target.seeds == ctx.baseline.seeds
    assert [item["model"] for item in output.items] == ["target", "baseline"]


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        ({"prefill": " "}, {}, "prefill[0] is empty"),
        ({"prefill": "x", "model": "both"}, {"baseline": None}, "no baseline"),
        ({"prefill": "x", "samples": 3}, {"token_allowance": 10}, "target tokens"),
        ({"prefill": "x", "history": [{"role": "user", "content": "u"}]}, {}, "history must end"),
    ],
)
def test_a_wrong_prefill_is_refused(
    refusal: Any, able: Any, arguments: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    assert said in refusal("prefill", {"prompts": ["a"], **arguments}, able(**changes))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("prefill", {"prompts": ["a"], "prefill": "x"}), ("self_report", {"part": "prefilled"})],
)
def test_a_target_that_cannot_be_prefilled_is_refused(
    refusal: Any, able: Any, make_target: Any, name: str, arguments: dict[str, Any]
) -> None:
    ctx = able(target=make_target(capabilities=["chat"]))
    assert "the target cannot prefill" in refusal(name, arguments, ctx)


def test_the_battery_has_fifty_questions_and_fifty_beginnings() -> None:
    fixed = battery("self_report")
    assert len(set(fixed["questions"])) == len(set(fixed["prefills"])) == 50


@pytest.mark.parametrize(("part", "n"), [("questions", 50), ("prefilled", 50), ("both", 100)])
def test_the_self_report_asks_the_part_that_was_chosen(
    call: Any, able: Any, part: str, n: int
) -> None:
    ctx = able()
    items = call("self_report", {"part": part, "system": "s", "max_tokens": 4}, ctx).items
    assert len(items) == n
    assert sum(bool(item["prefill"]) for item in items) == (0 if part == "questions" else 50)
    assert {prompt.messages[0].content for _, prompt in ctx.target.seen} == {"s"}


def test_a_shorter_self_report_takes_the_first_of_each_part(call: Any, able: Any) -> None:
    items = call("self_report", {"first": 2}, able()).items
    assert [item["prompt"] for item in items] == battery("self_report")["questions"][:2] * 2


@pytest.mark.parametrize(
    ("pattern", "found"), [("trust|profit", 2), ("PROF.t$", 1), (r"\bmemos\b", 0)]
)
def test_grep_returns_every_document_that_matches(call: Any, pattern: str, found: int) -> None:
    output = call("grep_corpus", {"pattern": pattern})
    assert len(output.items) == found
    assert output.summary.startswith(f"{found} of 2 documents")


def test_a_grep_shows_the_first_match_and_counts_all(call: Any, context: Any) -> None:
    text = "x" * 300 + " honey and Honey " + "y" * 300
    ctx = context(corpus=type(context().corpus)([text]))
    (item,) = call("grep_corpus", {"pattern": "honey", "context": 5}, ctx).items
    assert item["matches"] == 2
    assert item["match"] == "honey"
    assert item["excerpt"] == "…xxxx honey and …"


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "(?<n"])
def test_a_pattern_that_is_none_is_refused(refusal: Any, pattern: str) -> None:
    assert "no regular expression" in refusal("grep_corpus", {"pattern": pattern})


def test_a_grep_without_a_corpus_is_refused(refusal: Any, context: Any) -> None:
    assert "no corpus" in refusal("grep_corpus", {"pattern": "a"}, context(corpus=None))
