"""Lists in any order that they offer, walked by cursor: every row once, whatever is equal, missing or new."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.pagination import NewestFirst
from accounts.tenancy import tenant
from bots.api import BotViewSet
from bots.models import Post
from bots.post_api import PostViewSet
from tests.api.client import BASE
from tests.factories import World, client_of, make_bot, make_post
from tests.routes import API

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MOMENTS = [NOON, None, NOON + timedelta(hours=1), NOON, None, NOON, NOON - timedelta(hours=1)]
"""When posts were published, in the order in which the posts are made: some are equal, some missing."""


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def posts(world: World) -> list[Post]:
    with tenant(world.acme.pk):
        bot = make_bot()
        made = [make_post(bot) for _ in MOMENTS]
        for post, moment in zip(made, MOMENTS, strict=True):
            Post.objects.filter(pk=post.pk).update(published_at=moment)
        return list(Post.objects.all())


def walk(client: Client, url: str | None, along: str = "next") -> list[list[str]]:
    pages = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        pages.append([row["id"] for row in answer.json()["results"]])
        url = answer.json()[along]
    return pages


def expected(posts: list[Post], ordering: str) -> list[str]:
    """Null is the greatest; rows that are equal stand by their ids, in the direction of the ordering."""
    last = datetime.max.replace(tzinfo=UTC)
    name = ordering.removeprefix("-")
    rows = sorted(posts, key=lambda post: (getattr(post, name) or last, post.pk), reverse=ordering.startswith("-"))
    return [str(post.pk) for post in rows]


@pytest.mark.parametrize("ordering", ["published_at", "-published_at", "created_at", "-created_at"])
def test_every_row_is_met_once_on_the_way_there_and_back(posts: list[Post], alice: Client, ordering: str) -> None:
    for size in (1, 2, 3, 7):
        url = f"{BASE}posts/?page_size={size}&ordering={ordering}"
        there = walk(alice, url)
        assert list(itertools.chain(*there)) == expected(posts, ordering), size
        assert {len(page) for page in there[:-1]} <= {size}
        last = alice.get(url)
        while following := last.json()["next"]:
            last = alice.get(following)
        assert walk(alice, last.wsgi_request.build_absolute_uri(), "previous") == there[::-1], size


@pytest.mark.parametrize("ordering", ["published_at", "-published_at"])
def test_rows_that_arrive_or_go_meanwhile_move_no_other(
    world: World, posts: list[Post], alice: Client, ordering: str
) -> None:
    order = expected(posts, ordering)
    first = alice.get(f"{BASE}posts/?page_size=3&ordering={ordering}").json()
    with tenant(world.acme.pk):
        bot = posts[0].bot
        for _ in range(3):
            Post.objects.filter(pk=make_post(bot).pk).update(published_at=NOON - timedelta(days=9))
        Post.objects.get(pk=order[2]).delete()  # the row at which the page ended
    rest = list(itertools.chain(*walk(alice, first["next"])))
    assert [row for row in rest if row in order] == order[3:]


def test_each_list_says_what_it_can_be_ordered_by(posts: list[Post], alice: Client) -> None:
    answer = alice.get(f"{BASE}posts/?ordering=text")
    assert answer.status_code == 400
    assert all(name in answer.json()["errors"]["ordering"][0] for name in PostViewSet.ordering_fields)
    for ordering in ("", "-", "--created_at", "created_at,text", "bot__name", "pk"):
        assert alice.get(f"{BASE}posts/?ordering={ordering}").status_code == 400, ordering


def test_every_field_that_a_list_offers_orders_it(made: Any, alice: Client) -> None:
    offered = {route.pattern: route.view.cls.ordering_fields for route in API if route.actions.get("get") == "list"}
    for pattern, names in offered.items():
        for name in names:
            url = "/" + pattern.replace("<slug:slug>", "acme")
            for ordering in (name, f"-{name}"):
                page = alice.get(f"{url}?page_size=1&ordering={ordering}")
                assert page.status_code == 200, (pattern, ordering, page.content)
                if page.json()["next"]:
                    assert alice.get(page.json()["next"]).status_code == 200, (pattern, ordering)
    assert sum(map(len, offered.values())) > 10


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


ID = "00000000-0000-4000-8000-000000000000"
STRANGE = [
    "nonsense",
    "",
    "é",
    cursor(),
    cursor("created_at,pk", False, [NOON.isoformat(), ID]),
    cursor("-created_at,-pk", False, [NOON.isoformat()]),
    cursor("-created_at,-pk", 1, [NOON.isoformat(), ID]),
    cursor("-created_at,-pk", False, ["yesterday", ID]),
    cursor("-created_at,-pk", False, [NOON.isoformat(), "x"]),
    cursor("-created_at,-pk", False, [NOON.isoformat(), "\0"]),
    cursor("-created_at,-pk", False, [[], {}]),
    cursor("-created_at,-pk", False, [True, 1e999]),
    cursor("-created_at,-pk", False, {"a": 1}),
    cursor("-created_at,-pk", False, ["\ud800", ID]),
    base64.urlsafe_b64encode(b"[" * 60_000).decode(),
]


def test_a_cursor_that_is_none_is_refused(world: World, alice: Client) -> None:
    for given in STRANGE:
        answer = alice.get(f"{BASE}bots/", {"cursor": given})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cursor"]), given[:99]


def test_a_cursor_with_strange_values_of_the_right_kind_is_a_place_like_others(world: World, alice: Client) -> None:
    """Texts in lists by name may hold anything, and numbers may be of any size."""
    with tenant(world.acme.pk):
        make_bot(name="B")
    for name in ("A'; DROP TABLE bots_bot; --", "x" * 10_000, "\u202e"):
        answer = alice.get(f"{BASE}bots/", {"ordering": "name", "cursor": cursor("name,pk", False, [name, ID])})
        assert answer.status_code == 200
    for number in (-(10**30), 10**30):
        answer = alice.get(f"{BASE}scores/", {"cursor": cursor("-observed_at,-pk", False, [NOON.isoformat(), number])})
        assert answer.status_code == 200, number


def test_a_page_has_a_size(world: World, alice: Client) -> None:
    for size in ("0", "-1", "x", "1.5", "", "１", "²"):  # the last two are digits, elsewhere
        answer = alice.get(f"{BASE}bots/", {"page_size": size})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["page_size"]), size


def test_parameters_that_do_not_exist_are_named_with_those_that_do(made: Any, alice: Client) -> None:
    answer = alice.get(f"{BASE}posts/?colour=red&state=published")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["colour"])
    known = ("arm", "bot", "cursor", "ordering", "page_size", "state")
    assert all(name in answer.json()["errors"]["colour"][0] for name in known)
    for method, path in (("get", f"bots/{made.bot.pk}/"), ("delete", f"schedules/{made.schedule.pk}/")):
        answer = getattr(alice, method)(f"{BASE}{path}?page_size=1")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["page_size"])
    assert alice.get(f"{BASE}schedules/{made.schedule.pk}/").status_code == 200


def test_no_list_ignores_a_parameter(made: Any, alice: Client) -> None:
    found = {}
    for route in API:
        if "get" in route.actions and "<pk>" not in route.pattern and "<" not in route.pattern[33:]:
            url = "/" + route.pattern.replace("<slug:slug>", "acme")
            found[route.pattern] = alice.get(f"{url}?no_such_thing=1").status_code
    assert {where: status for where, status in found.items() if status != 400} == {}
    assert len(found) > 15


def test_the_place_in_the_order_is_something_that_an_index_finds(posts: list[Post], alice: Client) -> None:
    """The condition bounds the first field by itself, so that pages far along cost what the first one costs."""
    first = alice.get(f"{BASE}posts/?page_size=2").json()
    with CaptureQueriesContext(connection) as queries:
        alice.get(first["next"])
    asked = [query["sql"] for query in queries if 'ORDER BY "bots_post"."created_at" DESC' in query["sql"]]
    assert len(asked) == 1
    assert '"bots_post"."created_at" <= ' in asked[0]
    assert "OFFSET" not in asked[0]


def test_the_order_of_a_list_without_a_wish_is_its_own() -> None:
    assert NewestFirst.ordering == ("-created_at", "-pk")
    assert set(BotViewSet.ordering_fields) >= {"created_at", "name"}
