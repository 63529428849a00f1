"""Connecting an account, seeing how it is, and connecting it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from faces.models import Connection
from faces.services import mark_broken
from tests.faces.loopback import Loopback, Reply, Request, serve
from tests.factories import World, client_of

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
