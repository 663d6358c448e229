"""The page in a real browser: what it shows, by keyboard alone, in both schemes, when the service goes and returns."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.pretend_service import PretendView
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.app import make_app
from rep_edge.runtime.service.web.server import WebServer

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

SWITCHES = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
SWITCHES += ["disable-component-update", "disable-sync"]

PATIENCE_S = 30.0
"""Seconds after which something that should have happened has not."""

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

CONTRASTS = """
() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")].filter((element) => {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return own && element.checkVisibility();
  }).map((element) => {
    const pair = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), element.outerHTML.slice(0, 90)];
  }).filter(([ratio]) => ratio < 4.5);
}
"""
"""Elements whose text has less contrast than WCAG AA asks for: [ratio, markup]."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{switch}" for switch in SWITCHES])
        yield browser
        browser.close()


@pytest.fixture
def view(tmp_path: Path) -> PretendView:
    return PretendView(folder=tmp_path)


@pytest.fixture
def server(view: PretendView) -> Iterator[WebServer]:
    with WebServer(make_app(view, None, Durations()), "127.0.0.1", 0) as server:
        yield server


def wait_until(page: Page, expression: str) -> None:
    """Until it holds in the page. Asked from here: what asks again from inside the page is refused by its policy."""
    until_s = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < until_s, expression
        page.wait_for_timeout(50)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complains about; a test that expects something takes it out."""
    complaints: list[str] = []
    yield complaints
    assert complaints == []


def opened(
    browser: Browser, server: WebServer, complaints: list[str], scheme: str = "light", size: dict[str, int] = DESK
) -> Page:
    page = browser.new_page(color_scheme=scheme, viewport=size, reduced_motion="no-preference")
    page.set_default_timeout(8000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{server.port}/")
    expect(page.locator(".event").first).to_be_visible()
    return page


def pictured(page: Page, name: str) -> None:
    """Keep a picture where the environment asks for it."""
    folder = os.environ.get("REP_EDGE_SCREENSHOT")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_it_shows_what_is_heard_and_how_each_stream_is(
    browser: Browser, server: WebServer, view: PretendView, complaints: list[str]
) -> None:
    view.fail("yard", "seismic", "suspect", "quiet", "level 14 dB below its usual")
    page = opened(browser, server, complaints)
    expect(page.locator("#service")).to_have_text("Ready")
    expect(page.locator(".bars li")).to_have_count(4)
    expect(page.locator(".stream h3")).to_have_text(["acoustic", "seismic"])
    expect(page.locator(".stream .state")).to_have_text(["Live", "Suspect"])
    expect(page.locator(".stream .told").last).to_have_text("level 14 dB below its usual")
    expect(page.locator(".hops tbody tr")).to_have_count(20)
    expect(page.locator(".sinks")).to_contain_text("waiting 8 s: connection refused")
    drawn = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    wait_until(page, f"({drawn})(document.querySelector('canvas')) > 20")
    pictured(page, "page-light")
    page.close()


def test_a_change_of_state_is_shown_and_told(
    browser: Browser, server: WebServer, view: PretendView, complaints: list[str]
) -> None:
    page = opened(browser, server, complaints)
    view.fail("yard", "seismic", "lost", "silent", "no samples for 2.0 s")
    expect(page.locator(".stream .state").last).to_have_text("Lost")
    expect(page.locator("#announcer")).to_contain_text("yard: seismic is lost, no samples for 2.0 s")
    expect(page.locator(".chips li")).to_have_text(["acoustic", "seismic missing"])
    expect(page.locator("#nodes li").first).to_contain_text("seismic lost")
    view.restore("yard", "seismic")
    expect(page.locator(".stream .state").last).to_have_text("Live")
    view.not_ready = "the new bundle is being read"
    expect(page.locator("#service")).to_have_text("Not ready: the new bundle is being read")
    page.close()


def test_a_node_is_chosen_by_its_link(browser: Browser, server: WebServer, complaints: list[str]) -> None:
    page = opened(browser, server, complaints)
    page.get_by_role("link", name="north fence").click()
    expect(page.locator("#heard-title")).to_have_text("Heard now at north fence")
    expect(page.locator('#nodes [aria-current="page"]')).to_contain_text("north fence")
    expect(page.locator(".stream")).to_have_count(2)
    page.reload()
    expect(page.locator("#heard-title")).to_have_text("Heard now at north fence")
    page.close()


def test_an_event_is_opened_and_marked_by_keyboard_alone(
    browser: Browser, server: WebServer, view: PretendView, complaints: list[str]
) -> None:
    page = opened(browser, server, complaints)

    def press_until(focused: str, key: str = "Tab") -> None:
        for _ in range(40):
            page.keyboard.press(key)
            if page.evaluate(f"document.activeElement.matches({focused!r})"):
                return
        pytest.fail(f"the keyboard does not reach {focused}")

    press_until(".event summary")
    page.keyboard.press("Enter")
    expect(page.locator(".clips img")).to_have_count(2)
    wait_until(page, "[...document.querySelectorAll('.clips img')].every(image => image.naturalWidth > 0)")
    expect(page.locator(".clips audio")).to_have_count(1)
    wait_until(page, "document.querySelector('.clips audio').duration > 10")
    press_until('[data-part="wrong"]')
    page.keyboard.press("Enter")
    expect(page.locator('select[data-part="label"]')).to_be_focused()
    page.keyboard.press("p")
    page.keyboard.press("Tab")
    page.keyboard.type("footsteps <b>on</b> gravel")
    page.keyboard.press("Enter")
    expect(page.locator('[data-part="marked"]')).to_contain_text("Marked wrong, it was person")
    expect(page.locator('[data-part="marked"]')).to_contain_text("footsteps <b>on</b> gravel")
    (mark,) = view.kept.values()
    assert (mark.right, mark.label, mark.note) == (False, "person", "footsteps <b>on</b> gravel")
    press_until('[data-part="right"]', "Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator(".event[open] .badge")).to_have_text("right")
    assert [mark.right for mark in view.kept.values()] == [True]
    page.close()


def test_older_events_are_one_button_away(browser: Browser, server: WebServer, complaints: list[str]) -> None:
    page = opened(browser, server, complaints)
    expect(page.locator(".event").nth(19)).to_be_visible()
    page.get_by_role("button", name="Show older").click()
    wait_until(page, "document.querySelectorAll('.event').length >= 37")
    page.close()


def test_it_says_so_when_the_service_is_gone_and_goes_on_when_it_is_back(
    browser: Browser, server: WebServer, view: PretendView, complaints: list[str]
) -> None:
    page = opened(browser, server, complaints)
    server.close()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    expect(page.locator("#service")).to_have_text("Not connected")
    with WebServer(make_app(view, None, Durations()), "127.0.0.1", server.port):
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#service")).to_have_text("Ready")
        expect(page.locator(".hops tbody tr")).to_have_count(20)
        page.close()
    complaints[:] = [complaint for complaint in complaints if "ERR_CONNECTION_REFUSED" not in complaint]


def test_the_token_is_asked_for_once(browser: Browser, view: PretendView, complaints: list[str]) -> None:
    with WebServer(make_app(view, "open sesame", Durations()), "127.0.0.1", 0) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.get_by_label("Token").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.locator(".event").first).to_be_visible()
        page.reload()
        expect(page.locator(".event").first).to_be_visible()
        page.close()


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)], ids=["light phone", "dark desk"])
def test_everybody_can_read_and_work_it(
    browser: Browser, server: WebServer, view: PretendView, complaints: list[str], scheme: str, size: dict[str, int]
) -> None:
    view.fail("yard", "seismic", "suspect", "quiet", "level 14 dB below its usual")
    view.fail("gate", "seismic", "lost", "silent", "no samples for 12.4 s")
    view.fail("north fence", "acoustic", "recovering", "", "healthy for 1 of 2 windows")
    page = opened(browser, server, complaints, scheme, size)
    page.locator(".event summary").first.click()
    page.get_by_role("button", name="Wrong").click()
    expect(page.locator(".clips img")).to_have_count(2)
    assert page.evaluate(CONTRASTS) == []
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{wide}.filter(e => !e.closest('nav')).map(e => e.outerHTML.slice(0, 90))") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('[onclick], body [style*=color]')].length") == 0
    for role in ("button", "link", "combobox", "textbox", "img"):
        for element in page.get_by_role(role).all():
            assert element.aria_snapshot().count('"') >= 2 or role == "combobox", element.aria_snapshot()
    assert [page.get_by_role(role).count() for role in ("banner", "main", "navigation")] == [1, 1, 1]
    assert page.locator("html").get_attribute("lang") == "en"
    pictured(page, f"page-{scheme}-{size['width']}")
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.bar span')).transitionDuration") == "0s"
    page.close()
