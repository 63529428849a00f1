"""Pictures of every page: `make screenshots` puts them into docs/screenshots. Given by name, it is no test that runs by
itself.

    SHOTS="runs,models"         only pages whose address holds one of these; "" for all
    SHOTS_TO=folder             instead of docs/screenshots
    SHOTS_AT=390,768,1440       widths in pixels (1440)
    SHOTS_THEMES=light,dark     (light)
    SHOTS_OF=full,new,empty     the organization that has everything, that of a new bot, and one with nothing (full)

    pytest tests/browser/shots.py
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from accounts.models import Organization
from kilroy_site.config import BASE_DIR
from tests.browser.conftest import launch
from tests.browser.gallery import Gallery, make_gallery
from tests.browser.serving import cookies, served, signed_in
from tests.routes import PAGES, ids_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OUTSIDE = ("account/second-factor/", "account/sessions/", "account/email/", "organizations/new/")


def _list(name: str, default: str) -> list[str]:
    return [part for part in os.environ.get(name, default).split(",") if part]


def pages(gallery: Gallery, client: Client, organization: Organization) -> dict[str, str]:
    """name → address of every page that answers whole, of those that are asked for."""
    found = {}
    wanted = _list("SHOTS", "")
    made = gallery.made_in(organization)
    routes = {route.pattern: route.url(organization.slug, ids_of(made, route)) for route in PAGES}
    for pattern, path in routes.items() | {pattern: "/" + pattern for pattern in OUTSIDE}.items():
        if wanted and not any(part in pattern for part in wanted):
            continue
        answer = client.get(path)
        whole = answer.status_code == 200 and not answer.streaming and b"<html" in answer.content[:2000]
        if whole:
            found[_name(pattern)] = path
    return found


def _name(pattern: str) -> str:
    plain = re.sub(r"<\w+:(\w+?)(_id)?>", r"\1", pattern.removeprefix("o/<slug:slug>/"))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-").replace("bots-bot", "bot") or "home"


def test_pictures() -> None:
    gallery = make_gallery()
    client = signed_in(gallery.owner)
    folder = Path(os.environ.get("SHOTS_TO") or BASE_DIR / "docs" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    looked_at = {
        "" if which == "full" else f"-{which}": pages(gallery, client, getattr(gallery, which))
        for which in _list("SHOTS_OF", "full")
    }
    connection.close()
    with served() as address, sync_playwright() as playwright, launch(playwright) as browser:
        for theme in _list("SHOTS_THEMES", "light"):
            for width in map(int, _list("SHOTS_AT", "1440")):
                mark = ("" if width == 1440 else f"-{width}") + ("" if theme == "light" else "-dark")
                for state, found in looked_at.items():
                    _shoot(browser, client, address, found, width, theme, folder, state + mark)
    assert any(looked_at.values()), "No page has such an address."
    if "SHOTS_TO" not in os.environ:
        _list_pictures(folder)


def _list_pictures(folder: Path) -> None:
    lines = ["# Every page in a picture", "", "Made by `make screenshots`, of an organization made up for it.", ""]
    for picture in sorted(folder.glob("*.png")):
        title = picture.stem.replace("-", " ").capitalize()
        lines += [f"## {title}", "", f"![{title}]({picture.name})", ""]
    (folder / "README.md").write_text("\n".join(lines))


def _shoot(
    browser: Browser,
    client: Client,
    address: str,
    found: dict[str, str],
    width: int,
    theme: str,
    folder: Path,
    mark: str,
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
    )
    context.set_default_timeout(30_000)
    context.add_cookies(cookies(client, address))
    page = context.new_page()
    for name, path in found.items():
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)  # charts are drawn a frame after their data came
        image = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        image.convert("RGB").quantize(128).save(folder / f"{name}{mark}.png", optimize=True)
    context.close()
