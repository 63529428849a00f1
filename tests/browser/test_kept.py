"""What a person did in a page stays while its parts are drawn anew, and what they wrote stays until it was added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.db import connection
from playwright.sync_api import Locator, Page, Route, expect, sync_playwright

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.browser.acting import elsewhere
from tests.browser.conftest import REPORT_VIOLATIONS, launch
from tests.browser.serving import cookies, served, signed_in
from tests.factories import (
    make_bot,
    make_canary,
    make_connection,
    make_generation,
    make_organization,
    make_post,
    make_run,
    make_sample_set,
    make_user,
    make_version,
)
from training.models import Generation

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
DONE = "event: done\ndata: {}\n\n"


@contextmanager
def _visited() -> Iterator[tuple[Page, str, UUID, Bot]]:
    """A page without an address yet; where the bot's pages begin; the organization; the bot."""
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        bot = make_bot(make_connection("mastodon"), name="Writer")
    client = signed_in(owner)
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(20_000)
        context.add_cookies(cookies(client, address))
        context.add_init_script(REPORT_VIOLATIONS)
        page, troubles = context.new_page(), list[str]()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        yield page, f"{address}/o/acme/bots/{bot.pk}/", organization.pk, bot
        assert troubles == []


@contextmanager
def _drawn_anew(page: Page, part: Locator) -> Iterator[None]:
    """Until that part of the page is another one."""
    part.evaluate("(node) => node.setAttribute('data-old', '')")
    yield
    expect(page.locator("[data-old]")).to_have_count(0)


def _told(page: Page, event: str, part: Locator, target: str = "body") -> None:
    """Something happened, and that part of the page has been drawn anew."""
    with _drawn_anew(page, part):
        page.evaluate("([target, event]) => htmx.trigger(target, event)", [target, event])


def test_ticks_choices_and_the_focus_stay_while_parts_of_a_page_are_drawn_anew() -> None:
    with _visited() as (page, address, organization, bot):

        def made() -> tuple[Post, Post]:
            with tenant(organization):
                old = make_version(bot)
                make_canary(make_version(bot, number=2), old)
                run = make_run(bot, state="running")
                for step in range(1, 6):
                    make_sample_set(run, step, [f"Text of step {step}"])
                return make_post(bot, text="About a heron"), make_post(bot, "approved", text="About a kettle")

        post, waiting = elsewhere(made)

        page.goto(address + "posts/")
        tick = page.locator(f"#tick-{post.pk}")
        tick.check()
        page.locator("h1").click()
        _told(page, "kilroy:moved", tick, f"#post-{post.pk}")
        expect(tick).to_be_checked()
        expect(page.locator("[data-selected]")).to_have_text("1 ticked")
        page.locator("#filter-all").focus()
        _told(page, "kilroy:post", page.locator("#filter-all"))
        expect(page.locator("#filter-all")).to_be_focused()
        page.locator(f"#approve-{post.pk}").press("Enter")
        expect(page.locator(f"#post-{post.pk} .pill")).not_to_have_text("Waiting for review")
        expect(page.locator(f"#post-{post.pk}")).to_be_focused()

        page.goto(address + "models/")
        version = page.locator(".lineage__tick input").first
        version.check()
        _told(page, "kilroy:version", version)
        expect(version).to_be_checked()
        expect(page.locator("#trial")).to_contain_text("On trial: v2")

        def ended() -> None:
            with tenant(organization):
                bot.canaries.update(state="ended")

        elsewhere(ended)
        _told(page, "kilroy:canary", page.locator("#trial"))
        expect(page.locator("#trial")).to_be_empty()

        def paused() -> None:
            with tenant(organization):
                Bot.objects.filter(pk=bot.pk).update(paused_at=clock.now())

        page.goto(address)
        page.locator("#kill-switch").focus()
        elsewhere(paused)
        _told(page, "kilroy:bot", page.locator("#kill-switch"))
        expect(page.locator("#standing")).to_contain_text("Publishing is paused")
        expect(page.locator("#kill-switch")).to_be_focused()

        page.goto(address + "runs/")
        page.locator("a[href*='/runs/']").filter(has_text="Fine").first.click()
        step = page.locator("select[name=step]").first
        step.select_option("4")
        _told(page, "kilroy:samples", step)
        expect(step).to_have_value("4")

        page.goto(address + "queue/")
        queued = page.locator(f"#tick-{waiting.pk}")
        queued.check()

        def goes() -> None:
            with tenant(organization):
                Post.objects.filter(pk=waiting.pk).update(state="cancelled")

        with _drawn_anew(page, queued):
            page.locator(f"#down-{waiting.pk}").click()
        expect(page.locator(f"#down-{waiting.pk}")).to_be_focused()
        expect(queued).to_be_checked()
        elsewhere(goes)
        page.locator(f"#down-{waiting.pk}").click()
        expect(page.locator("#messages")).to_contain_text("does not wait in the queue")


def test_what_was_written_is_kept_until_it_was_added_and_is_added_once() -> None:
    with _visited() as (page, address, organization, _):
        text, parts = page.locator("#compose-text"), page.locator("textarea[name=thread]")
        page.goto(address + "posts/")
        text.fill("A harbour at night")
        page.get_by_text("Add a part: make it a thread").click()
        for number, words in enumerate(("with boats", "and with gulls")):
            if number:
                page.get_by_role("button", name="Another part").click()
            parts.nth(number).fill(words)

        page.route("**/posts/new/", lambda route: route.fulfill(status=500, body="No."))
        page.get_by_role("button", name="Add post").click()
        page.wait_for_url("**/posts/new/")
        page.unroute("**/posts/new/")
        page.goto(address + "posts/")
        expect(text).to_have_value("A harbour at night")
        expect(parts.nth(0)).to_have_value("with boats")
        expect(parts.nth(1)).to_have_value("and with gulls")

        page.get_by_role("button", name="Add post").evaluate("(button) => { button.click(); button.click(); }")
        expect(page.locator("#messages .message").first).to_contain_text("Added")
        expect(text).to_have_value("")
        page.reload()
        expect(text).to_have_value("")

        def said() -> list[str]:
            with tenant(organization):
                return list(Post.objects.order_by("created_at").values_list("text", flat=True))

        assert elsewhere(said) == ["A harbour at night", "with boats", "and with gulls"]


def test_texts_of_the_playground_are_asked_for_until_they_are_there() -> None:
    with _visited() as (page, address, organization, bot):

        def made() -> Generation:
            with tenant(organization):
                return make_generation(bot, prompt="Why", params={"n": 1, "seed": 1})

        def failed() -> None:
            with tenant(organization):
                Generation.objects.update(state="failed", error="The weights are gone.")

        def answered(route: Route) -> None:
            if "hx-request" not in route.request.headers:
                route.continue_()
                return
            asked.append(route)
            if len(asked) == 1:
                route.abort()
            elif len(asked) == 2:
                route.fulfill(status=503, body="No.")
            else:
                elsewhere(failed)
                route.continue_()

        generation, asked = elsewhere(made), list[Route]()
        page.route("**/events/", lambda route: route.fulfill(content_type="text/event-stream", body=DONE))
        page.route(f"**/playground/{generation.pk}/", answered)
        page.goto(f"{address}playground/{generation.pk}/")
        expect(page.locator("#answer")).to_contain_text("No text: The weights are gone.")
        assert len(asked) == 3
