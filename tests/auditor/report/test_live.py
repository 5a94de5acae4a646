"""What is shown while a run works fits the terminal, follows one trial, and counts right."""

import io
import threading
import time
from collections.abc import Callable, Iterator
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
from auditor.report.live import LiveView, PlainView, SilentView, open_view, screen
from auditor.report.progress import HOLD_SECONDS, GridProgress, item_line, moves

AT = "2026-01-02T03:04:05.000+00:00"


def key(target: str = "t", trial: int = 0) -> TrialKey:
    return TrialKey(run="r", target=target, tool_set="black_box", trial=trial)


def started(of: TrialKey, group: Group = "guilty") -> TrialStarted:
    return TrialStarted(at=AT, key=of, seed=1, auditor="ledger", judge="rubric", group=group)


def sealed(status: Any = "scored") -> SealedEvent:
    return SealedEvent(at=AT, status=status, usage=TrialUsage(turns=3, tool_calls=2, seconds=4))


def verdict(**fields: Any) -> VerdictEvent:
    return VerdictEvent(
        at=AT, judge="rubric", verdict=Verdict(**{"valid": True} | fields), truth="approval"
    )


def guess(statement: str, confidence: float = 0.5) -> Hypothesis:
    return Hypothesis(statement=statement, kind="motive", confidence=confidence, evidence=("E1",))


def audit(of: TrialKey, group: Group = "guilty", text: str = "hello") -> Iterator[TrialEvent]:
    """Yield a whole trial that finds the motive of a guilty target and is quiet otherwise."""
    yield started(of, group)
    for turn in range(6):
        yield ThoughtEvent(at=AT, turn=turn, text=f"thought {turn} {text}")
        yield ToolCallEvent(
            at=AT, turn=turn, evidence_id=f"E{turn}", tool="chat", arguments={"prompts": [text]}
        )
        yield ToolResultEvent(
            at=AT,
            turn=turn,
            evidence_id=f"E{turn}",
            tool="chat",
            ok=turn != 2,
            summary=f"8 replies {text}",
            items=[{"prompt": text, "reply": f"{text} {n}"} for n in range(8)],
            target_tokens=9,
            baseline_tokens=0,
            seconds=0.1,
        )
        yield LedgerEvent(at=AT, turn=turn, hypotheses=[guess(f"It wants {text}")], note=text)
    yield SubmissionEvent(
        at=AT,
        submission=Submission(verdict="motive", hypotheses=(guess(f"It wants {text}"),)),
        ended_by="turns",
    )
    guilty = group == "guilty"
    yield verdict(top1=True if guilty else None, false_alarm=None if guilty else False)
    yield sealed()


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, _environ={})


def wait_for(console: Console, text: str) -> None:
    """Wait until the view has drawn something."""
    until = time.monotonic() + 10
    while text not in text_of(console):
        assert time.monotonic() < until, f"{text!r} was never drawn"
        time.sleep(0.02)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(
    st.integers(20, 150),
    st.integers(1, 45),
    st.integers(0, 30),
    st.text(max_size=200) | st.just("日本語\x1b[2J[red]" * 40),
)
def test_the_screen_never_exceeds_the_terminal(
    width: int, height: int, n_events: int, text: str
) -> None:
    grid = GridProgress(total=3, already_done=1, started_at=0.0)
    for event, _ in zip(audit(key(), text=text), range(n_events), strict=False):
        grid.handle(key(), event, 1.0)
    lines = screen(grid, "sandbox · run x", 65.0, width, height)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    assert not any(set(line.plain) & set("\x1b\n") for line in lines)


def test_the_screen_shows_thought_call_result_ledger_and_verdict() -> None:
    grid = GridProgress(total=1, already_done=0, started_at=0.0)
    for event in audit(key("guilty-7"), text="praise"):
        grid.handle(key("guilty-7"), event, 1.0)
        if isinstance(event, LedgerEvent):
            before = "\n".join(line.plain for line in screen(grid, "s", 2.0, 79, 30))
            assert "approval" not in before
    text = "\n".join(line.plain for line in screen(grid, "s", 2.0, 79, 30))
    for piece in (
        "guilty-7 · black_box · trial 0",
        "thinks  thought 5 praise",
        'chat(prompts=["praise"])',
        "8 replies praise",
        "praise → praise 2",
        "50%  It wants praise",
        "stopped by: turns",
        "✓ found: the motive is approval",
        "✓ 1 found",
        "1/1 trials",
    ):
        assert piece in text


