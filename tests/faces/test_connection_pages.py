"""Connecting an account, seeing how it is, and connecting it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from faces import governor
from faces.contract import Limit
from faces.models import Connection
from faces.registry import FACES
from faces.services import mark_broken
from tests.faces.loopback import Loopback, Reply, Request, serve
from tests.factories import World, client_of, make_connection
from tests.fake_platform import FakePlatform, StubKind, fake_face

PAGE = "/o/acme/connections/"


def answer(request: Request) -> Reply:
    if request.headers.get("authorization") != "Bearer canary-right":
        return Reply(401, {"error": "The access token is invalid"})
    if request.path == "/api/v2/instance":
        return Reply(data={"configuration": {"statuses": {"max_characters": 99}}})
    return Reply(data={"id": "1", "acct": "kilroy", "bot": True, "followers_count": 3})


@pytest.fixture
def server(settings: Settings) -> Iterator[Loopback]:
    with serve() as loopback:
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", loopback.port)})
        loopback.answer = answer
        yield loopback


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def connect(alice: Client, server: Loopback, token: str) -> Connection:
    values = {"name": "Ours", "instance": server.url, "access_token": token, "visibility": "public"}
    made = alice.post(f"{PAGE}new/mastodon/", values)
    assert made.status_code == 302, made.content
    return Connection.everyone.get(name="Ours")


def test_an_account_is_connected_and_checked(alice: Client, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    shown = alice.get(f"{PAGE}{connection.pk}/").content.decode()
    assert "Connected as @kilroy@127.0.0.1" in shown
    assert "99, counted by graphemes" in shown
    assert "Ours" in alice.get(PAGE).content.decode()


def test_credentials_are_shown_nowhere(alice: Client, world: World, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    server.answer = lambda request: Reply(500, {"error": "down"})
    alice.post(f"{PAGE}{connection.pk}/check/")
    pages = [PAGE, f"{PAGE}{connection.pk}/", "/api/v1/organizations/acme/connections/"]
    pages.append(f"/api/v1/organizations/acme/connections/{connection.pk}/")
    for page in pages:
        answered = alice.get(page)
        assert (answered.status_code, b"canary" in answered.content) == (200, False), page
    with tenant(world.acme.pk):
        assert "canary" not in repr([(entry.before, entry.after) for entry in AuditEntry.objects.all()])


def test_a_wrong_token_is_said_and_can_be_mended(alice: Client, world: World, server: Loopback) -> None:
    connection = connect(alice, server, "wrong")
    shown = alice.get(f"{PAGE}{connection.pk}/").content.decode()
    assert "The access token is invalid" in shown
    assert Connection.everyone.get().state == "broken"
    alice.post(f"{PAGE}{connection.pk}/change/", {"instance": server.url, "access_token": "canary-right"})
    connection = Connection.everyone.get()
    assert (connection.state, connection.problem, connection.account[:8]) == ("connected", "", "@kilroy@")


def test_a_secret_that_is_left_empty_stays(alice: Client, world: World, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    alice.post(f"{PAGE}{connection.pk}/change/", {"instance": server.url, "visibility": "unlisted"})
    with tenant(world.acme.pk):
        changed = Connection.objects.get()
        assert (changed.settings["visibility"], changed.secrets) == ("unlisted", {"access_token": "canary-right"})


def test_a_bad_instance_is_refused_on_the_form(alice: Client, server: Loopback) -> None:
    answered = alice.post(f"{PAGE}new/mastodon/", {"name": "Ours", "instance": "http://mastodon.social"})
    assert answered.status_code == 400
    assert "must be reached by https" in answered.content.decode()
    assert not Connection.everyone.filter(name="Ours").exists()


def test_an_owner_is_told_once(alice: Client, world: World, server: Loopback, mailoutbox: list[object]) -> None:
    connection = connect(alice, server, "canary-right")
    with tenant(world.acme.pk):
        for _ in range(3):
            mark_broken(connection, "The access token is invalid")
    assert AuditEntry.everyone.filter(action="connection.broken").count() == 1


def test_what_the_connection_is_like_stands_on_its_page(alice: Client, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    shown = alice.get(f"{PAGE}{connection.pk}/").content.decode()
    assert "The account must be marked as automated, or it counts as not ready." in shown
    assert "its own posts, other accounts, mentions, comments, communities" in shown


def test_another_account_behind_the_same_connection_is_said(alice: Client, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    Connection.everyone.update(account="@somebody@else.example")
    shown = alice.post(f"{PAGE}{connection.pk}/check/", follow=True).content.decode()
    assert "This connection was @somebody@else.example until now" in shown


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch, world: World) -> Connection:
    """A connection to a platform whose terms ask for a permission to learn."""
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(FakePlatform(), may_learn=False)))
    with tenant(world.acme.pk):
        return make_connection("fake", "Strict")


def learns(connection: Connection) -> tuple[bool, str]:
    found = Connection.everyone.get(pk=connection.pk)
    return found.may_learn, found.learn_permission


def test_learning_needs_a_permission_where_the_terms_ask_for_one(alice: Client, asking: Connection) -> None:
    page = f"{PAGE}{asking.pk}/learning/"
    refused = alice.post(page, {"may_learn": "on", "learn_permission": "  "})
    assert (refused.status_code, learns(asking)) == (400, (False, ""))
    assert "The terms of Fake ask for a permission to learn" in refused.content.decode()
    assert alice.post(page, {"may_learn": "on", "learn_permission": "Letter of 3 May"}).status_code == 302
    assert learns(asking) == (True, "Letter of 3 May")
    assert "Permission on record: Letter of 3 May" in alice.get(f"{PAGE}{asking.pk}/").content.decode()
    alice.post(page, {})
    assert learns(asking) == (False, "Letter of 3 May")
    lines = AuditEntry.everyone.filter(action="connection.learning").order_by("pk")
    assert [(line.actor, line.before["may_learn"], line.after) for line in lines] == [
        ("alice@kilroy.example", False, {"may_learn": True, "learn_permission": "Letter of 3 May"}),
        ("alice@kilroy.example", True, {"may_learn": False, "learn_permission": "Letter of 3 May"}),
    ]


def test_learning_over_the_api(alice: Client, world: World, asking: Connection) -> None:
    address = f"/api/v1/organizations/acme/connections/{asking.pk}/learning/"
    refused = alice.post(address, {"may_learn": True}, content_type="application/json")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["learn_permission"])
    given = {"may_learn": True, "learn_permission": "Letter of 3 May"}
    answered = alice.post(address, given, content_type="application/json")
    assert (answered.status_code, answered.json()["learn_permission"]) == (200, "Letter of 3 May")
    assert learns(asking) == (True, "Letter of 3 May")
    bob = client_of(world.bob)
    assert bob.post(address, {"may_learn": False}, content_type="application/json").status_code == 403


def test_where_the_terms_allow_it_no_permission_is_asked_for(alice: Client, server: Loopback) -> None:
    connection = connect(alice, server, "canary-right")
    assert learns(connection) == (True, "")
    alice.post(f"{PAGE}{connection.pk}/learning/", {})
    assert learns(connection) == (False, "")
    alice.post(f"{PAGE}{connection.pk}/learning/", {"may_learn": "on"})
    assert learns(connection) == (True, "")


def test_credentials_whose_key_is_gone_break_the_connection_and_can_be_entered_again(
    alice: Client, server: Loopback, settings: Settings
) -> None:
    connection = connect(alice, server, "canary-right")
    settings.CREDENTIAL_KEYS = {"other": bytes([7] * 32)}
    shown = alice.post(f"{PAGE}{connection.pk}/check/", follow=True)
    assert (shown.status_code, "enter the credentials again" in shown.content.decode()) == (200, True)
    assert Connection.everyone.get().state == "broken"
    alice.post(f"{PAGE}{connection.pk}/change/", {"instance": server.url, "access_token": "canary-right"})
    assert Connection.everyone.get().state == "connected"


def test_over_the_api_a_connection_without_a_token_begins_on_the_platforms_page(
    alice: Client, server: Loopback
) -> None:
    api = "/api/v1/organizations/acme/connections/"
    server.answer = lambda request: Reply(data={"client_id": "app", "client_secret": "canary-app"})
    given = {"kind": "mastodon", "name": "Ours", "settings": {"instance": server.url}}
    answered = alice.post(api, given, content_type="application/json")
    assert (answered.status_code, sorted(answered.json())) == (202, ["expires_at", "visit"])
    assert answered.json()["visit"].startswith(f"{server.url}/oauth/authorize?")
    assert "canary" not in answered.content.decode()
    server.answer = lambda request: Reply(500, {"error": "no"})
    assert alice.post(api, given, content_type="application/json").status_code == 409
    assert alice.post(api, given | {"settings": [1]}, content_type="application/json").status_code == 400
    with_token = given | {"settings": {"instance": server.url, "access_token": "canary-right"}}
    assert alice.post(api, with_token, content_type="application/json").status_code == 201


def test_a_budget_is_set_on_the_page_and_over_the_api_and_shown_with_the_days_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = fake_face(FakePlatform(), limits=(Limit("publish", 100, 900),))
    monkeypatch.setattr(face, "price", lambda self, post: 15_000)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk):
        connection = make_connection("fake")
        governor.admit(connection, "publish", microdollars=15_000)
    alice = client_of(world.alice)
    refused = alice.post(f"{PAGE}{connection.pk}/budget/", {"daily_budget": "-1"})
    assert (refused.status_code, b"greater than or equal to 0" in refused.content) == (400, True)
    page = alice.post(f"{PAGE}{connection.pk}/budget/", {"daily_budget": "0.50"}, follow=True).content.decode()
    assert "1 post sent, 0 readings, $0.015 spent, $0.485 left" in page
    assert "100 posts in 15 minutes" in page
    address = f"/api/v1/organizations/acme/connections/{connection.pk}/"
    assert alice.get(f"{address}today/").json() == {
        "published": 1,
        "read": 0,
        "spent": 0.015,
        "left": 0.485,
        "allows": ["100 posts in 15 minutes"],
    }
    assert alice.post(f"{address}budget/", {"daily_budget": None}, "application/json").json()["daily_budget"] is None
    with tenant(world.acme.pk):
        assert AuditEntry.objects.filter(action="connection.budget").count() == 2
