"""The operator takes a post down through the panel, in a real browser, under the panel's own policy."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from playwright.sync_api import sync_playwright

from accounts.tenancy import tenant
from bots.models import Post, Report, SiteRule, Takedown
from bots.services import site_rules
from tests.browser.axe import violations
from tests.browser.conftest import launch
from tests.browser.inspection import CANARY
from tests.browser.serving import cookies, served, signed_in
from tests.everything import make_everything
from tests.factories import make_organization, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


WRITTEN_OUT = """
() => [...document.querySelectorAll(".material-symbols-outlined")]
  .filter((icon) => icon.checkVisibility() && icon.scrollWidth > 1.5 * parseFloat(getComputedStyle(icon).fontSize))
  .map((icon) => icon.textContent.trim())
"""
"""Icons that the font does not have, so that their names stand there."""


def test_the_operator_takes_a_reported_post_down() -> None:
    operator = make_user("operator@kilroy.example", is_staff=True, is_superuser=True)
    organization = make_organization("Acme")
    rule = site_rules.keep(SiteRule(name="No casinos", kind="blocklist", settings={"blocklist": ["casino"]}))
    with tenant(organization.pk):
        made = make_everything()
        post = made.posts["published"]
        Report.objects.create(post=post, category="threat", text="It threatens me. <script>xss()</script>")
    client = signed_in(operator)
    pages = ["queue/", "jobs/", "rules/try/", "rules/dry-run/?run=1", "", f"bots/siterule/{rule.pk}/change/"]
    pages += ["bots/siterule/", "bots/post/", f"bots/post/{post.pk}/change/", "bots/sanction/"]
    connection.close()
    outside: list[str] = []
    troubles: list[Any] = []
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(30_000)
        context.add_cookies(cookies(client, address))
        context.add_init_script(CANARY)
        page = context.new_page()
        page.on("request", lambda sent: outside.append(sent.url) if _host(sent.url) != _host(address) else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        for path in pages:
            page.goto(f"{address}/operator/{path}")
            page.wait_for_load_state("networkidle")
            assert page.evaluate("[window.violations, window.executed]") == [[], []], path
            assert page.evaluate(WRITTEN_OUT) == [], path
        page.goto(f"{address}/operator/bots/siterule/add/")
        page.select_option("#id_kind", "language")
        page.wait_for_selector("#id_languages:visible")
        assert not page.is_visible("#id_blocklist")
        page.goto(f"{address}/operator/queue/?kind=report")
        assert violations(page) == []
        page.click("text=Take down, or sanction")
        page.fill("details[open] input[name=reason]", "It threatens people.")
        page.click("text=Take the post down")
        page.wait_for_selector("text=The evidence is kept")
        assert page.evaluate("window.violations") == []
    assert (outside, troubles) == ([], [])
    with tenant(organization.pk):
        assert Post.objects.get(pk=post.pk).state == "deleted"
        assert Takedown.objects.get(post_id=post.pk).removed_at is not None


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc if parts.scheme in ("http", "https", "ws") else urlsplit(url).scheme and "local"
