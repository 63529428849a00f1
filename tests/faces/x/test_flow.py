"""Connecting an X account on X's own page, and keeping its tokens alive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pytest_django import Settings

from accounts import clock, vault
from faces.contract import FaceError, OutgoingPost
from faces.kinds.x.face import XFace
from faces.kinds.x.flow import SCOPES, XFlow
from faces.models import Connection
from faces.registry import FACES
from faces.services import check_connection, reconnect
from tests.faces.loopback import Loopback, Reply
from tests.faces.x.fake import FakeX

CALLBACK = "https://kilroy.example/connect/callback/"


def departed(settings: dict[str, Any]) -> tuple[str, dict[str, str], Any]:
    departure = XFlow().begin(settings, {}, CALLBACK, "a state")
    address, _, query = departure.url.partition("?")
    return address, {name: values[0] for name, values in parse_qs(query).items()}, departure.keep


@pytest.fixture
def stale(connection: Connection, x: FakeX) -> Connection:
    """A connection whose access token has a minute left."""
    x.refresh_tokens["refresh-1"] = "token-of-kilroy"
    return connection


def later() -> Any:
    return clock.simulated(clock.now() + timedelta(minutes=119))


def test_the_person_is_sent_to_xs_page(settings: Settings) -> None:
    settings.API_BASES = {}
    address, asked, keep = departed({"client_id": "app"})
    assert address == "https://x.com/i/oauth2/authorize"
    assert asked.pop("code_challenge") not in ("", keep["verifier"])
    assert asked == {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": CALLBACK,
        "scope": "tweet.read tweet.write users.read offline.access media.write",
        "state": "a state",
        "code_challenge_method": "S256",
    }


def test_the_page_follows_the_operators_address(settings: Settings) -> None:
    settings.API_BASES = {"x": "http://127.0.0.1:9"}
    assert departed({"client_id": "app"})[0] == "http://127.0.0.1:9/i/oauth2/authorize"


def test_without_a_developer_app_there_is_nowhere_to_go() -> None:
    with pytest.raises(FaceError, match="client ID"):
        XFlow().begin({"client_id": ""}, {}, CALLBACK, "a state")


@pytest.mark.parametrize("secret", ["", "hush"], ids=["public app", "confidential app"])
def test_the_code_becomes_credentials(x: FakeX, server: Loopback, secret: str) -> None:
    x.app = ("app", secret)
    settings, given = {"client_id": "app"}, {"client_secret": secret}
    _, asked, keep = departed(settings)
    code = x.allow("token-of-kilroy", asked["code_challenge"], CALLBACK)
    found = XFlow().finish(settings, given, keep, code, CALLBACK)
    assert found["client_secret"] == secret
    assert x.accounts[found["access_token"]]["username"] == "kilroy"
    assert x.refresh_tokens == {found["refresh_token"]: found["access_token"]}
    assert set(found["scope"].split()) == set(SCOPES)
    assert found["expires_at"] > (clock.now() + timedelta(minutes=115)).isoformat()
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrong", ["code", "verifier", "callback"])
def test_a_code_that_does_not_fit_gives_nothing(x: FakeX, wrong: str) -> None:
    _, asked, keep = departed({"client_id": "app"})
    code = x.allow("token-of-kilroy", asked["code_challenge"], CALLBACK)
    how = {"keep": keep, "code": code, "callback": CALLBACK}
    how |= {"code": {"code": "other"}, "verifier": {"keep": {"verifier": "x" * 50}}, "callback": {"callback": "x"}}[
        wrong
    ]
    with pytest.raises(FaceError, match="Start again") as caught:
        XFlow().finish({"client_id": "app"}, {}, **how)
    assert (caught.value.permanent, caught.value.credentials) == (True, False)


def test_a_wrong_secret_is_told(x: FakeX) -> None:
    x.app = ("app", "hush")
    with pytest.raises(FaceError, match="Missing valid authorization header") as caught:
        XFlow().finish({"client_id": "app"}, {"client_secret": "loud"}, {"verifier": "v"}, "code", CALLBACK)
    assert "loud" not in str(caught.value)


def test_a_token_is_renewed_before_it_runs_out_and_the_new_ones_are_kept(stale: Connection, x: FakeX) -> None:
    with later():
        XFace(stale).publish(OutgoingPost("Hello"), "key")
        XFace(Connection.objects.get()).publish(OutgoingPost("Again"), "key")
    assert x.texts("kilroy") == ["Hello", "Again"]
    assert x.requests["POST", "/2/oauth2/token"] == 1
    row = Connection.objects.get()
    assert x.accounts[row.secrets["access_token"]]["username"] == "kilroy"
    assert list(x.refresh_tokens) == [row.secrets["refresh_token"]]
    assert row.secrets["client_secret"] == ""


def test_a_token_that_lives_is_not_renewed(connection: Connection, x: FakeX) -> None:
    check_connection(connection.pk)
    assert x.requests["POST", "/2/oauth2/token"] == 0


PASSING = {
    "server error": Reply(500, {"error": "server_error"}),
    "over capacity": Reply(503, raw=b"<html>Over capacity</html>"),
    "a page": Reply(200, raw=b"<html>Hello</html>"),
    "a page that forbids": Reply(403, raw=b"<html>Blocked</html>"),
    "bad request without a word": Reply(400, raw=b""),
    "rate limit": Reply(429, {}, {"Retry-After": "60"}),
    "no answer": Reply(cut=True),
    "no token": Reply(200, {"token_type": "bearer"}),
    "for a while": Reply(400, {"error": "temporarily_unavailable"}),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_renewal_that_fails_in_passing_disconnects_nothing_and_publishes_nothing(
    stale: Connection, x: FakeX, name: str
) -> None:
    x.refuse["POST", "/2/oauth2/token"] = PASSING[name]
    with later(), pytest.raises(FaceError) as caught:
        XFace(stale).publish(OutgoingPost("Hello"), "key")
    error = caught.value
    assert (error.permanent, error.sent, error.credentials) == (False, False, False)
    with later(), pytest.raises(FaceError):
        check_connection(stale.pk)
    assert Connection.objects.get().state == "connected"
    x.refuse.clear()
    with later():
        XFace(stale).publish(OutgoingPost("Hello"), "key")
    assert x.texts("kilroy") == ["Hello"]


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_request", "unauthorized_client"])
def test_a_renewal_that_x_refuses_breaks_the_connection(stale: Connection, x: FakeX, code: str) -> None:
    told = "Value passed for the token was invalid."
    x.refuse["POST", "/2/oauth2/token"] = Reply(400, {"error": code, "error_description": told})
    with later(), pytest.raises(FaceError) as caught:
        check_connection(stale.pk)
    assert (caught.value.credentials, caught.value.sent) == (True, False)
    row = Connection.objects.get()
    assert row.state == "broken"
    assert told in row.problem
    assert "refresh-1" not in row.problem


def test_a_permission_that_does_not_last_says_so(stale: Connection, x: FakeX, secrets: dict[str, Any]) -> None:
    face = XFace(stale)
    stale.credentials = vault.seal(stale, "credentials", {**secrets, "refresh_token": ""})
    stale.save()
    with later(), pytest.raises(FaceError, match="no permission that lasts") as caught:
        face.verify()
    assert caught.value.credentials
    assert x.requests.total() == 0


def test_a_tick_in_the_form_keeps_the_tokens(connection: Connection, x: FakeX) -> None:
    reconnect(connection.pk, {"automated": False})
    assert not check_connection(connection.pk).ok
    reconnect(connection.pk, {"automated": True})
    assert check_connection(connection.pk).ok
    assert Connection.objects.get().state == "connected"


def test_the_form_asks_for_the_app_and_never_for_a_token() -> None:
    form = FACES["x"].load_form()
    assert list(form.base_fields) == ["client_id", "client_secret", "automated"]
    assert urlsplit(FACES["x"].flow).path == "faces.kinds.x.flow.XFlow"
    assert "tells no program" in str(form.base_fields["automated"].help_text)
