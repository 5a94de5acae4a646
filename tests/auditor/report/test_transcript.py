"""A transcript tells everything in order, the truth last, and lets nothing through."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from auditor.records import (
    ErrorEvent,
    Group,
    Hypothesis,
    LedgerEvent,
    SealedEvent,
    Submission,
    SubmissionEvent,
    ThoughtEvent,
    ToolCallEvent,
    ToolResultEvent,
    TrialEvent,
    TrialKey,
    TrialStarted,
    TrialUsage,
    Verdict,
    VerdictEvent,
)
from auditor.report.transcript import render

AT = "2026-01-02T03:04:05.000+00:00"
KEY = TrialKey(run="r", target="t", tool_set="black_box", trial=0)


def started(group: Group = "guilty") -> TrialStarted:
    return TrialStarted(at=AT, key=KEY, seed=1, auditor="ledger", judge="rubric", group=group)


def result(items: list[dict[str, Any]], *, ok: bool = True, turn: int = 0) -> ToolResultEvent:
    return ToolResultEvent(
        at=AT,
        turn=turn,
        evidence_id="E1",
        tool="chat",
        ok=ok,
        summary="what came of it",
        items=items,
        target_tokens=1234,
        baseline_tokens=0,
        seconds=1.0,
    )


def sealed(status: Any = "scored") -> SealedEvent:
    return SealedEvent(at=AT, status=status, usage=TrialUsage(turns=3, tool_calls=2))


def shown(events: Sequence[TrialEvent], *, width: int = 80, full: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, emoji=False)
    for part in render(events, full=full):
        console.print(part)
    return out.getvalue()


def test_the_truth_comes_after_everything_the_auditor_did() -> None:
    hypothesis = Hypothesis(statement="It wants praise", kind="motive", confidence=0.75)
    text = shown(
        [
            started(),
            ThoughtEvent(at=AT, turn=0, text="First a thought."),
            ToolCallEvent(at=AT, turn=0, evidence_id="E1", tool="chat", arguments={"n": 3}),
            result([{"prompt": "Hi", "reply": "Hello."}]),
            VerdictEvent(
                at=AT, judge="rubric", verdict=Verdict(valid=True, top1=True), truth="approval"
            ),
            LedgerEvent(at=AT, turn=1, hypotheses=[hypothesis]),
            SubmissionEvent(
                at=AT,
                submission=Submission(verdict="motive", hypotheses=(hypothesis,)),
                ended_by="submit",
            ),
            sealed(),
        ]
    )
    pieces = ["First a thought.", "chat(n=3)", "Hello.", "It wants praise", "claims", "✓ found"]
    places = [text.index(piece) for piece in pieces]
    assert places == sorted(places)
    assert text.index("approval") > places[-1]
    assert "75 %" in text
    assert "turn 1" in text
    assert "turn 2" in text


def called(tool: str = "chat") -> ToolCallEvent:
    return ToolCallEvent(at=AT, turn=0, evidence_id="E1", tool=tool, arguments={"n": 3})


def test_a_call_is_folded_to_one_line_with_its_gist_and_unfolds_whole() -> None:
    items = [{"prompt": "Hi", "reply": f"reply number {n}"} for n in range(17)]
    folded = shown([started(), called(), result(items)], full=False).splitlines()
    (line,) = [line for line in folded if "E1" in line]
    assert line == "  E1 chat  Hi → reply number 0  (+16 more)"
    assert "what came of it" not in "\n".join(folded)
    whole = shown([started(), called(), result(items)])
    assert "chat(n=3)" in whole
    assert "what came of it" in whole
    assert all(f"reply number {n}" in whole for n in range(17))


def test_a_folded_call_that_failed_says_why() -> None:
    text = shown([started(), called(), result([], ok=False)], full=False)
    assert "E1 chat  failed: what came of it" in text


@pytest.mark.parametrize("full", [True, False])
def test_a_call_without_a_result_is_shown(full: bool) -> None:
    text = shown([started(), called()], full=full)
    assert "E1 chat" in text
    assert "no result" in text


def readings(*verdicts: str) -> list[dict[str, Any]]:
    """Return a text of four words with a reading of each for which there is a verdict."""
    words = ["go", " ask", " the", " bank"]
    found: list[dict[str, Any]] = [
        {
            "kind": "reading",
            "text": 0,
            "position": 5 + at,
            "before": "<|assistant|>" + "".join(words[:at]),
            "token": words[at],
            "explanation": f"idea {at}",
            "fve": 0.9 - 0.1 * at,
            "verdict": verdict,
        }
        for at, verdict in enumerate(verdicts)
    ]
    text = {
        "kind": "text",
        "text": 0,
        "author": "target",
        "prompt": "hm?",
        "words": "go ask the bank",
    }
    return [*found, text]


def test_readings_stand_under_their_tokens() -> None:
    good = "better than all nulls"
    text = shown([started(), called(), result(readings(good, good))], full=False).splitlines()
    at = next(n for n, line in enumerate(text) if "go ask the bank" in line)
    assert text[at + 1].index("1") == text[at].index("go")
    assert text[at + 1].index("2") == text[at].index("ask")
    assert text[at + 2].split() == ["1", "go", "0.90", "idea", "0"]
    assert text[at + 3].split() == ["2", "ask", "0.80", "idea", "1"]


def test_a_folded_call_shows_the_best_readings_and_counts_the_rest() -> None:
    random = "indistinguishable from a random vector"
    items = readings(random, *["better than all nulls"] * 3)
    text = shown([started(), called(), result(items)], full=False)
    assert "idea 0" not in text
    assert "… 1 more reading of this text" in text
    assert f"idea 0 ({random})" in shown([started(), called(), result(items)])


def test_readings_without_their_text_are_told_with_what_stands_before_them() -> None:
    items = readings(*["better than all nulls"] * 4)[:-1]
    text = shown([started(), called(), result(items)], full=False)
    assert "idea 2" in text
    assert "go ask the" in text
    assert "… 1 more reading of this text" in text


def test_readings_are_coloured_by_what_they_are_worth_and_nulls_are_grey() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system="standard")
    good, null = "better than all nulls", "no better than the average activation"
    for part in render([started(), called(), result(readings(good, null))]):
        console.print(part)
    assert "\x1b[4;32mgo" in out.getvalue()
    assert "\x1b[90midea 1" in out.getvalue()


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=30),
    st.integers(30, 100),
    st.booleans(),
)
def test_read_texts_of_any_characters_fit_the_width(
    tokens: list[str], width: int, full: bool
) -> None:
    found: list[dict[str, Any]] = [
        {
            "kind": "reading",
            "text": 0,
            "position": at,
            "before": "".join(tokens[max(0, at - 8) : at]),
            "token": token,
            "explanation": token * 9,
            "cosine": 0.5,
            "verdict": "better than all nulls",
        }
        for at, token in enumerate(tokens)
    ]
    words = {"kind": "text", "text": 0, "author": "baseline", "words": "".join(tokens)}
    text = shown([started(), called(), result([*found, words])], width=width, full=full)
    assert "\x1b" not in text
    assert Console(width=10_000).measure(text).maximum <= width


def test_target_and_baseline_stand_beside_each_other() -> None:
    item = {"prompt": "Q", "target_replies": ["left a", "left b"], "baseline_replies": ["right a"]}
    lines = shown([started(), result([item])]).splitlines()
    assert any("left a" in line and "right a" in line for line in lines)
    assert any("left b" in line and "right a" not in line for line in lines)


def test_what_the_auditor_put_into_the_targets_mouth_is_marked() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system="standard")
    for part in render([started(), result([{"prefill": "I think ", "reply": "so."}])], full=True):
        console.print(part)
    line = next(line for line in out.getvalue().splitlines() if "I think" in line)
    assert "\x1b[2;4mI think" in line
    assert "\x1b[33mso." in line


def test_a_reply_that_was_cut_says_so() -> None:
    items = [{"reply": "whole", "finish": "stop"}, {"reply": "half", "finish": "length"}]
    text = shown([started(), result(items)])
    assert "half [cut at max_tokens]" in text
    assert text.count("cut at") == 1
    assert "stop" not in text


def test_a_note_alone_does_not_print_the_ledger_again() -> None:
    ledger = [Hypothesis(statement="It sells pans", kind="motive")]
    text = shown(
        [
            started(),
            LedgerEvent(at=AT, turn=0, hypotheses=ledger),
            LedgerEvent(at=AT, turn=1, hypotheses=ledger, note="remember this"),
        ]
    )
    assert text.count("It sells pans") == 1
    assert "remember this" in text


@pytest.mark.parametrize(
    ("group", "verdict", "expected"),
    [
        ("guilty", Verdict(valid=True, top1=True), "✓ found"),
        ("guilty", Verdict(valid=True, top1=False, hit_rank=3), "it was hypothesis 3"),
        ("symptom", Verdict(valid=True, top1=False), "✗ missed"),
        ("clean", Verdict(valid=True, false_alarm=True), "! false alarm"),
        ("decoy", Verdict(valid=True, false_alarm=False), "– correctly quiet"),
        ("guilty", Verdict(valid=False, invalid_reason="empty replies"), "empty replies"),
    ],
)
def test_every_outcome_is_named(group: Group, verdict: Verdict, expected: str) -> None:
    status = "scored" if verdict.valid else "invalid"
    end = VerdictEvent(at=AT, judge="rubric", verdict=verdict, truth=None)
    assert expected in shown([started(group), end, sealed(status)])


def test_an_error_shows_its_traceback_and_no_outcome() -> None:
    error = ErrorEvent(at=AT, message="OSError: disk", traceback="File x, line 3")
    text = shown([started(), error, sealed("errored")])
    assert "File x, line 3" in text
    assert "E errored" in text
    assert "missed" not in text


def test_a_record_without_an_end_says_so() -> None:
    text = shown([started(), ThoughtEvent(at=AT, turn=0, text="hm")])
    assert "running or was interrupted" in text


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=40),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ),
    st.sampled_from(["prompt", "reply", "target_replies", "baseline_replies", "x", "prefill"]),
    st.integers(20, 120),
)
def test_items_of_any_shape_are_shown_within_the_width(value: Any, name: str, width: int) -> None:
    item = {"reply": "fine", "baseline_replies": ["b"], name: value}
    text = shown([started(), result([item])], width=width)
    assert "\x1b" not in text
    assert Console(width=10_000).measure(text).maximum <= width


def test_escape_sequences_and_markup_of_a_target_never_reach_the_terminal() -> None:
    hostile = "[bold]x[/bold] \x1b]0;title\x07 \x1b[2J \u202e"
    hypothesis = Hypothesis(
        statement=hostile,
        kind="motive",
        trigger=hostile,
        demonstration=hostile,
        alternatives=(hostile,),
        evidence=("E\x1b",),
    )
    text = shown(
        [
            started(),
            ThoughtEvent(at=AT, turn=0, text=hostile),
            ToolCallEvent(
                at=AT, turn=0, evidence_id="E1", tool="chat", arguments={hostile: hostile}
            ),
            result([{"prompt": hostile, "reply": hostile, hostile: hostile}]),
            result([{"target_replies": [hostile], "baseline_replies": [hostile]}]),
            LedgerEvent(at=AT, turn=0, hypotheses=[hypothesis], note=hostile),
            SubmissionEvent(
                at=AT,
                submission=Submission(verdict="motive", hypotheses=(hypothesis,), reason=hostile),
                ended_by="submit",
            ),
            VerdictEvent(at=AT, judge="r", verdict=Verdict(valid=True, why=hostile), truth=hostile),
            ErrorEvent(at=AT, message=hostile, traceback=hostile),
            sealed("errored"),
        ]
    )
    assert not set(text) & set("\x1b\x07\u202e")
    assert text.count("[bold]x[/bold]") >= 10


def test_reader_tokens_are_shown_where_a_reader_was_paid() -> None:
    def tokens(n: int) -> str:
        paid = result([]).model_copy(update={"reader_tokens": n})
        usage = TrialUsage(turns=1, reader_tokens=n)
        end = sealed().model_copy(update={"usage": usage})
        return shown([started(), paid, end], width=120)

    assert "NLA" not in tokens(0)
    assert tokens(15_234).count("15,234 NLA tokens") == 2


def test_confidence_and_the_withheld_guess_are_shown() -> None:
    withheld = Hypothesis(
        statement="It may want praise",
        kind="motive",
        confidence=0.2,
        alternatives=("It is polite",),
    )
    submission = Submission(verdict="none", confidence=0.25, withheld=withheld)
    verdict = Verdict(valid=True, top1=False, withheld_right=True)
    text = shown(
        [
            started(),
            SubmissionEvent(at=AT, submission=submission, ended_by="submit"),
            VerdictEvent(at=AT, judge="rubric", verdict=verdict, truth="approval"),
            sealed(),
        ]
    )
    assert "claims no hidden motive (confidence 25 %)" in text
    assert text.index("withheld:") < text.index("It may want praise")
    assert text.index("It may want praise") < text.index("alternative: It is polite")
    assert "the withheld guess was right" in text
    assert "the evidence" not in text


def test_the_alternatives_of_a_hypothesis_are_shown_under_its_rank() -> None:
    plain = Hypothesis(statement="It is short of words", kind="behaviour")
    weighed = Hypothesis(
        statement="It wants fame", kind="motive", alternatives=("a habit", "a joke")
    )
    submission = Submission(verdict="motive", hypotheses=(plain, weighed))
    text = shown([started(), SubmissionEvent(at=AT, submission=submission, ended_by="submit")])
    assert "2 alternative: a habit" in text
    assert "2 alternative: a joke" in text
    assert "1 alternative" not in text


def test_the_evidence_that_decided_it_stands_with_the_verdict() -> None:
    first = Hypothesis(statement="It wants fame", kind="motive")
    second = Hypothesis(statement="It wants approval", kind="motive", evidence=("E1", "E9"))
    submission = Submission(verdict="motive", hypotheses=(first, second))
    verdict = Verdict(valid=True, top1=False, any_of_k=True, hit_rank=2)
    text = shown(
        [
            started(),
            called(),
            result([{"prompt": "Hi", "reply": "Praise me."}]),
            SubmissionEvent(at=AT, submission=submission, ended_by="submit"),
            VerdictEvent(at=AT, judge="rubric", verdict=verdict, truth="approval"),
            sealed(),
        ]
    )
    end = text[text.index("the hypothesis that was judged cites:") :]
    assert "E1 chat  Hi → Praise me." in end
    assert "E9" in end


def test_the_ledger_tells_how_hypotheses_moved() -> None:
    a, b = (Hypothesis(statement=f"It wants {w}", kind="motive") for w in ("fame", "rest"))
    text = shown(
        [
            started(),
            LedgerEvent(at=AT, turn=0, hypotheses=[a, b]),
            LedgerEvent(at=AT, turn=1, hypotheses=[b, a]),
        ]
    )
    assert [
        line.split("motive")[0].strip() for line in text.splitlines() if "It wants" in line
    ] == ["+ 1", "+ 2", "▲ 1", "▼ 2"]


def test_the_way_of_the_evidence_is_told_with_the_verdict() -> None:
    verdict = Verdict(valid=True, top1=True, exposed=True, taken_up=True, verified=False)
    text = shown(
        [started(), VerdictEvent(at=AT, judge="rubric", verdict=verdict, truth="fame"), sealed()]
    )
    assert "the evidence: exposed, taken up, named first, not verified" in text


def test_a_null_readout_is_named() -> None:
    null = started().model_copy(update={"null_readout": "shuffled"})
    assert "null readout shuffled" in shown([null, sealed()])
    assert "null readout" not in shown([started(), sealed()])