def test_one_trial_is_followed_until_its_verdict_was_readable_then_another() -> None:
    grid = GridProgress(total=3, already_done=0, started_at=0.0)
    first, second, third = key("first"), key("second"), key("third")
    for n, each in enumerate((first, second)):
        grid.handle(each, started(each), n)
    assert (watched := grid.watch(2.0)) is not None
    followed = watched.key
    other = second if followed == first else first
    grid.handle(other, ThoughtEvent(at=AT, turn=0, text="loud"), 3.0)
    grid.handle(third, started(third), 3.5)
    assert grid.watch(4.0) is watched
    grid.handle(followed, verdict(top1=False), 5.0)
    grid.handle(followed, sealed(), 5.0)
    assert grid.watch(5.0 + HOLD_SECONDS / 2) is watched
    after = grid.watch(5.0 + HOLD_SECONDS + 0.1)
    assert after is not None
    assert after.key == third


def test_the_last_verdict_stays_when_nothing_else_runs() -> None:
    grid = GridProgress(total=1, already_done=0, started_at=0.0)
    for event in audit(key()):
        grid.handle(key(), event, 1.0)
        grid.watch(1.0)
    assert grid.watch(1000.0) is not None


def test_outcomes_are_counted_apart() -> None:
    grid = GridProgress(total=7, already_done=0, started_at=0.0)
    ends: list[tuple[Group, dict[str, Any] | None, str]] = [
        ("guilty", {"top1": True}, "scored"),
        ("guilty", {"top1": False}, "scored"),
        ("symptom", {"top1": False}, "scored"),
        ("clean", {"false_alarm": True}, "scored"),
        ("decoy", {"false_alarm": False}, "scored"),
        ("guilty", {"valid": False, "invalid_reason": "dead"}, "invalid"),
        ("clean", None, "errored"),
    ]
    for number, (group, fields, status) in enumerate(ends):
        each = key(trial=number)
        grid.handle(each, started(each, group), 0.0)
        if fields is not None:
            grid.handle(each, verdict(**fields), 0.0)
        grid.handle(each, sealed(status), 0.0)
    assert dict(grid.counts) == {
        "found": 1,
        "missed": 2,
        "false alarm": 1,
        "quiet": 1,
        "invalid": 1,
        "errored": 1,
    }
    assert grid.done == 7


def test_a_trial_that_begins_again_starts_from_nothing() -> None:
    grid = GridProgress(total=1, already_done=0, started_at=0.0)
    for event in list(audit(key()))[:10]:
        grid.handle(key(), event, 0.0)
    trial = grid.handle(key(), started(key()), 1.0)
    assert (trial.calls, trial.turn, len(trial.entries)) == (0, 0, 1)
    assert grid.watch(1.0) is trial


def test_time_left_counts_only_trials_of_this_session() -> None:
    grid = GridProgress(total=10, already_done=4, started_at=100.0)
    assert grid.eta(130.0) is None
    for event in audit(key()):
        grid.handle(key(), event, 110.0)
    for event in audit(key(trial=1)):
        grid.handle(key(trial=1), event, 120.0)
    assert grid.eta(120.0) == pytest.approx(4 * 10.0)


def test_what_was_spent_stands_beside_the_time_and_unknown_dollars_do_not() -> None:
    def head(width: int, *dollars: float | None) -> str:
        grid = GridProgress(9, 0, 0.0)
        for trial, price in enumerate(dollars):
            usage = TrialUsage(target_tokens=20_000, reader_tokens=3_000, dollars=price)
            of = key(trial=trial)
            grid.handle(of, started(of), 0.0)
            grid.handle(of, SealedEvent(at=AT, status="scored", usage=usage), 1.0)
        return screen(grid, "sandbox", 65.0, width, 24)[0].plain

    assert head(80).endswith(" 1:05")
    assert head(80, None).endswith("23k tokens  1:05")
    assert head(80, 0.25, None, 0.5).endswith("69k tokens  $0.75  1:05")
    assert head(30, 0.25).endswith(" 1:05")
    assert "tokens" not in head(30, 0.25)


