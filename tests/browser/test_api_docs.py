"""The browsable documentation of the API: it looks right, asks nobody else for anything, and its buttons work."""

from __future__ import annotations

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from accounts.models import Membership
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.browser.conftest import Visitor, launch
from tests.browser.serving import served
from tests.factories import make_bot, make_organization, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/api/v1/organizations/{slug}/bots/"


def test_an_operation_is_tried_out_with_a_token() -> None:
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        make_bot(name="Headline writer")
        _, token = create_token(Membership.objects.get(user=owner), "For the documentation")
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        visitor = Visitor(context := browser.new_context(viewport={"width": 1440, "height": 900}), context.new_page())
        visitor.listen()
        asked: set[str] = set()
        context.on("request", lambda request: asked.add("/".join(request.url.split("/")[:3])))
        page = visitor.page
        page.goto(f"{address}/api/docs/")
        _authorize(page, token)
        _try_out(page, "Headline writer")
        _fits_a_telephone(page)
        assert (asked - {"data:"}, visitor.troubles) == ({address}, [])


def _authorize(page: Page, token: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    scheme = dialog.locator(".auth-container", has_text="Bearer")
    scheme.locator("input").fill(token)
    scheme.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").first.click()


def _try_out(page: Page, expected: str) -> None:
    page.locator("#operations-tag-bots").click()
    operation = page.locator(f".opblock-get:has([data-path='{LIST}'])")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("tr[data-param-name=slug] input").fill("acme")
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer.locator(".response-col_description").last).to_contain_text(expected)


def _fits_a_telephone(page: Page) -> None:
    """With an operation and its answer open, in both themes; what was typed can be read."""
    page.set_viewport_size({"width": 390, "height": 844})
    seen = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        field = page.locator("tr[data-param-name=slug] input")
        assert field.evaluate("node => getComputedStyle(node).color") == "rgb(0, 0, 0)"
        seen.append(page.locator(".swagger-ui").first.evaluate("node => getComputedStyle(node).filter"))
    assert seen == ["none", "invert(0.92) hue-rotate(180deg)"]
