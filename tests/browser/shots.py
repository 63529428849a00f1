"""Pictures of every page: `make screenshots` puts them into docs/screenshots. Given by name, it is no test that runs by
itself.

    SHOTS="runs,models"         only pages whose address holds one of these; "" for all
    SHOTS_TO=folder             instead of docs/screenshots
    SHOTS_AT=390,768,1440       widths in pixels (1440)
    SHOTS_THEMES=light,dark     (light)
    SHOTS_OF=full,new,empty     the organization that has everything, that of a new bot, one with nothing; what a
                                stranger sees, and the operator (full,stranger,operator)

    pytest tests/browser/shots.py
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from bots.models import SiteRule
from kilroy_site.config import BASE_DIR
from tests.browser.conftest import launch
from tests.browser.gallery import Gallery, make_gallery
from tests.browser.serving import cookies, served, signed_in
from tests.routes import PAGES, ids_of
from training.services import sharing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OF_A_PERSON = ("account/second-factor/", "account/sessions/", "account/email/", "organizations/new/")
OF_A_STRANGER = ("sign-in/", "account/signup/", "account/password/reset/", "report/", "api/docs/", "problems/")
OF_THE_OPERATOR = ("", "queue/", "jobs/", "rules/try/", "rules/dry-run/?run=1")
CHANGED_BY_THE_OPERATOR = ("accounts/organization", "accounts/user", "bots/bot", "bots/post", "bots/siterule")
LISTED_FOR_THE_OPERATOR = ("accounts/auditentry", "bots/report", "bots/sanction", "bots/takedown", "training/run")


@dataclass(frozen=True)
class Visit:
    """Somebody who looks at pages: name → address of every one that answers whole, of those that are asked for."""

    client: Client
    paths: dict[str, str]


def visit(gallery: Gallery, whose: str) -> Visit:
    """`whose`: full, new or empty for the owner in that organization; stranger; operator."""
    if whose == "stranger":
        shared = {"share/link/": f"/share/{sharing.signed(gallery.made.share_link)}/"}
        return _visit(Client(), {pattern: "/" + pattern for pattern in OF_A_STRANGER} | shared)
    if whose == "operator":
        return _visit(signed_in(gallery.operator), _of_the_operator(gallery))
    organization = getattr(gallery, whose)
    made = gallery.made_in(organization)
    routes = {route.pattern: route.url(organization.slug, ids_of(made, route)) for route in PAGES}
    return _visit(signed_in(gallery.owner), routes | {pattern: "/" + pattern for pattern in OF_A_PERSON})


def _of_the_operator(gallery: Gallery) -> dict[str, str]:
    found = [f"operator/{path}" for path in OF_THE_OPERATOR]
    found += [f"operator/{model}/" for model in (*LISTED_FOR_THE_OPERATOR, *CHANGED_BY_THE_OPERATOR)]
    rows = (gallery.full, gallery.owner, gallery.made.bot, gallery.made.post, SiteRule.objects.get())
    one = {
        f"operator/{model}/one/": f"/operator/{model}/{row.pk}/change/"
        for model, row in zip(CHANGED_BY_THE_OPERATOR, rows, strict=True)
    }
    return {path.partition("?")[0]: "/" + path for path in found} | one


def _visit(client: Client, paths: dict[str, str]) -> Visit:
    wanted = listed("SHOTS", "")
    found = {}
    for pattern, path in paths.items():
        if wanted and not any(part in pattern for part in wanted):
            continue
        answer = client.get(path)
        whole = answer.status_code == 200 and not answer.streaming and b"<html" in answer.content[:2000]
        if whole:
            found[_name(pattern)] = path
    return Visit(client, found)


def listed(name: str, default: str) -> list[str]:
    return [part for part in os.environ.get(name, default).split(",") if part]


def _name(pattern: str) -> str:
    plain = re.sub(r"<\w+:(\w+?)(_id)?>", r"\1", pattern.removeprefix("o/<slug:slug>/"))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-").replace("bots-bot", "bot") or "home"


def test_pictures() -> None:
    gallery = make_gallery()
    folder = Path(os.environ.get("SHOTS_TO") or BASE_DIR / "docs" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    whose = listed("SHOTS_OF", "full,stranger,operator")
    visits = [("-" + which if which in ("new", "empty") else "", visit(gallery, which)) for which in whose]
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        for theme in listed("SHOTS_THEMES", "light"):
            for width in map(int, listed("SHOTS_AT", "1440")):
                mark = ("" if width == 1440 else f"-{width}") + ("" if theme == "light" else "-dark")
                for state, found in visits:
                    _shoot(browser, found, address, width, theme, folder, state + mark)
    assert any(found.paths for _, found in visits), "No page has such an address."
    if "SHOTS_TO" not in os.environ:
        _list_pictures(folder)


def _list_pictures(folder: Path) -> None:
    lines = ["# Every page in a picture", "", "Made by `make screenshots`, of an organization made up for it.", ""]
    for picture in sorted(folder.glob("*.png")):
        title = picture.stem.replace("-", " ").capitalize()
        lines += [f"## {title}", "", f"![{title}]({picture.name})", ""]
    (folder / "README.md").write_text("\n".join(lines))


def _shoot(browser: Browser, found: Visit, address: str, width: int, theme: str, folder: Path, mark: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
    )
    context.set_default_timeout(30_000)
    context.add_cookies(cookies(found.client, address))
    page = context.new_page()
    for name, path in found.paths.items():
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)  # charts are drawn a frame after their data came
        image = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        image.convert("RGB").quantize(128).save(folder / f"{name}{mark}.png", optimize=True)
    context.close()
