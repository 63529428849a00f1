"""The reward studio while somebody types, and an upload that says how far it is."""

from __future__ import annotations

import pytest
from django.db import connection
from playwright.sync_api import expect, sync_playwright

from accounts.tenancy import tenant
from bots.models import Bot
from tests.browser.axe import violations
from tests.browser.conftest import launch
from tests.browser.gallery import make_learning_bot
from tests.browser.serving import cookies, served, signed_in
from tests.factories import make_organization, make_user
from training.models import Dataset

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROWS = "text,score\n" + "".join(f"A post with the number {number},{number}\n" for number in range(20)) + "RT no,1\n"


def test_a_formula_is_tried_while_it_is_typed_and_a_file_is_sent() -> None:
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        bot = make_learning_bot()
    client = signed_in(owner)
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(30_000)
        context.add_cookies(cookies(client, address))
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))

        page.goto(f"{address}/o/acme/bots/{bot.pk}/reward/")
        page.get_by_label("comments", exact=True).fill("2")
        expect(page.locator(".studio__formula")).to_have_text("log1p(likes + 2 * comments) - log(followers)")
        expect(page.get_by_role("status").filter(has_text="rank correlation")).to_be_attached()
        assert violations(page) == []
        page.get_by_label("By hand").check()
        expect(page.get_by_label("formula")).to_have_value("log1p(likes + 2 * comments) - log(followers)")
        page.get_by_label("formula").fill("likes * comments")
        expect(page.get_by_text("The choices cannot say this formula")).to_be_visible()
        page.get_by_label("formula").fill("shares + 3 * likes")
        expect(page.get_by_text("The choices cannot say this formula")).to_be_hidden()
        page.get_by_label("By choices").check()
        expect(page.get_by_label("likes", exact=True)).to_have_value("3")
        expect(page.get_by_label("Take the logarithm")).not_to_be_checked()
        page.get_by_label("Never below").fill("9")
        page.get_by_label("Never above").fill("1")
        expect(page.get_by_text("The lower limit must be below the upper one.")).to_be_visible()
        page.get_by_label("Never above").fill("")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("It holds from the next reading on")).to_be_visible()

        page.goto(f"{address}/o/acme/bots/{bot.pk}/datasets/upload/")
        for label, words in (("Name", "Mine"), ("Source", "my own account"), ("Licence", "  ")):
            page.get_by_label(label, exact=True).fill(words)
        file = {"name": "posts.csv", "mimeType": "text/csv", "buffer": ROWS.encode()}
        for licence in ("  ", "my own words"):
            page.get_by_label("Licence", exact=True).fill(licence)
            page.locator("#id_file").set_input_files([file])
            page.get_by_role("button", name="Look at the file").click()
            if not licence.strip():
                expect(page.get_by_text("This field is required.")).to_be_visible()
        page.wait_for_url("**/preview/")
        expect(page.get_by_text("rows to import")).to_be_visible()
        assert violations(page) == []
        refused = "status of 400"  # limits the wrong way round, a licence of spaces
        assert [trouble for trouble in troubles if refused not in trouble] == []
        context.close()
    with tenant(organization.pk):
        assert Bot.objects.get(pk=bot.pk).score_formula == "max(3 * likes + shares, 9)"
        assert Dataset.objects.filter(bot=bot, name="Mine").count() == 1
