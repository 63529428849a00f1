"""The way to every page: each tab leads somewhere, and nobody is shown one whose door is closed to them."""

from __future__ import annotations

import re

import pytest
from django.urls import resolve, reverse

from accounts.roles import PERMISSIONS, Role, permissions_of
from accounts.tenancy import tenant
from bots import navigation
from bots.navigation import BOT, ORGANIZATION, SETTINGS, Page
from tests.factories import World, client_of, make_bot

ID = "3f0d6a3e-58a7-4d53-8a43-2f9f6a2b7c11"
OF_A_BOT = [page for section in BOT for page in section.pages]


@pytest.mark.parametrize("page", [*OF_A_BOT, *ORGANIZATION, *SETTINGS], ids=lambda page: page.view)
def test_a_page_asks_what_its_tab_says(page: Page) -> None:
    args = ["acme", ID] if page in OF_A_BOT else ["acme"]
    asked = resolve(reverse(page.view, args=args)).func.permission  # type: ignore[attr-defined]
    assert asked == page.permission or (not page.permission and asked in PERMISSIONS[Role.VIEWER])


def test_there_are_few_sections_and_no_page_stands_twice() -> None:
    assert len(BOT) <= 8
    assert len({page.view for page in OF_A_BOT}) == len(OF_A_BOT)


def test_the_second_level_stands_below_a_section_with_several_pages() -> None:
    can = permissions_of(Role.OWNER)
    sections, pages, name = navigation.bot_tabs(["acme", ID], can, "posts", "bots:queue")
    assert [link.label for link in sections if link.current] == ["Posts"]
    assert [(link.label, link.current) for link in pages if link.current] == [("Queue", "page")]
    assert name == "Posts"
    sections, pages, _ = navigation.bot_tabs(["acme", ID], can, "overview", "bots:overview")
    assert ([link.current for link in sections if link.current], pages) == (["page"], [])


def test_a_page_without_a_tab_of_its_own_stands_below_what_it_calls_itself() -> None:
    sections, pages, _ = navigation.bot_tabs(
        ["acme", ID], permissions_of(Role.OWNER), "datasets", "training:dataset-detail"
    )
    assert [link.label for link in sections if link.current] == ["Data"]
    assert [link.label for link in pages if link.current] == ["Datasets"]


def test_who_may_less_is_shown_less(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
    page = f"/o/acme/bots/{bot.pk}/queue/"
    seen = {user.email[:3]: set(_tabs(client_of(user).get(page).text)) for user in (world.alice, world.bob)}
    assert seen["ali"] - seen["bob"] == {"Settings"}
    assert {"Overview", "Posts", "Training", "Models", "Data"} <= seen["bob"]


def _tabs(html: str) -> list[str]:
    [strip] = re.findall(r'<nav class="tabs" aria-label="[^"]*">(.*?)</nav>', html, re.DOTALL)
    return re.findall(r">([^<]+)</a>", strip)
