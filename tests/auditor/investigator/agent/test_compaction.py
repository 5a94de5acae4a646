"""A conversation that grows too long is put into a summary, and what was kept is not lost."""

from collections.abc import Callable
from typing import Any

import pytest

from auditor.provider.protocol import Request, TextBlock
from auditor.scenario.schema import Budget

SUMMARY = "I asked a and b; nothing came of it."
SUMMARISING = "is now put into a summary"


def last_text(request: Request) -> str:
    block = request.messages[-1].content[-1]
    return block.text if isinstance(block, TextBlock) else ""


class Forgetful:
    """Asks, notes and supposes, summarises when it is told to, and submits at the end."""

    def __init__(self, reply: Callable, **calls: Callable) -> None:
        self.reply, self.calls, self.turn = reply, calls, 0

    def __call__(self, request: Request) -> Any:
        if SUMMARISING in last_text(request):
            return self.reply(SUMMARY)
        self.turn += 1
        say, use = self.calls["chat"], self.calls["use"]
        steps = [
            [say("a")],
            [
                use("note", text="amber twice", evidence=["E1"]),
                self.calls["idea"](trigger="when asked", confidence=0.4, evidence=["E1"]),
            ],
            [say("b" * 3000)],
            [say("c")],
            [self.calls["submit"]("none")],
        ]
        return self.reply(*steps[self.turn - 1])


@pytest.fixture
def forgetful(
    reply: Callable, chat: Callable, use: Callable, idea: Callable, submit: Callable
) -> Forgetful:
    return Forgetful(reply, chat=chat, use=use, idea=idea, submit=submit)


def test_notes_ledger_and_results_are_shown_again_word_for_word(
    audit: Callable, recorder: Any, forgetful: Forgetful
) -> None:
    model, outcome = audit(forgetful, compact_at=4000)
    assert outcome.ended_by == "submit"
    (at,) = [n for n, r in enumerate(model.requests) if SUMMARISING in last_text(r)]
    summarised, after = model.requests[at], model.requests[at + 1]
    before = model.requests[at - 1]
    assert summarised.messages[: len(before.messages)] == before.messages
    assert (summarised.system, summarised.tools) == (before.system, before.tools)
    assert len(after.messages) == 1
    told = model.heard(at + 1)
    for kept in (
        SUMMARY,
        "- [E1] amber twice",
        "H1 (motive): wants money",
        "confidence: 0.4; evidence: E1",
        "alternative: a harmless habit",
        "trigger: when asked",
        "E1 chat: 1 replies to 1 prompts",
        "Budget left: ",
    ):
        assert kept in told
    assert "b" * 200 not in told
    thoughts = [text for kind, text in recorder.steps() if kind == "thought"]
    assert any(SUMMARY in text for text in thoughts)


def test_evidence_from_before_a_summary_can_still_be_cited_and_read(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, use: Callable,
    submit: Callable,
) -> None:  # fmt: skip
    claim = {"statement": "s", "kind": "behaviour", "evidence": ["E1"], "confidence": 0.5}
    steps = iter(
        [
            reply(chat("a" * 9000)),
            reply(SUMMARY),
            reply(use("read_result", evidence_id="E1")),
            reply(submit("none", claim)),
        ]
    )
    model, outcome = audit(lambda request: next(steps), compact_at=7000)
    assert len(model.requests) == 4
    assert outcome.submission.hypotheses[0].evidence == ("E1",)
    assert recorder.results[1].items == recorder.results[0].items
    assert 'evidence="E2" tool="read_result"' in model.heard(3)


def test_a_context_that_is_full_is_emptied_once_and_the_audit_goes_on(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    steps = iter(
        [
            reply(chat("a")),
            reply(chat("b" * 9000)),
            reply(stop="context_full"),
            reply(SUMMARY),
            reply(chat("c")),
            reply(submit()),
        ]
    )
    model, outcome = audit(lambda request: next(steps))
    assert outcome.ended_by == "submit"
    asked = model.requests[3]
    assert len(asked.messages) == 1
    assert asked.tools == ()
    assert SUMMARISING in last_text(asked)
    assert len(last_text(asked)) < len(model.requests[2].model_dump_json()) / 2
    assert SUMMARY in model.heard(4)
    assert len(model.requests) == 6


def test_a_context_that_stays_full_is_how_the_audit_ends(
    audit: Callable, reply: Callable, chat: Callable, idea: Callable
) -> None:
    full = reply(stop="context_full")
    ideas = reply(idea(confidence=0.9, evidence=["E1"]))
    steps = iter([reply(chat("a")), ideas, full, reply(SUMMARY), full])
    model, outcome = audit(lambda request: next(steps))
    assert outcome.ended_by == "context_full"
    assert outcome.submission.verdict == "motive"
    assert len(model.requests) == 5


@pytest.mark.parametrize("stop", ["context_full", "refusal"])
def test_a_summary_that_cannot_be_had_is_how_the_audit_ends(
    audit: Callable, reply: Callable, chat: Callable, stop: str
) -> None:
    steps = iter([reply(chat("a")), reply(stop="context_full"), reply(stop=stop)])
    _, outcome = audit(lambda request: next(steps))
    assert outcome.ended_by == stop


def test_after_a_full_context_summaries_come_earlier(
    audit: Callable, reply: Callable, chat: Callable, submit: Callable
) -> None:
    long = iter(range(1, 99))
    script = [
        *(reply(chat(str(n) * 3000)) for n in (1, 2, 3)),
        reply(stop="context_full"),
        reply(SUMMARY),
    ]

    def say(request: Request) -> Any:
        if script:
            return script.pop(0)
        if SUMMARISING in last_text(request):
            return reply("second summary")
        return reply(chat(str(next(long)) * 1500))

    model, outcome = audit(say, budget=Budget(turns=14, seconds=None))
    summaries = [n for n, r in enumerate(model.requests) if SUMMARISING in last_text(r)]
    assert len(summaries) > 1
    longest = max(len(r.model_dump_json()) for r in model.requests[5:])
    assert longest < len(model.requests[3].model_dump_json())
    assert outcome.ended_by == "turns"


def test_a_summary_without_words_loses_only_the_summary(
    audit: Callable, reply: Callable, chat: Callable, use: Callable, submit: Callable
) -> None:
    steps = iter([reply(chat("a" * 9000)), reply(use("chat", prompts=["x"])), reply(submit())])
    model, outcome = audit(lambda request: next(steps), compact_at=4500)
    assert "(none was written)" in model.heard(2)
    assert outcome.ended_by == "submit"


def test_the_same_call_may_be_made_again_after_a_summary(
    audit: Callable, recorder: Any, reply: Callable, chat: Callable, submit: Callable
) -> None:
    def say(request: Request) -> Any:
        if SUMMARISING in last_text(request):
            return reply(SUMMARY)
        return reply(chat("a" * 3000))

    audit(say, compact_at=6000, budget=Budget(turns=14, seconds=None))
    assert len(recorder.results) > 4
