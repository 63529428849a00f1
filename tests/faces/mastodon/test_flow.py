"""Connecting through an instance's own page: Kilroy registers there, the owner allows it, the code becomes a token."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from faces.authorizations import callback_address
from faces.contract import FaceError
from faces.kinds.mastodon.flow import MastodonFlow
from faces.models import Authorization, Connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.mastodon.instance import TOKEN, Instance
from tests.factories import World, client_of

NEW = "/o/acme/connections/new/mastodon/"
CALLBACK = "/connect/callback/"


@pytest.fixture
def alice(world: World, instance: Instance, server: Loopback, settings: Settings) -> Client:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    return client_of(world.alice)


def depart(alice: Client, server: Loopback) -> dict[str, str]:
    """Fill in the form without a token; what the link to the instance asks for."""
    page = alice.post(NEW, {"name": "Ours", "instance": server.url, "visibility": "unlisted"})
    assert page.status_code == 200, page.content
    url = page.context["begun"].url
    assert url.startswith(f"{server.url}/oauth/authorize?")
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_an_account_is_connected_without_a_token_being_seen(
    alice: Client, world: World, server: Loopback, instance: Instance
) -> None:
    asked = depart(alice, server)
    app = next(request.form for request in server.requests if request.path == "/api/v1/apps")
    assert (app["redirect_uris"], app["scopes"]) == ([callback_address()], ["read write:statuses write:media"])
    assert (asked["redirect_uri"], asked["client_id"], asked["scope"]) == (callback_address(), "app", app["scopes"][0])
    back = alice.get(CALLBACK, {"code": "good-code", "state": asked["state"]})
    with tenant(world.acme.pk):
        made = Connection.objects.get()
        assert back.headers["Location"] == f"/o/acme/connections/{made.pk}/"
        assert (made.name, made.state, made.settings["visibility"]) == ("Ours", "connected", "unlisted")
        assert made.account.startswith("@kilroy@127.0.0.1")
        assert made.secrets == {"access_token": TOKEN, "scope": "read write:statuses write:media"}
        assert [entry.action for entry in AuditEntry.objects.order_by("pk") if "connection" in entry.action] == [
            "connection.authorize",
            "connection.create",
            "connection.check",
        ]


def test_the_code_is_proven_to_be_ours(alice: Client, server: Loopback) -> None:
    asked = depart(alice, server)
    alice.get(CALLBACK, {"code": "good-code", "state": asked["state"]})
    given = next(request.form for request in server.requests if request.path == "/oauth/token")
    assert (given["redirect_uri"], given["grant_type"]) == ([callback_address()], ["authorization_code"])
    assert len(given["code_verifier"][0]) >= 43
    assert asked["code_challenge_method"] == "S256"
    assert asked["code_challenge"] != given["code_verifier"][0]


def test_nothing_secret_is_written_in_the_clear(alice: Client, world: World, server: Loopback) -> None:
    asked = depart(alice, server)
    with tenant(world.acme.pk):
        row = Authorization.objects.get()
        written = repr([row.__dict__, list(AuditEntry.objects.values())])
    assert asked["state"][32:] not in written
    assert "canary-app-secret" not in written


def test_a_code_that_the_instance_does_not_take(alice: Client, server: Loopback) -> None:
    asked = depart(alice, server)
    page = alice.get(CALLBACK, {"code": "stale-code", "state": asked["state"]})
    assert page.status_code == 400
    assert "The authorization grant is invalid" in page.content.decode()
    assert "canary" not in page.content.decode()
    assert not Connection.everyone.exists()


@pytest.mark.parametrize(
    "reply",
    [Reply(500, {"error": "no"}), Reply(200, raw=b"<html>"), Reply(data={"error": "no"}), Reply(cut=True)],
    ids=["500", "a page", "no client", "no answer"],
)
def test_an_instance_that_registers_nobody_is_said_on_the_form(
    alice: Client, server: Loopback, instance: Instance, reply: Reply
) -> None:
    instance.refuse["POST", "/api/v1/apps"] = reply
    page = alice.post(NEW, {"name": "Ours", "instance": server.url})
    assert (page.status_code, bool(page.context["form"].non_field_errors())) == (400, True)
    assert not Authorization.everyone.exists()


def test_a_token_by_hand_needs_no_visit(alice: Client, server: Loopback) -> None:
    made = alice.post(NEW, {"name": "Ours", "instance": server.url, "access_token": TOKEN})
    assert made.status_code == 302
    assert Connection.everyone.get().state == "connected"


def test_an_answer_without_a_token_is_no_success(server: Loopback, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    server.answer = lambda request: Reply(data=["not", "what", "was", "expected"])
    keep: dict[str, Any] = {"client_id": "a", "client_secret": "b", "verifier": "c"}
    with pytest.raises(FaceError, match="without a token"):
        MastodonFlow().finish({"instance": server.url}, {}, keep, "code", "https://kilroy.example/")


def test_connecting_anew_keeps_the_connection_and_takes_the_new_token(
    alice: Client, world: World, server: Loopback
) -> None:
    alice.post(NEW, {"name": "Ours", "instance": server.url, "access_token": "revoked"})
    old = Connection.everyone.get()
    assert old.state == "broken"
    page = alice.post(f"/o/acme/connections/{old.pk}/authorize/", {"instance": server.url, "visibility": "public"})
    state = parse_qs(urlsplit(page.context["begun"].url).query)["state"][0]
    alice.get(CALLBACK, {"code": "good-code", "state": state})
    with tenant(world.acme.pk):
        now = Connection.objects.get()
        assert (now.pk, now.state, now.secrets["access_token"]) == (old.pk, "connected", TOKEN)


def test_a_stored_token_is_never_sent_to_another_host(alice: Client, world: World, server: Loopback) -> None:
    alice.post(NEW, {"name": "Ours", "instance": server.url, "access_token": TOKEN})
    made = Connection.everyone.get()
    server.requests.clear()
    answered = alice.post(f"/o/acme/connections/{made.pk}/change/", {"instance": "https://thief.example"})
    assert answered.status_code == 400
    assert "is another host: enter the credentials for it too" in answered.content.decode()
    assert Connection.everyone.get().settings["instance"] == server.url
