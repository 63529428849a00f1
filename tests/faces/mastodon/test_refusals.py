"""What an instance may say instead of yes, and what follows: which post is lost, which waits, which may be out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingPost
from faces.kinds.mastodon.face import MastodonFace
from faces.models import Connection
from faces.services import check_connection, create_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.mastodon.instance import Instance
from tests.factories import World

STATUSES = ("POST", "/api/v1/statuses")
CREDENTIALS = ("GET", "/api/v1/accounts/verify_credentials")


def refusal(face: MastodonFace, instance: Instance, reply: Reply) -> FaceError:
    """What publishing raises when the instance answers this."""
    instance.refuse[STATUSES] = reply
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("Hello"), "key")
    return caught.value


@pytest.mark.parametrize(
    ("reply", "permanent", "sent", "credentials"),
    [
        (Reply(401, {"error": "The access token is invalid"}), True, False, True),
        (Reply(401, {"error": "The access token was revoked"}), True, False, True),
        (Reply(403, {"error": "Your login is currently disabled"}), True, False, True),
        (Reply(403, {"error": "Your login is currently pending approval"}), True, False, True),
        (Reply(403, {"error": "This action is outside the authorized scopes"}), True, False, True),
        (Reply(403, {"error": "This action is not allowed"}), True, False, False),
        (Reply(422, {"error": "Validation failed: Text character limit of 500 exceeded"}), True, False, False),
        (Reply(400, {"error": "Post too long"}), True, False, False),
        (Reply(200, raw=b"<!doctype html><title>Maintenance</title>"), False, True, False),
        (Reply(200, {"id": "1"}), False, True, False),
        (Reply(500, {"error": "An unexpected error occurred"}), False, True, False),
        (Reply(302, raw=b"", headers={"Location": "https://elsewhere.example"}), True, False, False),
    ],
    ids=lambda value: f"{value.status} {value.data or value.raw}"[:50] if isinstance(value, Reply) else str(value),
)
def test_what_a_refusal_means(
    face: MastodonFace, instance: Instance, reply: Reply, permanent: bool, sent: bool, credentials: bool
) -> None:
    error = refusal(face, instance, reply)
    assert (error.permanent, error.sent, error.credentials) == (permanent, sent, credentials)
    assert "right" not in str(error)


def test_a_rate_limit_is_waited_out_for_as_long_as_the_instance_says(face: MastodonFace, instance: Instance) -> None:
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in_an_hour}
    error = refusal(face, instance, Reply(429, {"error": "Too many requests"}, headers))
    assert (error.permanent, error.sent) == (False, False)
    assert error.retry_after == pytest.approx(3600, abs=120)


def test_a_replay_that_fails_leaves_the_first_post_to_be_found(face: MastodonFace, instance: Instance) -> None:
    """The key's first request came through, its answer was lost, and the instance stumbles over the second."""
    first = face.publish(OutgoingPost("Hello"), "key")
    assert refusal(face, instance, Reply(500, {"error": "An unexpected error occurred"})).sent
    seen = list(face.find("key", OutgoingPost("Hello"), first.at - timedelta(minutes=5)))
    assert [published.remote_id for published in seen] == [first.remote_id]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"suspended": True}, "has suspended the account"),
        ({"limited": True}, "has limited the account"),
        ({"moved": {"acct": "kilroy@new.example"}}, "has moved to @kilroy@new.example"),
        ({"bot": False}, "Mark the account as automated"),
    ],
    ids=["suspended", "limited", "moved", "unlabelled"],
)
def test_an_account_in_trouble_is_told_what_to_do(
    connection: Connection, instance: Instance, faults: dict[str, object], words: str
) -> None:
    instance.me |= faults
    found = check_connection(connection.pk)
    assert [words in missing for missing in found.missing] == [True]
    assert Connection.objects.get().state == "broken"


def test_a_disabled_account_breaks_the_connection_whatever_the_servers_words(
    connection: Connection, instance: Instance
) -> None:
    instance.refuse[CREDENTIALS] = Reply(403, {"error": "Dein Konto ist gesperrt"})
    with pytest.raises(FaceError, match="gesperrt"):
        check_connection(connection.pk)
    assert Connection.objects.get().state == "broken"


def test_each_scope_is_told_as_there_or_missing(connection: Connection, instance: Instance) -> None:
    instance.scopes = ["read", "write:statuses"]
    found = check_connection(connection.pk)
    assert found.missing == ("May not upload images: the token lacks write:media. Allow Kilroy anew.",)
    assert found.present[:2] == ("May read (read).", "May post (write:statuses).")
    instance.scopes = ["read", "write"]
    assert check_connection(connection.pk).ok


def test_an_older_instance_does_not_say_what_a_token_may_do(connection: Connection, instance: Instance) -> None:
    instance.refuse["GET", "/api/v1/apps/verify_credentials"] = Reply(403, {"error": "Forbidden"})
    found = check_connection(connection.pk)
    assert (found.ok, "does not say" in found.present[0]) == (True, True)


def test_no_request_goes_to_a_private_host(world: World, server: Loopback) -> None:
    with tenant(world.acme.pk):
        for host in (f"127.0.0.1:{server.port}", "[::1]", "169.254.169.254", "localhost", "10.0.0.1"):
            made = create_connection("mastodon", host, {"instance": f"https://{host}", "access_token": "right"})
            with pytest.raises(FaceError, match="no public address") as caught:
                made.face.publish(OutgoingPost("Hello"), "key")
            assert (caught.value.permanent, caught.value.sent) == (True, False)
    assert server.requests == []


def test_the_instances_own_numbers_come_first(connection: Connection) -> None:
    assert (connection.capabilities.max_length, connection.capabilities.max_images) == (500, 4)
    check_connection(connection.pk)
    checked = Connection.objects.get().capabilities
    assert (checked.max_length, checked.max_images) == (60, 2)
