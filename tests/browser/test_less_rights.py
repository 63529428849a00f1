"""Somebody who was invited with less rights sees less, and is told so where they may not go."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.db import connection
from playwright.sync_api import Playwright, expect, sync_playwright

from tests.browser.conftest import Visitor, launch
from tests.browser.gallery import make_gallery
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

VERA = "vera@kilroy.example"


def _visitor(playwright: Playwright, address: str, session: list[object]) -> Visitor:
    context = launch(playwright).new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    context.add_cookies(session)
    someone = Visitor(context, context.new_page())
    someone.listen()
    return someone


def test_a_viewer_sees_and_does_not_touch() -> None:
    gallery = make_gallery()
    owner, vera = signed_in(gallery.owner), signed_in(make_user(VERA))
    bot = f"/o/{gallery.full.slug}/bots/{gallery.made.bot.pk}/"
    connection.close()
    with served() as address, sync_playwright() as playwright:
        alice = _visitor(playwright, address, cookies(owner, address))
        alice.page.goto(f"{address}/o/{gallery.full.slug}/settings/members/")
        alice.page.get_by_label("E-mail address").fill(VERA)
        alice.page.get_by_label("Role", exact=True).select_option(label="Viewer")
        alice.page.get_by_role("button", name="Send the invitation").click()
        expect(alice.page.get_by_role("heading", name="Invited")).to_be_visible()
        found = re.search(r"https?://[^/\s]+(/invitations/\S+/)", str(mail.outbox[-1].body))
        assert found

        viewer = _visitor(playwright, address, cookies(vera, address))
        page = viewer.page
        page.goto(address + found[1])
        page.get_by_role("button", name=f"Join {gallery.full.name}").click()
        expect(page.get_by_role("link", name="Harbour Headlines").first).to_be_visible()
        expect(page.get_by_role("link", name="New bot")).to_have_count(0)

        page.goto(address + bot)
        expect(page.get_by_role("heading", level=1)).to_have_text("Harbour Headlines")
        expect(page.get_by_role("button", name="Pause publishing")).to_have_count(0)
        page.goto(f"{address}{bot}posts/")
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        refused = page.goto(f"{address}/o/{gallery.full.slug}/settings/tokens/")
        assert refused is not None
        assert refused.status == 403
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert [trouble for trouble in viewer.troubles if "403" not in trouble] == []
        for someone in (alice, viewer):
            someone.context.browser.close()
