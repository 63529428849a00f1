"""Text that would like to be code stays text: on every page, in what its scripts make of it, and over the websocket.

All is looked at twice: as everybody's browser does it, in which the content security policy must have nothing to
block, and by a browser that ignores the policy, where nothing but escaping is left to stop an execution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from playwright.sync_api import BrowserContext, Dialog, Error, Request, Route, expect, sync_playwright

from accounts.models import User
from accounts.tenancy import tenant
from bots import live
from tests.browser.conftest import launch
from tests.browser.hostile import PAYLOADS, fill
from tests.browser.inspection import CANARY, INSPECT
from tests.browser.serving import cookies, served, signed_in
from tests.everything import Everything, make_everything
from tests.factories import make_organization, make_user
from tests.routes import PAGES, ROUTES, ids_of
from training.services import sharing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOME = "/o/acme/"
TOLD = ("/o/", "/operator/accounts/", "/operator/bots/", "/operator/queue/", "/operator/jobs/")
"""Where pages lie that show other people's words. The rest is opened in the strict browser alone."""

OF_THE_PANEL = re.compile(r": (<style> has no nonce|<template> stands there|<[\w-]+> has (x-[\w.:-]+|a style))$")
"""What the panel of the operator is drawn with, and its own policy allows. Whether hostile text became any of it, what
runs tells.
"""


@dataclass
class Watcher:
    """A browser that notes whatever should not happen in it: scripts of strangers, dialogs, requests to elsewhere."""

    context: BrowserContext
    address: str
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.add_init_script(CANARY)
        self.context.set_default_timeout(30_000)
        self.context.on("request", self._on_request)
        self.context.on("dialog", self._on_dialog)
        self.page = self.context.new_page()

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and f"{url.scheme}://{url.netloc}" != self.address:
            self.troubles.append(f"{self.page.url}: asked {request.url[:80]}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"{self.page.url}: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> None:
        """Open a page, wait for what it loads, and look for what should not be there."""
        answer = self.page.goto(self.address + path, wait_until="load")
        assert answer, path
        assert answer.status < 500, path
        try:
            self.inspect(path, answer.text())
        except Error as error:  # playwright's: there is no body any more, or another page has come
            self.troubles.append(f"{path}: left for another page ({error.message.splitlines()[0]})")

    def inspect(self, path: str, source: str = "") -> None:
        seen = self.page.evaluate(INSPECT, source)
        if path.startswith("/operator/"):
            seen["found"] = [what for what in seen["found"] if not OF_THE_PANEL.search(what)]
        self.troubles += [f"{path}: {kind} {what}" for kind, whats in seen.items() for what in whats]


def _no_points(route: Route) -> None:
    """Charts show no text of anybody's."""
    route.fulfill(json={"runs": []})


@dataclass
class Stage:
    made: Everything
    paths: list[str]
    strict: Watcher
    lax: Watcher


def _pages(client: Client, made: Everything, owner: User) -> list[str]:
    """Every address of the site that answers a GET with a page."""
    nobody = {"uidb36": "1", "key": "x", "provider_id": "sso", "uid": "x", "token": "x", "kind": "not-found", "pk": 1}
    nobody |= {"secret": "x", "signed": sharing.signed(made.share_link), "app_label": "bots", "url": "x"}
    nobody |= {"content_type_id": 1, "object_id": 1}
    shown = {"user": owner, "organization": made.bot.organization, "auditentry": made.line, "bot": made.bot}
    shown |= {"post": made.post, "run": made.run, "sanction": made.sanction, "takedown": made.sanction.takedown}
    paths = [route.url("acme", ids_of(made, route)) for route in PAGES]
    for route in ROUTES:
        if route not in PAGES and not route.pattern.startswith("api/v1/"):
            model = (route.pattern.split("/") + [""] * 3)[2]
            paths.append(route.url("", nobody | ({"object_id": shown[model].pk} if model in shown else {})))
    return [path for path in paths if _is_page(client.get(path))]


def _is_page(answer: Any) -> bool:
    return answer.status_code == 200 and answer["Content-Type"].startswith("text/html")


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A site full of hostile text, and two browsers in which its owner is signed in."""
    owner = make_user("alice@kilroy.example", is_staff=True, is_superuser=True)
    organization = make_organization("Acme", owner)
    with tenant(organization.pk):
        made = make_everything()
    fill(made, owner, organization)
    client = signed_in(owner)
    paths = _pages(client, made, owner)
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        contexts = [browser.new_context(bypass_csp=bypass) for bypass in (False, True)]
        for context in contexts:
            context.add_cookies(cookies(client, address))
        yield Stage(made, paths, *(Watcher(context, address) for context in contexts))


def test_nothing_of_it_runs(stage: Stage) -> None:
    assert len(set(PAYLOADS)) >= 200
    _open_every_page(stage)
    assert stage.lax.troubles + stage.strict.troubles == []
    _hear_it_over_the_websocket(stage)
    assert stage.lax.troubles + stage.strict.troubles == []


def _open_every_page(stage: Stage) -> None:
    for watcher in (stage.strict, stage.lax):
        watcher.page.route("**/series/", _no_points)
        watcher.open(HOME)
        watcher.page.unroute("**/series/")  # as long as something is routed, the browser keeps no file
    paths = set(stage.paths) - {HOME}
    assert len(paths) > 80
    for path in sorted(paths):
        stage.strict.open(path)
        if path.startswith(TOLD):
            stage.lax.open(path)


def _hear_it_over_the_websocket(stage: Stage) -> None:
    bot = stage.made.bot
    for watcher in (stage.strict, stage.lax):
        watcher.open(f"/o/acme/bots/{bot.pk}/")
        expect(watcher.page.locator("[data-live-status]")).to_have_text("Live")
    with ThreadPoolExecutor(1) as beside:  # the browsers' loop runs in this thread
        beside.submit(_tell, stage.made).result()
    for watcher in (stage.strict, stage.lax):
        shown = watcher.page.locator("[data-samples] li")
        expect(shown).to_have_count(len(PAYLOADS))
        assert shown.all_text_contents() == PAYLOADS
        watcher.inspect("live events")


def _tell(made: Everything) -> None:
    run = str(made.online_run.pk)
    with tenant(made.bot.organization_id):
        for text in PAYLOADS:
            live.tell(made.bot.pk, {"type": "run", "run": run, "state": text})
            live.tell(
                made.bot.pk, {"type": "metrics", "run": run, "points": [[text, 1, 0.5], ["train_loss", text, text]]}
            )
            live.tell(made.bot.pk, {"type": "post", "post": text, "state": text, "text": text})
        live.tell(made.bot.pk, {"type": "samples", "run": run, "step": 1, "texts": PAYLOADS})
    live.flush()
