"""The session with the account's server: opened once, kept, renewed, and what breaks the connection."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingPost
from faces.kinds.bluesky.face import BlueskyFace
from faces.kinds.bluesky.forms import server_address
from faces.models import Connection
from faces.services import check_connection, create_connection, reconnect
from tests.faces.bluesky.fake import FakeBluesky, did_of
from tests.faces.loopback import Loopback, Reply, Request, serve
from tests.factories import World

LOGIN, REFRESH = "/xrpc/com.atproto.server.createSession", "/xrpc/com.atproto.server.refreshSession"
PUT = "/xrpc/com.atproto.repo.putRecord"
LOGGING_IN = Request("POST", LOGIN, {}, {}, b'{"identifier": "kilroy.test", "password": "right"}')
TROUBLE = {
    "503": Reply(503, raw=b"<html>Back soon</html>"),
    "200 HTML": Reply(200, raw=b"<html>Maintenance</html>"),
    "200 without session": Reply(200, {}),
    "429": Reply(429, {"error": "RateLimitExceeded"}),
    "cut": Reply(cut=True),
}
LOGIN_TROUBLE = {
    "401 of a proxy": Reply(401, raw=b"<html>A proxy</html>"),
    "400": Reply(400, {"error": "InvalidRequest"}),
}


def _fresh() -> BlueskyFace:
    """A face as another process would make it."""
    return BlueskyFace(Connection.objects.get())


def test_the_app_password_and_the_session_are_sealed(connection: Connection, server: Loopback) -> None:
    _fresh().publish(OutgoingPost("Hello"), "key")
    row = Connection.objects.get()
    assert row.settings == {
        "identifier": "kilroy.test",
        "host": server.url,
        "languages": "en, de",
        "label_account": True,
    }
    assert row.secrets["app_password"] == "right"
    assert (row.secrets["access_token"], row.secrets["refresh_token"]) == ("access-1", "refresh-1")
    assert "access-1" not in row.credentials


def test_one_login_serves_all_calls_of_all_processes(connection: Connection, server: Loopback) -> None:
    for number in range(40):
        _fresh().publish(OutgoingPost(f"Post {number}"), f"key {number}")
    assert server.count("POST", LOGIN) == 1
    assert server.count("POST", PUT) == 40


def test_a_session_that_ran_out_is_renewed_without_a_login(
    connection: Connection, network: FakeBluesky, server: Loopback
) -> None:
    stale = _fresh()
    stale.publish(OutgoingPost("One"), "key 1")
    network.expire("access")
    _fresh().publish(OutgoingPost("Two"), "key 2")
    stale.publish(OutgoingPost("Three"), "key 3")  # takes what the other one was given
    assert [post["text"] for post in network.posts()] == ["One", "Two", "Three"]
    assert (server.count("POST", LOGIN), server.count("POST", REFRESH)) == (1, 1)
    assert Connection.objects.get().secrets["access_token"] == "access-2"


def test_a_revoked_session_is_opened_anew(connection: Connection, network: FakeBluesky, server: Loopback) -> None:
    _fresh().publish(OutgoingPost("One"), "key 1")
    network.expire("access")
    network.expire("refresh")
    _fresh().publish(OutgoingPost("Two"), "key 2")
    assert len(network.posts()) == 2
    assert (server.count("POST", LOGIN), server.count("POST", REFRESH)) == (2, 1)


@pytest.mark.parametrize("password", ["right", "bobs"])
def test_another_account_has_another_session(connection: Connection, network: FakeBluesky, password: str) -> None:
    _fresh().publish(OutgoingPost("One"), "key 1")
    network.accounts["bob.test"].password = password
    reconnect(connection.pk, {"identifier": "bob.test", "app_password": password})
    _fresh().publish(OutgoingPost("Two"), "key 2")
    assert [post["text"] for post in network.posts("bob.test")] == ["Two"]


@pytest.mark.parametrize(
    ("status", "told"), [("takendown", "taken this account down"), ("deactivated", "is deactivated")]
)
def test_an_account_that_cannot_be_used_breaks_the_connection(
    connection: Connection, network: FakeBluesky, status: str, told: str
) -> None:
    _fresh().publish(OutgoingPost("One"), "key 1")
    network.accounts["kilroy.test"].status = status
    with pytest.raises(FaceError, match=told) as caught:
        _fresh().publish(OutgoingPost("Two"), "key 2")
    assert (caught.value.credentials, caught.value.sent) == (True, False)
    with pytest.raises(FaceError, match=told):
        check_connection(connection.pk)
    assert Connection.objects.get().state == "broken"


@pytest.mark.parametrize("status", ["takendown", "deactivated"])
def test_such_an_account_is_told_at_the_login_too(connection: Connection, network: FakeBluesky, status: str) -> None:
    network.accounts["kilroy.test"].status = status
    with pytest.raises(FaceError, match="account") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials


def test_a_wrong_app_password_breaks_the_connection(connection: Connection, network: FakeBluesky) -> None:
    network.accounts["kilroy.test"].password = "changed"
    with pytest.raises(FaceError, match="Make a new app password") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials
    assert Connection.objects.get().state == "broken"


def test_the_accounts_own_password_with_a_code_by_mail_is_told(connection: Connection, network: FakeBluesky) -> None:
    network.refuse["com.atproto.server.createSession"] = Reply(401, {"error": "AuthFactorTokenRequired"})
    with pytest.raises(FaceError, match="make an app password") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials


@pytest.mark.parametrize("trouble", TROUBLE | LOGIN_TROUBLE)
def test_trouble_with_the_login_breaks_nothing_and_costs_no_post(
    connection: Connection, network: FakeBluesky, trouble: str
) -> None:
    network.refuse["com.atproto.server.createSession"] = (TROUBLE | LOGIN_TROUBLE)[trouble]
    with pytest.raises(FaceError) as caught:
        _fresh().publish(OutgoingPost("One"), "key 1")
    assert (caught.value.permanent, caught.value.sent, caught.value.credentials) == (False, False, False)


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_with_renewing_breaks_nothing_and_needs_no_login(
    connection: Connection, network: FakeBluesky, server: Loopback, trouble: str
) -> None:
    _fresh().publish(OutgoingPost("One"), "key 1")
    network.expire("access")
    network.refuse["com.atproto.server.refreshSession"] = TROUBLE[trouble]
    with pytest.raises(FaceError) as caught:
        _fresh().publish(OutgoingPost("Two"), "key 2")
    assert (caught.value.permanent, caught.value.sent, caught.value.credentials) == (False, False, False)
    network.refuse.clear()
    _fresh().publish(OutgoingPost("Two"), "key 2")
    assert (len(network.posts()), server.count("POST", LOGIN)) == (2, 1)


def test_the_31st_login_in_five_minutes_must_wait(connection: Connection, network: FakeBluesky) -> None:
    for _ in range(30):
        network.expire("access")
        network.expire("refresh")
        _fresh().delete(f"at://{did_of('kilroy.test')}/app.bsky.feed.post/3lcxxxxxxxx22")
    network.expire("access")
    network.expire("refresh")
    with pytest.raises(FaceError) as caught:
        check_connection(connection.pk)
    assert not caught.value.credentials
    assert caught.value.retry_after is not None
    assert 290 <= caught.value.retry_after <= 300


def test_calls_go_to_the_server_that_the_did_document_names(
    connection: Connection, network: FakeBluesky, server: Loopback, settings: Settings
) -> None:
    with serve() as entry:
        settings.OUTBOUND_ALLOW |= {("127.0.0.1", entry.port)}
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": server.url}
        opened = network.answer(LOGGING_IN)
        entry.answer = lambda request: Reply(data=opened.data | {"didDoc": {"service": [service]}})
        Connection.objects.update(settings=connection.settings | {"host": entry.url})
        server.requests.clear()
        _fresh().publish(OutgoingPost("Hello"), "key")
        assert [request.path for request in entry.requests] == [LOGIN]
    assert [request.path for request in server.requests] == [PUT]


def test_a_did_document_cannot_lead_to_a_private_server(
    connection: Connection, network: FakeBluesky, server: Loopback
) -> None:
    with serve() as inside:
        service = {"id": "#atproto_pds", "serviceEndpoint": inside.url}
        opened = network.answer(LOGGING_IN)
        server.answer = lambda request: Reply(data=opened.data | {"didDoc": {"service": [service]}})
        with pytest.raises(FaceError, match="must be reached by https"):
            _fresh().publish(OutgoingPost("Hello"), "key")
        assert inside.requests == []


def test_the_operators_base_is_asked_for_everything(
    connection: Connection, network: FakeBluesky, server: Loopback, settings: Settings
) -> None:
    with serve() as base:
        base.answer = network.answer
        settings.OUTBOUND_ALLOW |= {("127.0.0.1", base.port)}
        settings.API_BASES = {"bluesky": base.url}
        _fresh().publish(OutgoingPost("Hello"), "key")
        assert len(base.requests) == 2
    assert server.requests == []


def test_a_private_server_is_never_asked(world: World, server: Loopback, settings: Settings) -> None:
    settings.API_BASES = {}
    given = {"identifier": "a.test", "app_password": "right", "host": f"https://127.0.0.1:{server.port}"}
    with tenant(world.acme.pk):
        made = create_connection("bluesky", "Inside", given)
        with pytest.raises(FaceError, match="no public address"):
            check_connection(made.pk)
    assert server.requests == []


@pytest.mark.parametrize(
    ("typed", "address"),
    [("bsky.social", "https://bsky.social"), (" https://PDS.example:8443/ ", "https://pds.example:8443")],
)
def test_a_server_is_known_by_its_name(typed: str, address: str) -> None:
    assert server_address(typed) == address


@pytest.mark.parametrize(
    "typed", ["", "http://bsky.social", "https://a@b.example", "bsky.social/xrpc", "a:b:c", "ftp://a"]
)
def test_what_is_no_server_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        server_address(typed)


def test_languages_are_codes(world: World) -> None:
    with tenant(world.acme.pk), pytest.raises(ValidationError, match="by their codes"):
        create_connection("bluesky", "X", {"identifier": "a.test", "languages": "English, please"})
