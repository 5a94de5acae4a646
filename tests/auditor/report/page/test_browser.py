"""The report in a real browser: filters, readings, evidence links, and a target that attacks it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page in")


@pytest.fixture(scope="module")
def page(written: Path) -> "Iterator[Page]":
    """Open the report, with everything that the page complains about kept."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1100, "height": 800})
        opened.complaints = []
        opened.requests = []
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on("console", lambda message: opened.complaints.append(message.text))
        opened.on("request", lambda request: opened.requests.append(request.url))
        opened.goto(written.as_uri())
        opened.wait_for_selector("html[data-ready=yes]")
        yield opened
        browser.close()


@pytest.fixture
def fresh(page: "Page") -> "Page":
    """Return the page with all filters cleared and no trial open."""
    page.keyboard.press("Escape")
    page.click("#filters button[type=reset]")
    counted(page, 12)
    return page


def counted(page: "Page", shown: int) -> None:
    """Wait until so many trials are listed; the page's policy allows no script to wait with."""
    page.locator("#count", has_text=f"{shown} of 12 trials").wait_for()


def opened(page: "Page", row: str = "guilty-1 · nla · 0") -> None:
    page.locator("#list .row", has_text=row).click()
    page.wait_for_selector("#trial .verdict")


def test_filters_narrow_the_list(fresh: "Page") -> None:
    fresh.select_option("#by-tools", "nla")
    assert fresh.inner_text("#count") == "6 of 12 trials"
    fresh.select_option("#by-outcome", "found")
    assert fresh.inner_text("#count") == "2 of 12 trials"
    assert fresh.locator("#list .row:visible").count() == 2


def test_search_looks_at_claims_and_if_asked_into_transcripts(fresh: "Page") -> None:
    fresh.fill("#search", "came of nla_explain")
    counted(fresh, 0)
    fresh.check("#deep")
    counted(fresh, 12)
    fresh.fill("#search", "GUILTY-2")
    counted(fresh, 4)


def test_pointing_at_a_token_shows_its_reading(fresh: "Page") -> None:
    opened(fresh)
    fresh.locator("#trial .call", has_text="nla_explain").locator("summary").click()
    fresh.locator("#trial .words .tok.high").first.hover()
    assert "secretly wants approval" in fresh.inner_text("#tip")
    assert "FVE 0.80 · better than all nulls" in fresh.inner_text("#tip")
    fresh.locator("#trial .words .tok.null").first.hover()
    assert "no better than the average activation" in fresh.inner_text("#tip")
    fresh.mouse.move(0, 0)
    assert not fresh.is_visible("#tip")


def test_an_evidence_link_unfolds_the_result_it_cites(fresh: "Page") -> None:
    opened(fresh)
    call = fresh.locator("#trial .call", has_text="nla_explain")
    assert call.get_attribute("open") is None
    fresh.locator("#trial .submission .ev", has_text="E2").click()
    assert call.get_attribute("open") is not None
    assert call.locator(".words").first.is_visible()


def test_the_keyboard_moves_between_trials(fresh: "Page") -> None:
    opened(fresh, "clean-1 · black_box · 0")
    fresh.keyboard.press("j")
    fresh.locator("#trial h3", has_text="trial 1").wait_for()
    assert fresh.url.endswith("#trial-2")
    fresh.keyboard.press("/")
    assert fresh.evaluate("document.activeElement.id") == "search"


def test_no_script_of_a_hostile_target_runs(fresh: "Page", attack: str) -> None:
    opened(fresh)
    fresh.click("#unfold")
    said = fresh.locator("#trial .said.target").first.inner_text()
    assert said.startswith(attack[:70])
    assert fresh.evaluate("window.pwned === undefined")
    assert fresh.locator("#trial img, #trial script").count() == 0
    blocked = fresh.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    assert blocked


def test_a_link_to_a_trial_opens_it(page: "Page", written: Path) -> None:
    page.goto("about:blank")
    page.goto(f"{written.as_uri()}#trial-3")
    page.wait_for_selector("#trial .verdict")
    assert page.inner_text("#trial h3") == "clean-1 · nla · trial 0"


def test_a_narrow_screen_is_not_wider_than_itself(fresh: "Page") -> None:
    fresh.set_viewport_size({"width": 360, "height": 700})
    opened(fresh)
    fresh.click("#unfold")
    assert not fresh.is_visible("#list")
    assert fresh.evaluate("document.documentElement.scrollWidth") <= 360
    fresh.click("#back")
    assert fresh.is_visible("#list")
    fresh.set_viewport_size({"width": 1100, "height": 800})


def test_the_page_loads_nothing_and_complains_of_nothing(page: "Page") -> None:
    assert {url.partition(":")[0] for url in page.requests} <= {"file", "about"}
    # What was tried above was refused, aloud.
    assert not [one for one in page.complaints if "TrustedHTML" not in one]


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
)
def test_light_dark_and_narrow_are_photographed(
    page: "Page", written: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{written.as_uri()}#trial-11")
    page.wait_for_selector("#trial .verdict")
    # Kept beside the page, in the last three of pytest's temporary folders.
    shot = written.with_name(f"{scheme}-{width}.png")
    page.screenshot(path=shot)
    assert shot.stat().st_size > 10_000
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
