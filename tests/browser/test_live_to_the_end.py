"""The last thing that happened is always shown, however close it comes upon the one before."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect, sync_playwright

from tests.browser.acting import elsewhere, make_writer, notify, propose
from tests.browser.conftest import launch, until
from tests.browser.serving import cookies, served

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE = 20.0
THROTTLE_MS = 1500
"""More than passes between two refreshments of one kind (static/js/live.js)."""
HEARD = """
window.heard = new Set();
addEventListener("kilroy:message", ({ detail: message }) => {
  if (message.type === "post") window.heard.add(message.post);
});
"""


def test_what_happens_while_a_fragment_is_on_its_way_or_was_just_refreshed_is_shown_too() -> None:
    client, organization, bot = make_writer()
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held or "hx-request" not in route.request.headers:
            route.continue_()
        else:
            held.append(route)

    with served() as site, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(20_000)
        context.add_cookies(cookies(client, site))
        page = context.new_page()
        page.add_init_script(HEARD)
        address = f"{site}/o/acme/bots/{bot}/posts/"
        page.route(address, hold_the_first)
        page.goto(address)
        posts, bell = page.locator("#filters a", has_text="All"), page.locator(".bell__count")
        expect(posts).to_be_visible()

        elsewhere(lambda: propose(organization, bot, "The first post of the morning"))
        until(lambda: held, PATIENCE, "the page asks for its filters anew", page)
        answer = held[0].fetch()
        second = elsewhere(lambda: propose(organization, bot, "The second, while the answer is on its way"))
        until(lambda: page.evaluate(f"window.heard.has('{second}')"), PATIENCE, "the page is told of the second", page)
        page.wait_for_timeout(THROTTLE_MS)
        held[0].fulfill(response=answer)
        expect(posts).to_contain_text("2")

        expect(bell).to_contain_text("1")
        elsewhere(lambda: propose(organization, bot, "The third, of which no bell tells"))
        expect(posts).to_contain_text("3")
        elsewhere(lambda: notify(organization))
        elsewhere(lambda: propose(organization, bot, "The fourth, right after"))
        expect(bell).to_contain_text("2")
