"""The last thing that happened is always shown, however close it comes upon the one before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from accounts.tenancy import tenant
from bots.services.posts import decline_post
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


@contextmanager
def looking_on() -> Iterator[tuple[Page, str, UUID, UUID]]:
    """A page with its owner signed in, the address of a bot's posts, the organization and the bot."""
    client, organization, bot = make_writer()
    with served() as site, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(20_000)
        context.add_cookies(cookies(client, site))
        page = context.new_page()
        page.add_init_script(HEARD)
        yield page, f"{site}/o/acme/bots/{bot}/posts/", organization, bot


def decline(organization_id: UUID, post_id: UUID) -> None:
    with tenant(organization_id):
        decline_post(post_id)


def test_a_card_that_somebody_is_at_work_in_is_refreshed_once_they_leave_it() -> None:
    with looking_on() as (page, address, organization, bot):
        post = elsewhere(lambda: propose(organization, bot, "The first post of the morning"))
        page.goto(address)
        card = page.locator(f"#post-{post}")
        expect(card.locator(".pill").first).to_have_text("Waiting for review")
        expect(page.locator("[data-live-status]")).to_have_text("Live")
        card.locator("summary", has_text="Edit").click()
        card.locator("textarea").fill("A better text, half wri")

        elsewhere(lambda: decline(organization, post))
        until(lambda: page.evaluate(f"window.heard.has('{post}')"), PATIENCE, "the page is told of it", page)
        expect(page.locator("#filters a", has_text="Declined")).to_contain_text("1")
        expect(card.locator("textarea")).to_have_value("A better text, half wri")
        card.locator("summary", has_text="Edit").click()
        expect(card.locator(".pill").first).to_have_text("Declined")


def test_a_page_that_the_browser_kept_is_brought_up_to_date() -> None:
    with looking_on() as (page, address, organization, bot):
        post = elsewhere(lambda: propose(organization, bot, "The first post of the morning"))
        kept = page.goto(address)
        assert kept is not None
        headers, body = kept.all_headers(), kept.body()
        expect(page.locator(f"#post-{post} .pill").first).to_have_text("Waiting for review")
        page.goto(address.replace("/posts/", "/queue/"))
        elsewhere(lambda: decline(organization, post))

        def out_of_the_cache(route: Route) -> None:
            if route.request.is_navigation_request():
                route.fulfill(headers=headers, body=body)
            else:
                route.continue_()

        page.route(address, out_of_the_cache)
        asked: list[str] = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
        page.go_back()
        expect(page.locator(f"#post-{post} .pill").first).to_have_text("Declined")
        # However old the page is: not by what happened since it was asked for, which the browser did not do now.
        assert json.loads(asked[0])["after"] == ""


def test_what_happens_while_a_fragment_is_on_its_way_or_was_just_refreshed_is_shown_too() -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held or "hx-request" not in route.request.headers:
            route.continue_()
        else:
            held.append(route)

    with looking_on() as (page, address, organization, bot):
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
