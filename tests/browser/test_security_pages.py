"""A person's own account in a real browser: passkeys that are really made and used, and every page on a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import Visitor, open_browser
from tests.factories import PASSWORD, make_organization, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EMAIL = "alice@kilroy.example"
PAGES = (
    *("second-factor/", "second-factor/webauthn/", "second-factor/webauthn/add/", "second-factor/totp/activate/"),
    *("second-factor/recovery-codes/", "second-factor/recovery-codes/generate/", "password/change/", "email/"),
    *("sessions/", "reauthenticate/"),
)


@pytest.fixture
def somebody(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    """Alice's browser, with a device that can keep passkeys and says yes to everything."""
    make_organization("Acme", make_user(EMAIL))
    connection.close()
    with sync_playwright() as playwright:
        someone = open_browser(playwright)
        devtools = someone.context.new_cdp_session(someone.page)
        devtools.send("WebAuthn.enable")
        device = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
        }
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})
        yield someone
        someone.context.browser.close()


def _give_password(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)


def _sign_out(page: Page) -> None:
    page.locator("summary", has_text="Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_passkey_is_added_and_signs_in_alone_and_after_the_password(somebody: Visitor, live_server: Any) -> None:
    page = somebody.page
    page.goto(f"{live_server.url}/sign-in/")
    page.get_by_label("Email").fill(EMAIL)
    _give_password(page)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{live_server.url}/o/acme/")

    page.locator("summary", has_text="Account").click()
    page.get_by_role("link", name="Security").click()
    page.get_by_role("link", name="Add a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Is it you?")
    _give_password(page)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("My telephone")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    expect(page.locator(".codes li")).to_have_count(10)
    page.goto(f"{live_server.url}/account/second-factor/webauthn/")
    expect(page.get_by_role("row", name="My telephone")).to_contain_text("Signs in by itself")

    _sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"{live_server.url}/o/acme/")

    _sign_out(page)
    page.get_by_label("Email").fill(EMAIL)
    _give_password(page)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Second factor")
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(page).to_have_url(f"{live_server.url}/o/acme/")

    page.set_viewport_size({"width": 390, "height": 844})
    wide = []
    for path in PAGES:
        answer = page.goto(f"{live_server.url}/account/{path}")
        assert answer, path
        assert answer.ok, path
        if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            wide.append(path)
    troubles = [trouble for trouble in somebody.troubles if "/ws/" not in trouble]  # live_server has no websockets
    assert (wide, troubles) == ([], [])


def test_at_an_address_of_numbers_passkeys_say_why_not(somebody: Visitor, live_server: Any) -> None:
    page = somebody.page
    page.goto(f"{live_server.url.replace('localhost', '127.0.0.1')}/sign-in/")
    expect(page.get_by_text("Passkeys need https and a host name")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_disabled()
    assert somebody.troubles == []
