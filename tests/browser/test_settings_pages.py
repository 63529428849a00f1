"""Settings by keyboard, by ear and on a telephone: the pages of an organization, and of a person's own account."""

from __future__ import annotations

import pytest
from django.db import connection
from playwright.sync_api import Page, sync_playwright

from accounts.tenancy import tenant
from tests.browser.conftest import launch
from tests.browser.serving import cookies, served, signed_in
from tests.everything import make_everything
from tests.factories import make_organization, make_user
from tests.routes import PAGES, ROUTES, ids_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OWN = ("account/second-factor/", "account/sessions/", "account/email/", "account/password/change/")
UNNAMED = """
() => [...document.querySelectorAll("input, select, textarea, button, a[href], summary, img, [role=img]")]
  .filter((node) => node.type !== "hidden" && node.checkVisibility())
  .filter((node) => {
    const labels = [...(node.labels ?? [])].map((label) => label.innerText).join("");
    const ids = (node.getAttribute("aria-labelledby") ?? "").split(" ");
    const by = ids.map((id) => document.getElementById(id)?.innerText);
    const own = /^(input|select|textarea)$/i.test(node.tagName) ? "" : node.innerText;
    if (node.tagName === "IMG" && node.hasAttribute("alt")) return false;
    return ![labels, ...by, own, node.getAttribute("aria-label") ?? ""].some((words) => words?.trim());
  })
  .map((node) => node.outerHTML.slice(0, 120))
"""
"""What somebody who hears the page would hear nothing about."""
FOCUSABLE = """
() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((node) => node.tabIndex >= 0 && !node.disabled && node.type !== "hidden" && node.checkVisibility())
  .filter((node) => node.type !== "radio" || node.checked || !document.querySelector(`[name="${node.name}"]:checked`))
  .map((node) => { node.dataset.reach = ""; return node; }).length
"""
REACHED = """
() => {
  const node = document.activeElement;
  if (!node || node === document.body || !("reach" in node.dataset)) return null;
  const style = getComputedStyle(node);
  const seen = style.outlineStyle !== "none" || style.boxShadow !== "none";
  delete node.dataset.reach;
  return seen;
}
"""
TARGETS = """
() => [...document.querySelectorAll("button, .button, summary, select, input:not([type=hidden])")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !node.classList.contains("visually-hidden"))
  .filter((node) => node.offsetWidth && Math.min(node.offsetWidth, node.offsetHeight) < 13)
  .map((node) => node.outerHTML.slice(0, 120))
"""


def test_every_settings_page_has_names_takes_the_keyboard_and_fits() -> None:
    owner = make_user("alice@kilroy.example")
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        made = make_everything()
    client, paths = signed_in(owner), []
    for route in [route for route in PAGES if "/settings/" in route.pattern] + [r for r in ROUTES if r.pattern in OWN]:
        path = route.url("acme", ids_of(made, route))
        answer = client.get(path)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            paths.append(path)
    connection.close()
    assert len(paths) > 12
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        context.set_default_timeout(30_000)
        context.add_cookies(cookies(client, address))
        page = context.new_page()
        found = {}
        for path in paths:
            page.goto(address + path)
            found[path] = _objections(page)
    assert {path: what for path, what in found.items() if what} == {}


def _objections(page: Page) -> list[str]:
    found = [f"has no name: {node}" for node in page.evaluate(UNNAMED)]
    found += [f"is too small to hit: {node}" for node in page.evaluate(TARGETS)]
    if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
        found.append("is wider than a telephone")
    if page.locator("h1").count() != 1:
        found.append("has not one first heading")
    for _ in range(page.evaluate(FOCUSABLE) + 3):
        page.keyboard.press("Tab")
        if page.evaluate(REACHED) is False:
            found.append(f"shows no focus: {page.evaluate('document.activeElement.outerHTML').strip()[:120]}")
    return found + [
        f"is out of the keyboard's reach: {node}"
        for node in page.eval_on_selector_all(
            "[data-reach]", "nodes => nodes.map(node => node.outerHTML.slice(0, 120))"
        )
    ]
