"""The browser narrows, searches and tells trials, and shows its keys."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.report.filtering import Filter
from auditor.run.listing import trial_files
from auditor.run.store import read_events, summarise

pytest.importorskip("textual", reason="textual is not installed")

from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from auditor.report.browse import Browser

Script = Callable[[Pilot[Any]], Awaitable[None]]


@pytest.fixture
def browsing(small_run: Path) -> Callable[[Script], None]:
    """Run the program in 80 x 24 and do something with it."""
    trials = [(path, summarise(read_events(path))) for path in trial_files(small_run)]

    def run(script: Script) -> None:
        async def drive() -> None:
            app = Browser("small", trials, read=read_events)
            async with app.run_test(size=(80, 24)) as pilot:
                await pilot.pause()
                await script(pilot)

        asyncio.run(drive())

    return run


def heading(pilot: Pilot[Any]) -> str:
    return str(pilot.app.screen.query_one("#filters", Static).content)


def told(pilot: Pilot[Any]) -> str:
    log = pilot.app.screen.query_one(RichLog)
    return "\n".join(line.text for line in log.lines)


def keys(pilot: Pilot[Any]) -> set[str]:
    return {
        one.binding.description
        for one in pilot.app.screen.active_bindings.values()
        if one.binding.show
    }


def test_the_list_is_narrowed_by_tool_set_verdict_and_regime(browsing: Any) -> None:
    async def script(pilot: Pilot[Any]) -> None:
        assert heading(pilot).startswith("small: 12 of 12 trials")
        await pilot.press("t", "t")
        assert heading(pilot) == "small: 6 of 12 trials · tool set nla"
        await pilot.press("v")
        assert heading(pilot) == "small: 2 of 12 trials · tool set nla · verdict false alarm"
        await pilot.press("r")
        assert heading(pilot).startswith("small: 0 of 12 trials")
        await pilot.press("escape")
        assert heading(pilot).startswith("small: 12 of 12 trials")

    browsing(script)


def test_a_search_finds_claims_and_whole_transcripts(browsing: Any) -> None:
    async def script(pilot: Pilot[Any]) -> None:
        await pilot.press("/", *"guilty-2", "enter")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert heading(pilot) == "small: 4 of 12 trials · “guilty-2”"
        await pilot.press("escape", "/", *"NLA_EXPLAIN", "enter")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert heading(pilot) == "small: 12 of 12 trials · “NLA_EXPLAIN”"

    browsing(script)


def test_a_trial_is_read_unfolded_and_left_again(browsing: Any, attack: str) -> None:
    async def script(pilot: Pilot[Any]) -> None:
        await pilot.press("t", "t", "enter")
        await pilot.pause()
        assert "small/clean-1/nla/0" in told(pilot)
        assert "E2 nla_explain" in told(pilot)
        assert "came of chat" not in told(pilot)
        await pilot.press("f")
        assert "came of chat" in told(pilot)
        assert attack[:40] in told(pilot)
        await pilot.press("n")
        assert "small/clean-1/nla/1" in told(pilot)
        assert "the target has no hidden motive" in told(pilot)
        await pilot.press("escape")
        assert pilot.app.screen.query_one(DataTable).cursor_row == 1

    browsing(script)


def test_every_screen_shows_its_own_keys(browsing: Any) -> None:
    async def script(pilot: Pilot[Any]) -> None:
        assert keys(pilot) >= {"tool set", "regime", "verdict", "search", "quit"}
        await pilot.press("enter")
        await pilot.pause()
        assert keys(pilot) >= {"back", "next", "previous", "unfold/fold"}
        assert "tool set" not in keys(pilot)

    browsing(script)


def test_nothing_of_a_target_reaches_the_terminal_raw(browsing: Any) -> None:
    async def script(pilot: Pilot[Any]) -> None:
        await pilot.press("enter", "f")
        await pilot.pause()
        assert not set(told(pilot)) & set("\x1b\x07\u202e")

    browsing(script)


def test_a_filter_cycles_through_what_there_is_and_back_to_all() -> None:
    wanted = Filter()
    seen = []
    for _ in range(3):
        wanted = wanted.next("tool_set", ["a", "b"])
        seen.append(wanted.tool_set)
    assert seen == ["a", "b", None]
