"""Review and the timetable by keyboard alone, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from accounts.models import Organization, User
from accounts.tenancy import tenant
from bots.models import Decision, Post, Schedule
from tests.browser.axe import violations
from tests.browser.conftest import REPORT_VIOLATIONS, launch
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_bot, make_organization, make_post, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def alice() -> User:
    return make_user("alice@kilroy.example")


@pytest.fixture
def acme(alice: User) -> Organization:
    return make_organization("Acme", alice)


@contextmanager
def opened(alice: User, path: str) -> Iterator[Page]:
    """A page of Alice's, in which nothing may go wrong."""
    client, troubles = signed_in(alice), []
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(15_000)
        context.add_cookies(cookies(client, address))
        context.add_init_script(REPORT_VIOLATIONS)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(address + path)
        yield page
        # What a newer keystroke replaced is broken off, which htmx notes.
        broken_off = ("htmx:afterRequest", "htmx:sendAbort")
        assert [trouble for trouble in troubles if not trouble.startswith(broken_off)] == []
    connection.close()


def test_posts_are_reviewed_by_single_keys(alice: User, acme: Organization) -> None:
    with tenant(acme.pk):
        bot = make_bot(name="Writer")
        for number, word in enumerate(("heron", "kettle", "tram", "lantern")):
            make_post(bot, text=f"Number {number} is about a {word}", provenance={"predicted_sd": 9 - number})
    with opened(alice, f"/o/acme/bots/{bot.pk}/review/") as page:
        text, press = page.locator("#review-text"), page.keyboard.press
        expect(text).to_have_text("Number 0 is about a heron")
        assert violations(page) == []
        press("a")
        expect(text).to_have_text("Number 1 is about a kettle")
        expect(page.locator("#review-said")).to_have_text("Approved. 3 left.")
        expect(page.locator("#review-post")).to_be_focused()
        press("u")
        expect(text).to_have_text("Number 0 is about a heron")
        press("a")
        expect(text).to_have_text("Number 1 is about a kettle")

        press("e")
        field = page.locator("#review-edit-text")
        expect(field).to_be_focused()
        page.keyboard.type(" and a dog")  # in which a and d are letters
        press("Control+Enter")
        expect(text).to_have_text("Number 1 is about a kettle and a dog")
        press("a")
        expect(text).to_have_text("Number 2 is about a tram")

        press("3")  # says nothing before somebody declines
        press("d")
        expect(page.locator("[data-sheet=decline] [data-key='1']")).to_be_focused()
        assert violations(page) == []
        press("Escape")
        expect(page.locator("[data-sheet=decline] summary")).to_be_focused()
        press("d")
        press("3")
        expect(text).to_have_text("Number 3 is about a lantern")
        press("u")
        expect(text).to_have_text("Number 2 is about a tram")
        press("d")
        press("2")
        expect(text).to_have_text("Number 3 is about a lantern")

        page.locator("[data-single-keys]").press("Enter")
        expect(page.locator("[data-single-keys-state]")).to_have_text("off")
        page.locator("#review-post").focus()
        press("a")
        page.reload()
        expect(text).to_have_text("Number 3 is about a lantern")
        expect(page.locator("#review-approve kbd")).to_be_hidden()
        page.locator("[data-single-keys]").press("Enter")
        page.locator("#review-post").focus()
        press("ArrowRight")
        expect(page.get_by_text("You skipped the post that waits.")).to_be_visible()
    with tenant(acme.pk):
        states = dict(Post.objects.values_list("text", "state"))
        decided = list(Decision.objects.values_list("choice", "text", "reason"))
    assert sorted(states.values()) == ["approved", "approved", "declined", "pending_review"]
    assert decided == [
        ("approved", "Number 0 is about a heron", ""),
        ("edited", "Number 1 is about a kettle and a dog", ""),
        ("approved", "Number 1 is about a kettle and a dog", ""),
        ("declined", "Number 2 is about a tram", "Not true"),
    ]


def test_a_timetable_is_made_by_keyboard_and_by_dragging(alice: User, acme: Organization) -> None:
    with tenant(acme.pk):
        bot = make_bot(name="Writer")
        Schedule.objects.create(
            bot=bot, kind="timetable", timetable=["mon 09:30"], quiet_from="22:00", quiet_until="06:30"
        )
    with opened(alice, f"/o/acme/bots/{bot.pk}/schedule/") as page:
        times, press = page.locator("#id_timetable"), page.keyboard.press

        assert violations(page) == []
        start = page.get_by_role("gridcell", name="Monday 09:00, at 09:30")
        expect(start).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("gridcell", name="Friday 06:00, quiet")).to_have_attribute("data-quiet", "")
        start.focus()
        for key in ("ArrowDown", "ArrowRight", "Space"):
            press(key)
        expect(times).to_have_value("mon 09:30\ntue 10:00")
        expect(page.locator("#schedule-preview")).to_contain_text("Tuesday at 10:00.")
        for key in ("End", "Shift+ArrowDown", "Shift+ArrowLeft", "Space"):
            press(key)
        weekend = "sat 10:00\nsat 11:00\nsun 10:00\nsun 11:00"
        expect(times).to_have_value(f"mon 09:30\ntue 10:00\n{weekend}")
        expect(page.locator(".timetable__said")).to_have_text("6 times a week.")
        press("Space")
        expect(times).to_have_value("mon 09:30\ntue 10:00")

        page.get_by_role("gridcell", name="Thursday 23:00").scroll_into_view_if_needed()
        first = page.get_by_role("gridcell", name="Wednesday 12:00").bounding_box()
        last = page.get_by_role("gridcell", name="Thursday 13:00").bounding_box()
        assert first is not None
        assert last is not None
        page.mouse.move(first["x"] + 5, first["y"] + 5)
        page.mouse.down()
        page.mouse.move(last["x"] + 5, last["y"] + 5, steps=4)
        page.mouse.up()
        expect(times).to_have_value("mon 09:30\ntue 10:00\nwed 12:00\nwed 13:00\nthu 12:00\nthu 13:00")
        times.fill("fri 23:00")
        expect(page.get_by_role("gridcell", name="Friday 23:00, quiet: not sent")).to_have_attribute("data-lost", "")
        times.fill("fri 18:45")
        assert violations(page) == []
        page.get_by_role("button", name="Save schedule").press("Enter")
        expect(page.get_by_text("Saved.")).to_be_visible()
    with tenant(acme.pk):
        assert Schedule.objects.get().timetable == ["fri 18:45"]
