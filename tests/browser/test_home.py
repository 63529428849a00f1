"""The first click of a newcomer, and a link that shows a bot to somebody without an account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Browser, Page, expect, sync_playwright

from accounts.models import Organization
from accounts.tenancy import tenant
from tests.browser.axe import violations
from tests.browser.conftest import launch
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_bot, make_dataset, make_organization, make_post, make_round, make_run, make_user
from training.services import demo

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SHIFTS = """
() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 300);
})
"""


@pytest.fixture(autouse=True)
def _few_posts(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first posts of the demo's file, kept apart, and no worker that hears of them."""
    settings.MEDIA_ROOT = tmp_path
    file = tmp_path / "posts.csv"
    file.write_bytes(b"".join(demo.POSTS.read_bytes().splitlines(keepends=True)[:60]))
    monkeypatch.setattr(demo, "POSTS", file)
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **options: None)


def _visited(prepare: Callable[[Organization], None], look: Callable[[Browser, Page, str], None]) -> None:
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        prepare(organization)
    client = signed_in(owner)
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        context.set_default_timeout(30_000)
        context.add_cookies(cookies(client, address))
        look(browser, context.new_page(), address)


def test_one_click_leads_to_a_bot_that_learns() -> None:
    def look(browser: Browser, page: Page, address: str) -> None:
        page.goto(f"{address}/o/acme/")
        assert violations(page) == []
        page.get_by_role("button", name="Make a sandbox bot").click()
        expect(page.get_by_role("heading", level=1, name=demo.NAME)).to_be_visible()
        expect(page.get_by_text("Is it getting better? Not yet known")).to_be_visible()
        assert violations(page) == []
        page.goto(f"{address}/o/acme/")
        expect(page.get_by_role("heading", name="Meet a bot that learns (done)")).to_be_visible()
        assert page.evaluate(SHIFTS) == 0

    _visited(lambda organization: None, look)


def test_a_link_shows_a_bot_to_whoever_has_it_until_it_is_revoked() -> None:
    def prepare(organization: Organization) -> None:
        bot = make_bot(name="Town crier")
        make_dataset(bot)
        run = make_run(bot, "online", state="running")
        for number in (1, 2, 3):
            make_round(run, number, metrics={"reward_mean": number / 10, "baseline_mean": 0.0})
        make_post(bot, "published", text="Fresh bread at seven")

    def look(browser: Browser, page: Page, address: str) -> None:
        page.goto(f"{address}/o/acme/")
        page.get_by_role("link", name="Town crier", exact=True).click()
        page.get_by_role("link", name="Share this progress").click()
        page.get_by_label("For whom").fill("The board")
        page.get_by_role("button", name="Make it").click()
        assert violations(page) == []
        shown = page.get_by_label("Address of “The board”").input_value().partition("/share/")[2]
        stranger = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
        stranger.goto(f"{address}/share/{shown}")
        expect(stranger.get_by_text("Fresh bread at seven")).to_be_visible()
        expect(stranger.get_by_role("img", name="Mean reward of 3 rounds")).to_be_visible()
        assert violations(stranger) == []
        assert stranger.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert stranger.context.cookies() == []
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Revoke “The board”").click()
        expect(page.get_by_text("Nobody outside sees this bot.")).to_be_visible()
        stranger.reload()
        expect(stranger.get_by_role("heading", name="There is nothing behind this link")).to_be_visible()

    _visited(prepare, look)
