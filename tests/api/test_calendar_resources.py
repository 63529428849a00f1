"""The calendar and CSV of posts over the API."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from accounts import clock
from accounts.models import Membership
from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.api.client import BASE, Api
from tests.factories import World, client_of, make_post, make_schedule

TOMORROW = (clock.now() + timedelta(days=1)).date()
NINE = datetime.combine(TOMORROW, time(9), UTC)


@pytest.fixture
def planned(world: World, bot: Bot) -> Post:
    """For nine tomorrow, of a schedule with a slot then and at noon."""
    with tenant(world.acme.pk):
        make_schedule(bot, cron="0 9,12 * * *", quiet_from=time(22), quiet_until=time(6))
        return make_post(bot, "scheduled", "Bread", slot_utc=NINE)


def _move(post: Post, at: datetime, seen: datetime = NINE) -> dict[str, Any]:
    return {"post": str(post.pk), "at": at.isoformat(), "seen": seen.isoformat()}


def test_days_have_their_posts_and_free_slots(api: Api, bot: Bot, planned: Post) -> None:
    status, body, _ = api("get", f"calendar/{bot.pk}/?begin={TOMORROW}&days=2")
    assert (status, body["zone"], [day["date"] for day in body["days"]]) == (
        200, "UTC", [f"{TOMORROW}", f"{TOMORROW + timedelta(days=1)}"],
    )  # fmt: skip
    (entry,) = body["days"][0]["posts"]
    assert (entry["id"], entry["state"], entry["movable"]) == (str(planned.pk), "scheduled", True)
    assert body["days"][0]["free"] == [f"{TOMORROW}T12:00:00Z"]
    local = api("get", f"calendar/{bot.pk}/?zone=Asia/Tokyo")[1]
    assert (local["zone"], len(local["days"])) == ("Asia/Tokyo", 7)


@pytest.mark.parametrize("query", ["days=43", "days=0", "begin=1066-10-14", "zone=Mars", "begin=x", "until=2030-01-01"])
def test_nonsense_is_refused(api: Api, bot: Bot, query: str) -> None:
    assert api("get", f"calendar/{bot.pk}/?{query}")[0] == 400


def test_a_post_is_moved_and_what_is_illegal_is_told(api: Api, bot: Bot, planned: Post) -> None:
    status, body, lines = api("post", f"calendar/{bot.pk}/move/", _move(planned, NINE + timedelta(hours=2)))
    assert (status, body["before"], lines) == (200, f"{TOMORROW}T09:00:00Z", ["post.schedule"])
    status, body, lines = api("post", f"calendar/{bot.pk}/move/", _move(planned, NINE))
    assert (status, lines) == (400, [])
    assert "moved meanwhile" in str(body)
    seen = NINE + timedelta(hours=2)
    status, body, _ = api("post", f"calendar/{bot.pk}/move/", _move(planned, NINE + timedelta(hours=14), seen))
    assert status == 400
    assert "quiet hours" in str(body)


def test_a_published_post_is_not_moved(world: World, api: Api, bot: Bot) -> None:
    with tenant(world.acme.pk):
        post = make_post(bot, "published")
    body = {"post": str(post.pk), "at": NINE.isoformat(), "seen": None}
    assert api("post", f"calendar/{bot.pk}/move/", body)[0] == 409


def test_a_csv_is_looked_through_and_added(api: Api, world: World, bot: Bot) -> None:
    content = f"text,at\nFresh bread,{TOMORROW}T10:00\nOld cake,never\n"
    given = {"bot": str(bot.pk), "content": content, "zone": "Europe/Warsaw"}
    status, rows, lines = api("post", "posts/preview-csv/", given)
    assert (status, [bool(row["dropped"]) for row in rows], lines) == (200, [False, True], [])
    status, done, _ = api("post", "posts/import-csv/", given | {"approve": True})
    assert (status, len(done["posts"]), done["timed"], done["untimed"]) == (201, 1, 1, [])
    with tenant(world.acme.pk):
        assert Post.objects.get().slot_utc in (NINE, NINE - timedelta(hours=1))  # winter or summer
    assert api("post", "posts/import-csv/", given | {"content": "body\nx"})[0] == 400


def test_approving_a_csv_needs_the_right_to(world: World, bot: Bot) -> None:
    with tenant(world.acme.pk):
        Membership.objects.filter(user=world.bob).update(role="moderator")
    bob = client_of(world.bob)
    body = {"bot": str(bot.pk), "content": "text\nBread", "approve": True}
    assert bob.post(f"{BASE}posts/import-csv/", body, content_type="application/json").status_code == 403


def test_posts_are_found_by_slot_and_by_id(api: Api, bot: Bot, world: World, planned: Post) -> None:
    with tenant(world.acme.pk):
        other = make_post(bot)
    for query, expected in {
        f"slot_after={TOMORROW}T00:00:00Z&slot_before={TOMORROW}T10:00:00Z": [planned],
        f"slot_after={TOMORROW}T10:00:00Z": [],
        f"ids={planned.pk},{other.pk}": [other, planned],
    }.items():
        found = api("get", f"posts/?{query}")[1]["results"]
        assert [row["id"] for row in found] == [str(post.pk) for post in expected], query
