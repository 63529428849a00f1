"""The calendar by mouse and by keyboard: a post is dragged, moved with the arrow keys, and put back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.browser.axe import violations
from tests.browser.conftest import launch
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_bot, make_organization, make_post, make_schedule, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
IS_SWAPPED = """() => {
  const detail = { shouldSwap: true };
  const grid = document.querySelector("#calendar-grid");
  grid.dispatchEvent(new CustomEvent("htmx:beforeSwap", { bubbles: true, detail }));
  return detail.shouldSwap;
}"""


def _stands_at(page: Page, post: Post, at: datetime) -> None:
    expect(page.locator(f"#entry-{post.pk}")).to_have_attribute("data-seen", at.isoformat())


def _made() -> tuple[Bot, Post, datetime]:
    """A bot, and a post that is planned for nine, a day of the week after next."""
    day = clock.now().astimezone(UTC).date() + timedelta(days=14)
    monday = day - timedelta(days=day.weekday())
    at = datetime.combine(monday + timedelta(days=1), time(9), UTC)
    bot = make_bot(name="Writer")
    make_schedule(bot, cron="0 17 * * *", quiet_from=time(22), quiet_until=time(6))
    make_post(bot, "approved", "Without a time")
    return bot, make_post(bot, "scheduled", "Bread at nine", slot_utc=at), at


def _leave_and_catch_up(page: Page, held: str) -> None:
    """What happens while a post is held is drawn once it is let go of, without a move."""
    page.locator(held).hover()
    page.mouse.down()
    page.mouse.move(5, 5)
    page.evaluate("htmx.trigger('#calendar-grid', 'kilroy:post')")
    with page.expect_response(lambda answer: answer.request.headers.get("hx-target") == "calendar-grid"):
        page.keyboard.press("Escape")
    page.mouse.up()


def _drag(page: Page, source: str, target: str) -> None:
    page.locator(target).scroll_into_view_if_needed()
    page.locator(source).hover()
    page.mouse.down()
    page.locator(target).hover(position={"x": 8, "y": 20})
    assert not page.evaluate(IS_SWAPPED)  # an answer that was asked for before must not take away what is held
    page.locator(target).hover(position={"x": 12, "y": 22})
    page.mouse.up()
    assert page.evaluate(IS_SWAPPED)


def test_a_post_is_dragged_moved_by_keys_and_put_back() -> None:
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        bot, post, at = _made()
    client = signed_in(owner)
    connection.close()
    entry, grip = f"#entry-{post.pk}", f"#grip-{post.pk}"
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC")
        context.set_default_timeout(20_000)
        context.add_cookies(cookies(client, address))
        page = context.new_page()
        page.goto(f"{address}/o/acme/bots/{bot.pk}/calendar/?view=week&on={at.date()}")
        _drag(page, f"{entry} time", f"[data-drop='{at.date() + timedelta(days=1)}T11']")
        expect(page.locator("[data-moved]")).to_contain_text("11:00")
        _stands_at(page, post, at + timedelta(days=1, hours=2))
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#messages")).to_contain_text("Undone")
        expect(page.locator(grip)).to_be_focused()
        _stands_at(page, post, at)
        _leave_and_catch_up(page, f"{entry} time")

        page.goto(f"{address}/o/acme/bots/{bot.pk}/calendar/?view=month&on={at.date()}")
        page.locator(grip).focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        expect(page.locator("[data-moved]")).to_be_visible()
        _stands_at(page, post, at + timedelta(days=2))
        expect(page.locator(grip)).to_be_focused()

        page.route("**/calendar/move/", lambda route: route.fulfill(status=500, body="No."))
        page.keyboard.press("Enter")
        page.locator("#move-at").press("Enter")
        expect(page.locator("#toasts")).to_contain_text("answered with an error (500)")
        expect(page.locator("#move-dialog")).to_be_hidden()
        page.unroute("**/calendar/move/")
        page.locator(grip).focus()

        page.keyboard.press("Enter")  # the dialog
        expect(page.locator("#move-at")).to_be_focused()
        assert violations(page) == []
        page.locator("#move-at").fill(f"{at.date()}T23:30:00")
        page.keyboard.press("Enter")
        expect(page.locator("#messages")).to_contain_text("quiet hours")
        _stands_at(page, post, at + timedelta(days=2))

        page.goto(f"{address}/o/acme/bots/{bot.pk}/calendar/?zone=Pacific/Kiritimati")
        page.locator(".cal-tray .cal-grip").press("Enter")
        hour = datetime.now(ZoneInfo("Pacific/Kiritimati")).replace(minute=0, second=0, microsecond=0, tzinfo=None)
        offered = datetime.fromisoformat(page.locator("#move-at").input_value())
        assert hour <= offered <= hour + timedelta(hours=1)
