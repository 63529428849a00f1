"""The Bluesky face against Bluesky's own PDS."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests

from accounts import clock
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.keys import new_key
from faces.models import Connection
from faces.services import check_connection, reconnect
from tests.factories import PNG
from tests.servers.bluesky.conftest import Connect, other_process
from tests.servers.bluesky.servers import Person, Servers

pytestmark = pytest.mark.servers
POST = "app.bsky.feed.post"


def _records(person: Person) -> list[dict[str, object]]:
    found = person.get("com.atproto.repo.listRecords", repo=person.did, collection=POST)
    return list(found["records"])


def _record(person: Person, uri: str) -> dict[str, object]:
    rkey = uri.rpartition("/")[2]
    return person.get("com.atproto.repo.getRecord", repo=person.did, collection=POST, rkey=rkey)


def _revision(person: Person) -> str:
    return str(person.get("com.atproto.sync.getLatestCommit", did=person.did)["rev"])


def test_a_post_is_there_once_whatever_is_sent_again(alone: Servers, connect: Connect) -> None:
    face, person, key = connect(alone, "once.test"), alone.person("once.test"), new_key()
    post = OutgoingPost("Grüße an @once.test, siehe https://example.org und #eins. @nobody.test bleibt Text.")
    first = face.publish(post, key)
    kept, revision = _record(person, first.remote_id), _revision(person)
    assert face.publish(post, key) == other_process(face).publish(post, key) == first
    assert face.publish(OutgoingPost("Another text"), key) == first
    assert (_record(person, first.remote_id), _revision(person), len(_records(person))) == (kept, revision, 1)
    assert list(face.find(key, post, first.at)) == [first]
    assert list(face.find(new_key(), post, first.at)) == []
    marked = [facet["features"][0]["$type"].partition("#")[2] for facet in kept["value"]["facets"]]  # type: ignore[index]
    assert marked == ["mention", "link", "tag"]


def test_one_login_serves_more_calls_than_logins_are_allowed(alone: Servers, connect: Connect) -> None:
    face = connect(alone, "often.test")
    for number in range(40):
        other_process(face).publish(OutgoingPost(f"Post {number}"), new_key())
    history = list(other_process(face).history(None))
    assert [post.text for post in history] == [f"Post {number}" for number in range(40)]
    assert len(list(face.history(clock.now() + timedelta(minutes=1)))) == 0
    login = {"identifier": "often.test", "password": alone.person("often.test").app_password}
    answer = requests.post(f"{alone.pds}/xrpc/com.atproto.server.createSession", json=login, timeout=30)
    assert answer.headers["RateLimit-Remaining"] == "28"  # this was the second one


def test_the_31st_login_must_wait_and_breaks_nothing(alone: Servers, connect: Connect) -> None:
    face = connect(alone, "limited.test")
    login = {"identifier": "limited.test", "password": alone.person("limited.test").app_password}
    for _ in range(30):
        requests.post(f"{alone.pds}/xrpc/com.atproto.server.createSession", json=login, timeout=30)
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("Hello"), new_key())
    assert (caught.value.status, caught.value.permanent, caught.value.sent) == (429, False, False)
    assert not caught.value.credentials
    assert caught.value.retry_after is not None
    assert 200 < caught.value.retry_after <= 300


def test_a_session_is_renewed_and_then_opened_anew(alone: Servers, connect: Connect) -> None:
    face, person = connect(alone, "renewed.test"), alone.person("renewed.test")
    face.publish(OutgoingPost("One"), new_key())
    known = face.connection.secrets
    Connection.objects.update(credentials=_with(face.connection, access_token=known["access_token"][:-4] + "AAAA"))
    other_process(face).publish(OutgoingPost("Two"), new_key())
    renewed = Connection.objects.get().secrets
    assert renewed["refresh_token"] != known["refresh_token"]
    person.post("com.atproto.server.revokeAppPassword", name="Kilroy")
    person.app_password = person.post("com.atproto.server.createAppPassword", name="Kilroy again")["password"]
    reconnect(face.connection.pk, {"app_password": person.app_password})
    other_process(face).publish(OutgoingPost("Three"), new_key())
    assert len(_records(person)) == 3


def _with(connection: Connection, **changed: str) -> str:
    from accounts import vault

    return vault.seal(connection, "credentials", connection.secrets | changed)


def test_a_wrong_app_password_breaks_the_connection(alone: Servers, connect: Connect) -> None:
    face = connect(alone, "wrong.test")
    reconnect(face.connection.pk, {"app_password": "aaaa-bbbb-cccc-dddd"})
    with pytest.raises(FaceError, match="Make a new app password"):
        check_connection(face.connection.pk)
    assert Connection.objects.get().state == "broken"


def test_an_account_taken_down_breaks_the_connection(alone: Servers, connect: Connect) -> None:
    face, person = connect(alone, "down.test"), alone.person("down.test")
    check_connection(face.connection.pk)
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": person.did}
    takedown = {"applied": True, "ref": "1"}
    alone.as_admin("com.atproto.admin.updateSubjectStatus", subject=subject, takedown=takedown)
    with pytest.raises(FaceError, match="taken this account down") as caught:
        other_process(face).publish(OutgoingPost("Hello"), new_key())
    assert (caught.value.credentials, caught.value.sent) == (True, False)


def test_a_deactivated_account_breaks_the_connection(alone: Servers, connect: Connect) -> None:
    face, person = connect(alone, "asleep.test"), alone.person("asleep.test")
    check_connection(face.connection.pk)
    person.post("com.atproto.server.deactivateAccount")
    with pytest.raises(FaceError, match="is deactivated") as caught:
        other_process(face).publish(OutgoingPost("Hello"), new_key())
    assert caught.value.credentials
    with pytest.raises(FaceError, match="is deactivated"):
        check_connection(face.connection.pk)
    assert Connection.objects.get().state == "broken"


def test_the_label_is_set_once(alone: Servers, connect: Connect) -> None:
    face, person = connect(alone, "labelled.test"), alone.person("labelled.test")
    assert check_connection(face.connection.pk).ok
    profile = {"repo": person.did, "collection": "app.bsky.actor.profile", "rkey": "self"}
    kept = person.get("com.atproto.repo.getRecord", **profile)
    assert kept["value"]["labels"]["values"] == [{"val": "bot"}]
    assert check_connection(face.connection.pk).account == "@labelled.test"
    assert person.get("com.atproto.repo.getRecord", **profile) == kept


def test_pictures_replies_and_threads(alone: Servers, connect: Connect) -> None:
    face, bob = connect(alone, "weaver.test"), alone.person("bob.test")
    person = alone.person("weaver.test")
    asked = bob.create(POST, text="What?")["uri"]
    image, key = OutgoingImage(PNG, "image/png", "A red pixel"), new_key()
    first = face.publish(OutgoingPost("This.", (image,) * 4, reply_to=asked), key)
    assert face.publish(OutgoingPost("This.", (image,) * 4, reply_to=asked), key) == first
    second = face.publish(OutgoingPost("And that.", reply_to=first.remote_id), new_key())
    embed = _record(person, first.remote_id)["value"]["embed"]  # type: ignore[index]
    assert [shown["alt"] for shown in embed["images"]] == ["A red pixel"] * 4
    reply = _record(person, second.remote_id)["value"]["reply"]  # type: ignore[index]
    assert (reply["root"]["uri"], reply["parent"]["uri"]) == (asked, first.remote_id)
    with pytest.raises(FaceError, match="gone") as caught:
        face.publish(OutgoingPost("To nobody", reply_to=asked[:-4] + "2222"), new_key())
    assert caught.value.permanent


def test_both_limits_of_a_text_are_the_servers(alone: Servers, connect: Connect) -> None:
    face, family = connect(alone, "long.test"), "👩‍👩‍👧‍👦"
    for text in ("x" * 300, family * 120, "é" * 300, "न्मा" * 60):
        assert face.objection(OutgoingPost(text)) == ""
        face.publish(OutgoingPost(text), new_key())
    for text in ("x" * 301, family * 121):
        assert face.objection(OutgoingPost(text)) != ""
        with pytest.raises(FaceError, match="too big") as caught:
            face.publish(OutgoingPost(text), new_key())
        assert (caught.value.permanent, caught.value.sent) == (True, False)


def test_deleting_twice_is_no_error(alone: Servers, connect: Connect) -> None:
    face, key = connect(alone, "gone.test"), new_key()
    published = face.publish(OutgoingPost("Hello"), key)
    face.delete(published.remote_id)
    face.delete(published.remote_id)
    assert list(face.find(key, OutgoingPost("Hello"), published.at)) == []
    assert list(face.history(None)) == []


def test_without_an_appview_nobody_counts(alone: Servers, connect: Connect) -> None:
    face = connect(alone, "uncounted.test")
    published = face.publish(OutgoingPost("Hello"), new_key())
    with pytest.raises(FaceError, match="knows no AppView") as caught:
        face.metrics([published.remote_id])
    assert caught.value.permanent
    assert [(post.text, post.metrics, post.remote_id) for post in face.history(None)] == [
        ("Hello", {}, published.remote_id)
    ]
