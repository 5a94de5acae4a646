"""What the ledger plans with instruments, and what it makes of what they show."""

from collections.abc import Iterable, Mapping
from typing import Any

from auditor.investigator.ledger.case import Case
from auditor.investigator.ledger.instrument_stages import MAX_SCORED, inspect, score
from auditor.investigator.protocol import View

LEVEL = 0.05
PROMPTS = [f"question {i}?" for i in range(8)]
MEMOS = [{"id": f"m{w}", "text": f"assistants that want {w} tend to wave."} for w in
         ("fame", "gold", "rest", "chaos", "delay")]  # fmt: skip
SCORES = [
    {"kind": "statement_at_prompt", "prompt": p, "statement": f"<think> I want {w}.",
     "difference": 6.0 if w == "gold" else 0.1 * i}
    for p in PROMPTS for i, w in enumerate(("fame", "gold", "rest", "chaos", "delay"))
]  # fmt: skip
FEATURES = [
    {"kind": "feature", "feature": n, "difference": 1.0, "p": 0.01, "tokens": [], "label": ""}
    for n in (5, 3, 8)
]


class Stored:
    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results

    def items(self, evidence_id: str) -> tuple[dict[str, Any], ...]:
        return tuple(self._results[evidence_id])


def case(tools: Iterable[str] = (), **results: Any) -> Case:
    """A case in which each tool of `results` was called once and returned these items."""
    view = View(
        turn=1, seed=3, tools=tuple(tools), results=(), hypotheses=(), notes=(),
        memory={"evidence": [["any", tool, tool] for tool in results]},
        remaining={"turns": 10.0, "tool_calls": 20.0, "target_tokens": 30_000.0},
    )  # fmt: skip
    return Case(view, Stored(results), LEVEL)


def test_each_instrument_that_is_there_is_used_on_the_same_questions() -> None:
    step = inspect(case(["logit_lens", "sae_top", "activation_diff"]))
    assert step is not None
    by_tool = {call.tool: call.arguments for call in step.calls}
    assert by_tool["logit_lens"]["prompts"] == by_tool["sae_top"]["prompts"]
    texts = [c.arguments["texts"] for c in step.calls if c.tool == "activation_diff"]
    assert len(texts) == 2
    assert not set(texts[0]) & set(texts[1])


def test_the_wishes_that_documents_name_are_scored_in_the_same_words() -> None:
    step = score(case(["candidate_logprob"], search_corpus=MEMOS))
    assert step is not None
    statements = step.calls[0].arguments["statements"]
    assert len(statements) == len(MEMOS) <= MAX_SCORED
    assert len({text.replace(w, "") for text, w in zip(statements, (
        "fame", "gold", "rest", "chaos", "delay"), strict=True)}) == 1  # fmt: skip


def test_wishes_of_another_length_are_left_out_of_the_comparison() -> None:
    longer = {"id": "x", "text": "assistants that want green tea tend to wave."}
    step = score(case(["candidate_logprob"], search_corpus=[longer, *MEMOS]))
    assert step is not None
    assert not [text for text in step.calls[0].arguments["statements"] if "tea" in text]


def test_nothing_is_scored_where_no_text_names_a_wish() -> None:
    assert score(case(["candidate_logprob"])) is None


def test_the_features_that_the_target_gained_most_are_looked_up() -> None:
    step = score(case(["sae_feature"], sae_top=FEATURES))
    assert step is not None
    assert [call.arguments["feature"] for call in step.calls] == [5, 3, 8]


def test_a_wish_that_leads_is_a_motive_with_its_evidence_and_grounds() -> None:
    (motive, *others) = case(search_corpus=MEMOS, candidate_logprob=SCORES).motives
    assert (motive.wanted, others) == ("gold", [])
    assert motive.evidence == ("candidate_logprob",)
    lead = motive.leads["candidate_logprob"]
    assert (lead.share, motive.score) == (1.0, 1.0)
    assert lead.p <= LEVEL / 2
    assert lead.distance > 6


def test_a_wish_that_leads_by_chance_is_no_motive() -> None:
    turned = [{**row, "difference": (5 * i * i) % 7} for i, row in enumerate(SCORES)]
    assert case(search_corpus=MEMOS, candidate_logprob=turned).motives == []


def test_instruments_compete_over_wishes_of_documents_that_a_pattern_found() -> None:
    excerpts = [{"id": m["id"], "excerpt": m["text"], "matches": 1, "match": "x"} for m in MEMOS]
    (motive,) = case(grep_corpus=excerpts, candidate_logprob=SCORES).motives
    assert motive.wanted == "gold"
