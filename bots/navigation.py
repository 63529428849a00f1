"""Where everything is: the tabs of a bot, the links of an organization and the tabs of its settings.

One table each. A new page is one line here: what its view calls its `tab`, its label, its address's name, and the
permission without which nobody is shown the way. Names of higher rooms stand here as names only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse


@dataclass(frozen=True)
class Page:
    tab: str
    label: str
    view: str
    permission: str = ""


@dataclass(frozen=True)
class Section:
    """A tab of a bot: its page, or several on a second level."""

    label: str
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Link:
    """`current` is what `aria-current` says: "page", "true" for the section that one is in, or "" elsewhere."""

    label: str
    url: str
    current: str = ""


BOT = (
    Section("Overview", (Page("overview", "Overview", "bots:overview"),)),
    Section(
        "Posts",
        (
            Page("posts", "List", "bots:posts"),
            Page("calendar", "Calendar", "bots:calendar"),
            Page("queue", "Queue", "bots:queue"),
            Page("review", "Review", "bots:review", "post_approve"),
            Page("schedule", "Schedule", "bots:schedule"),
        ),
    ),
    Section("Replies", (Page("replies", "Replies", "bots:replies"),)),
    Section(
        "Training",
        (
            Page("runs", "Runs", "training:runs"),
            Page("compare", "Compare", "training:run-compare"),
            Page("retraining", "Again by itself", "training:retraining"),
        ),
    ),
    Section(
        "Models",
        (
            Page("models", "Versions", "training:models"),
            Page("time-machine", "Time machine", "training:time-machine"),
            Page("playground", "Playground", "training:playground"),
        ),
    ),
    Section("Reward", (Page("reward", "Reward", "bots:reward-studio"),)),
    Section(
        "Data", (Page("datasets", "Datasets", "training:datasets"), Page("harvests", "Harvests", "training:harvests"))
    ),
    Section(
        "Settings",
        (
            Page("settings", "Settings", "bots:settings", "bot_edit"),
            Page("share", "Share links", "training:share-links", "bot_edit"),
        ),
    ),
)
ORGANIZATION = (
    Page("home", "Bots", "bots:home"),
    Page("review", "Review", "bots:review-all", "post_approve"),
    Page("connections", "Connections", "faces:connections"),
    Page("settings", "Settings", "accounts:settings"),
)
SETTINGS = (
    Page("general", "General", "accounts:settings"),
    Page("members", "Members", "accounts:members", "member_view"),
    Page("notifications", "Notifications", "accounts:notification-choices"),
    Page("tokens", "Tokens", "accounts:tokens", "token_manage"),
    Page("webhooks", "Webhooks", "accounts:webhooks", "webhook_manage"),
    Page("usage", "Usage", "accounts:usage", "usage_view"),
    Page("audit", "Audit", "accounts:audit", "audit_view"),
    Page("sanctions", "Sanctions", "bots:sanctions", "organization_view"),
    Page("exports", "Export & deletion", "accounts:exports", "organization_export"),
)


def bot_tabs(args: list[Any], can: Mapping[str, bool], tab: str, view: str) -> tuple[list[Link], list[Link], str]:
    """The sections, the pages of the current one where it has several, and that one's name. `args` are the slug and the
    bot's id, `tab` what the page calls itself and `view` its address's name, which says more where both are known.
    """
    here = _here([page for section in BOT for page in section.pages], tab, view)
    sections, second, name = [], [], ""
    for section in BOT:
        pages = list(_shown(section.pages, args, can))
        if not pages:
            continue
        inside = here in [page for page, _ in pages]
        first, url = pages[0]
        sections.append(Link(section.label, url, ("page" if first == here else "true") if inside else ""))
        if inside and len(pages) > 1:
            second = [Link(page.label, url, "page" if page == here else "") for page, url in pages]
            name = section.label
    return sections, second, name


def links(pages: Iterable[Page], args: list[Any], can: Mapping[str, bool], tab: str, view: str) -> list[Link]:
    """Links to the pages that one may see."""
    here = _here(pages, tab, view)
    return [Link(page.label, url, "page" if page == here else "") for page, url in _shown(pages, args, can)]


def _here(pages: Iterable[Page], tab: str, view: str) -> Page | None:
    pages = list(pages)
    by_view = next((page for page in pages if page.view == view), None)
    return by_view or next((page for page in pages if page.tab == tab), None)


def _shown(pages: Iterable[Page], args: list[Any], can: Mapping[str, bool]) -> Iterable[tuple[Page, str]]:
    for page in pages:
        if not page.permission or can[page.permission]:
            yield page, reverse(page.view, args=args)