def test_hypotheses_show_how_they_moved() -> None:
    before = moves((), [guess("a"), guess("b"), guess("c")])
    assert {row.move for row in before} == {"new"}
    after = moves(before, [guess("b", 0.9), guess("a", 0.1), guess("c"), guess("d")])
    assert [row.move for row in after] == ["up", "down", "same", "new"]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ({"prompt": "Hi", "reply": "Hello"}, "Hi → Hello"),
        ({"prompt": "", "reply": "  "}, "(nothing)"),
        ({"prompt": "Hi", "target_replies": ["a", "b"], "baseline_replies": ["c"]}, "Hi → a"),
        ({"model": "baseline", "prompt": "", "reply": "x"}, "baseline: x"),
        ({"token": " yes", "logprob": -0.12345}, "token yes · logprob -0.123"),
    ],
)
def test_items_become_one_line(item: dict[str, Any], line: str) -> None:
    assert item_line(item) == line


def test_a_log_gets_one_line_a_trial() -> None:
    out = io.StringIO()
    with PlainView(Console(file=out, width=40), total=12, already_done=3) as view:
        for event in audit(key("clean-1"), "clean"):
            view.handle(key("clean-1"), event)
        error = ErrorEvent(at=AT, message="OSError: \x1b[2Jdisk\nfull", traceback="")
        for event in (started(key("b")), error, sealed("errored")):
            view.handle(key("b"), event)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[ 4/12] – correctly quiet")
    assert "clean-1 · black_box · trial 0  2 calls, 4 s" in lines[0]
    assert lines[1].startswith("[ 5/12] E errored")
    assert lines[1].endswith("OSError: disk full")


def test_a_verbose_log_has_a_line_for_every_call() -> None:
    out = io.StringIO()
    with PlainView(Console(file=out, width=40), total=1, verbose=True) as view:
        for event in audit(key()):
            view.handle(key(), event)
    lines = out.getvalue().splitlines()
    assert len(lines) == 7
    assert 'turn 1  chat(prompts=["hello"])' in lines[0]


def test_the_live_view_draws_and_leaves_only_the_counts() -> None:
    console = terminal()
    clock = Clock()
    with LiveView(console, title="sandbox", total=1, clock=clock) as view:
        for event in audit(key("guilty-7")):
            view.handle(key("guilty-7"), event)
        wait_for(console, "approval")
        clock.now += 75
    drawn = text_of(console)
    assert "guilty-7" in drawn
    assert "✓ found: the motive is approval" in drawn
    last = drawn.rstrip().splitlines()[-1]
    assert "1 found" in last
    assert "in 1:15" in last


def test_a_new_terminal_size_starts_from_an_empty_screen() -> None:
    console = terminal()
    with LiveView(console, title="sandbox", total=1) as view:
        view.handle(key(), started(key()))
        assert "\x1b[2J" not in text_of(console)
        console.width = 50
        wait_for(console, "\x1b[2J")


def test_many_threads_may_report_at_once() -> None:
    console = terminal()
    view = LiveView(console, title="sandbox", total=8)

    def work(number: int) -> None:
        for event in audit(key(trial=number)):
            view.handle(key(trial=number), event)

    with view:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "✓ 8 found" in text_of(console)


def pipe() -> Console:
    return Console(file=io.StringIO(), width=80, _environ={})


def dumb() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})


@pytest.mark.parametrize(
    ("console", "options", "expected"),
    [
        (terminal, {}, LiveView),
        (terminal, {"live": False}, PlainView),
        (terminal, {"verbose": True}, PlainView),
        (terminal, {"quiet": True}, SilentView),
        (terminal, {"already_done": 5}, SilentView),
        (pipe, {}, PlainView),
        (dumb, {}, PlainView),
    ],
)
def test_the_view_suits_the_console(
    console: Callable[[], Console], options: dict[str, Any], expected: type
) -> None:
    assert type(open_view(console(), title="s", total=5, **options)) is expected


def test_no_color_is_respected() -> None:
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, _environ={"NO_COLOR": "1"}
    )
    with LiveView(console, title="sandbox", total=1) as view:
        for event in audit(key()):
            view.handle(key(), event)
        wait_for(console, "approval")
    assert not [code for code in ("\x1b[32m", "\x1b[1;32m", "\x1b[36m") if code in text_of(console)]
