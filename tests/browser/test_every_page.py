"""Every page as people meet it: by ear, by keyboard, on a telephone, in the dark, with nothing from elsewhere."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from django.db import connection
from playwright.sync_api import BrowserContext, Page, Request, Response, sync_playwright

from tests.browser import axe
from tests.browser.conftest import REPORT_VIOLATIONS, launch, until
from tests.browser.gallery import make_gallery
from tests.browser.serving import cookies, served
from tests.browser.shots import Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE = 30.0
FIRST_VIEW = 250_000
"""Bytes, compressed, that a page and all it needs may take."""
NOT_OURS = frozenset({"/api/docs/"})
"""Pages that a library draws whole, in its own colours and with its own controls (Swagger UI)."""
MOST_SHIFT = 0.02
"""Cumulative layout shift: what arrives late has its place."""
SETTLED = 0.25
"""Seconds after the last answer in which fragments and charts find their places."""
WATCH_SHIFT = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
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
() => {
  window.unseen = [];
  document.addEventListener("focusin", ({ target }) => {
    if (!("reach" in target.dataset)) return;
    const style = getComputedStyle(target);
    if (style.outlineStyle === "none" && style.boxShadow === "none") unseen.push(target.outerHTML.slice(0, 120));
    delete target.dataset.reach;
  });
  return [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter((node) => node.tabIndex >= 0 && !node.disabled && node.type !== "hidden" && node.checkVisibility())
    .filter((node) => {
      return node.type !== "radio" || node.checked || !document.querySelector(`[name="${node.name}"]:checked`);
    })
    .map((node) => { node.dataset.reach = ""; return node; }).length;
}
"""
"""Marks what the tabulator should reach, and counts it. What it reaches loses the mark, and is noted where one does not
see that it is there.
"""
PLACES_IN_A_FIELD = 7
"""At which the tabulator stops within a field for a date or a time, at most."""
TARGETS = """
() => [...document.querySelectorAll("button, .button, summary, select, input:not([type=hidden])")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !node.classList.contains("visually-hidden"))
  .filter((node) => node.offsetWidth && Math.min(node.offsetWidth, node.offsetHeight) < 13)
  .map((node) => node.outerHTML.slice(0, 120))
"""


@dataclass
class Wire:
    """What the pages of one context fetched, and what went wrong in them."""

    host: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    under_way: set[Request] = field(default_factory=set)
    last: float = 0.0
    """When (time.monotonic) something was asked for or had come last."""

    def listen(self, context: BrowserContext) -> None:
        context.on("response", self._on_response)
        context.on("request", self._on_request)
        context.on("requestfinished", self._on_end)
        context.on("requestfailed", self._on_end)
        context.on("weberror", lambda error: self.troubles.append(f"uncaught: {error.error}"))
        context.on(
            "console",
            lambda message: self.troubles.append(message.text) if message.type in ("error", "warning") else None,
        )

    def settle(self, page: Page) -> None:
        """Wait until everything has come and nothing more was asked for since SETTLED."""

        def quiet() -> bool:
            return not self.under_way and time.monotonic() - self.last >= SETTLED

        until(quiet, PATIENCE, f"{page.url} has loaded all it asks for", page)

    def _on_request(self, request: Request) -> None:
        self.under_way.add(request)
        self.last = time.monotonic()

    def _on_end(self, request: Request) -> None:
        self.under_way.discard(request)
        self.last = time.monotonic()

    def _on_response(self, response: Response) -> None:
        address = response.url
        if address.startswith(("data:", "blob:")):
            return
        if urlsplit(address).netloc != self.host:
            self.troubles.append(f"asks another host: {address}")
        elif address not in self.sizes and response.status == 200:
            self.sizes[address] = len(gzip.compress(response.body()))
        self.fetched.append(address)

    def said(self) -> list[str]:
        """What is to be objected to since the last time, page weight included."""
        weight = sum(self.sizes.get(address, 0) for address in set(self.fetched))
        found, self.troubles, self.fetched = self.troubles, [], []
        return found + ([f"takes {weight} bytes"] if weight > FIRST_VIEW else [])


@pytest.fixture
def visits(whose: tuple[str, ...]) -> Iterator[tuple[str, list[Visit]]]:
    """The site's address, and whoever looks at its pages."""
    gallery = make_gallery()
    found = [visit(gallery, which) for which in whose]
    connection.close()
    with served() as address:
        yield address, found


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("width", "theme", "whose"),
    [(1280, "light", ("empty", "stranger", "operator")), (390, "dark", ("full", "new"))],
)
def test_no_page_is_objected_to(visits: tuple[str, list[Visit]], width: int, theme: str) -> None:
    address, people = visits
    found: dict[str, list[str]] = {}
    with sync_playwright() as playwright, launch(playwright) as browser:
        for each in people:
            context = browser.new_context(
                viewport={"width": width, "height": 844},
                color_scheme="dark" if theme == "dark" else "light",
                reduced_motion="reduce" if theme == "dark" else "no-preference",
            )
            context.add_cookies(cookies(each.client, address))
            _look_at(
                context, address, [path for path in each.paths.values() if path not in NOT_OURS | found.keys()], found
            )
            context.close()
    if objections := [f"{path}: {what}" for path, said in found.items() for what in said]:
        pytest.fail("\n".join(objections), pytrace=False)


def _look_at(context: BrowserContext, address: str, paths: list[str], found: dict[str, list[str]]) -> None:
    context.set_default_timeout(PATIENCE * 1000)
    context.add_init_script(REPORT_VIOLATIONS)
    context.add_init_script(WATCH_SHIFT)
    wire = Wire(urlsplit(address).netloc)
    wire.listen(context)
    page = context.new_page()
    assert paths
    for path in paths:
        page.goto(address + path)
        wire.settle(page)
        found[path] = wire.said() + _settling(page) + axe.violations(page)
        if page.viewport_size and page.viewport_size["width"] < 400:
            found[path] += _objections(page)


def _settling(page: Page) -> list[str]:
    """Whether the page jumped while it filled, or moves for people who asked for no motion."""
    found = []
    if (shift := page.evaluate("window.shift")) > MOST_SHIFT:
        found.append(f"jumps by {shift:.3f} while it loads")
    if page.evaluate(
        "matchMedia('(prefers-reduced-motion: reduce)').matches"
        " && document.getAnimations().some((each) => each.playState === 'running')"
    ):
        found.append("moves although the person asked for less motion")
    return found


def _objections(page: Page) -> list[str]:
    found = [f"has no name: {node}" for node in page.evaluate(UNNAMED)]
    found += [f"is too small to hit: {node}" for node in page.evaluate(TARGETS)]
    if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
        found.append("is wider than a telephone")
    if page.locator("h1").count() != 1:
        found.append("has not one first heading")
    within = PLACES_IN_A_FIELD * page.locator("input[type=time], input[type=date], input[type=datetime-local]").count()
    for _ in range(page.evaluate(FOCUSABLE) + within + 3):
        page.keyboard.press("Tab")
    found += [f"shows no focus: {node}" for node in page.evaluate("unseen")]
    return found + [
        f"is out of the keyboard's reach: {node}"
        for node in page.eval_on_selector_all(
            "[data-reach]", "nodes => nodes.map(node => node.outerHTML.slice(0, 120))"
        )
    ]
