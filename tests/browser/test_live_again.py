"""A page stays live: what happens is shown without a reload, also what happened while the connection was away."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, WebSocket, expect, sync_playwright

from tests.browser.acting import elsewhere, make_writer, notify, propose
from tests.browser.conftest import launch, until
from tests.browser.cutting import cable
from tests.browser.serving import cookies, served

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AWAY_SECONDS = 10
PATIENCE = 20.0
LONGEST_WAIT_MS = 30_000
"""More than the page lets pass between two tries (static/js/live.js), at most 19 s: one may just have failed."""
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


def test_what_happens_is_shown_without_a_reload_also_after_ten_seconds_without_a_connection() -> None:
    client, organization, bot = make_writer()
    with served() as site, cable(site) as line, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(20_000)
        context.add_cookies(cookies(client, line.address))
        page = context.new_page()
        heard: list[list[str]] = []
        page.on("websocket", lambda socket: heard.append(_listen(socket)))
        page.add_init_script(SHIFTS)
        page.goto(f"{line.address}/o/acme/bots/{bot}/")
        status, away = page.locator("[data-live-status]"), page.locator("#away")
        expect(status).to_have_text("Live")
        page.evaluate("window.neverReloaded = true")

        known = len(heard[-1])
        elsewhere(lambda: propose(organization, bot, "The first post of the morning"))
        expect(page.get_by_text("1 post waiting for approval")).to_be_visible()
        # The page may have asked for the number before it was told.
        until(lambda: set(_kinds(heard[-1][known:])) & {"events", "catch_up"}, PATIENCE, "the page was told", page)

        line.cut()
        elsewhere(lambda: notify(organization))
        elsewhere(lambda: propose(organization, bot, "Nobody was listening to this one"))
        expect(away).to_have_text("Reconnecting…")
        expect(status).to_have_text("Reconnecting…")
        page.wait_for_timeout(AWAY_SECONDS * 1000)
        line.mend()
        expect(page.get_by_text("2 posts waiting for approval")).to_be_visible(timeout=LONGEST_WAIT_MS)
        expect(status).to_have_text("Live")
        expect(away).to_have_text("")
        assert _events(heard[-1]) == ["post"], heard  # told in order, from where it was: it was not asked to catch up
        assert "catch_up" not in _kinds(heard[-1]), heard

        expect(page.locator(".bell__count")).to_contain_text("2")
        assert page.evaluate("window.neverReloaded") is True
        assert _shift(page) == 0


def _listen(socket: WebSocket) -> list[str]:
    """What one connection is told, as it comes."""
    frames: list[str] = []
    socket.on("framereceived", lambda payload: frames.append(str(payload)))
    return frames


def _kinds(frames: list[str]) -> list[str]:
    return [json.loads(frame)["type"] for frame in frames]


def _events(frames: list[str]) -> list[str]:
    """The types of the events among them."""
    return [event["data"]["type"] for frame in frames for event in json.loads(frame).get("events", ())]


def _shift(page: Page) -> float:
    """Cumulative layout shift since the page was opened."""
    return float(page.evaluate("window.shifted"))
