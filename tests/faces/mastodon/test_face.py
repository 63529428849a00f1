"""The Mastodon face against a server that answers as docs.joinmastodon.org says an instance does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.mastodon.face import MastodonFace
from faces.kinds.mastodon.instance import comparable, instance_address, plain_text
from faces.models import Connection
from faces.services import check_connection, create_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.mastodon.instance import NOW, Instance
from tests.factories import PNG, World
from tests.telling import mailed


def test_the_token_is_sealed_and_the_rest_is_not(connection: Connection) -> None:
    row = Connection.objects.get()
    assert row.settings == {"instance": connection.settings["instance"], "visibility": "public", "language": ""}
    assert "right" not in row.credentials
    assert row.secrets == {"access_token": "right"}


def test_checking_reads_the_instances_limits(connection: Connection) -> None:
    found = check_connection(connection.pk)
    row = Connection.objects.get()
    assert (found.ok, row.state, row.problem) == (True, "connected", "")
    assert row.account.startswith("@kilroy@127.0.0.1")
    assert (row.capabilities.max_length, row.settings["max_images"]) == (60, 2)
    assert row.face.count("https://example.org/" + "x" * 50) == 20


def test_an_account_that_is_not_labelled_automated_is_told_so(connection: Connection, instance: Instance) -> None:
    instance.me["bot"] = False
    found = check_connection(connection.pk)
    assert not found.ok
    assert "automated" in Connection.objects.get().problem
    assert Connection.objects.get().state == "broken"


def test_a_wrong_token_breaks_the_connection_and_tells_its_owner(
    connection: Connection, server: Loopback, django_capture_on_commit_callbacks: Any
) -> None:
    server.answer = lambda request: Reply(401, {"error": "The access token is invalid"})
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(FaceError) as caught:
        check_connection(connection.pk)
    assert caught.value.credentials
    assert Connection.objects.get().state == "broken"
    assert mailed() == ["Kilroy: Our account must be connected again"]


def test_an_instance_that_is_down_breaks_nothing(connection: Connection, server: Loopback) -> None:
    server.answer = lambda request: Reply(503, raw=b"<html>Back soon</html>")
    with pytest.raises(FaceError):
        check_connection(connection.pk)
    assert Connection.objects.get().state == "connected"


def test_one_key_twice_leaves_one_post(face: MastodonFace, instance: Instance, server: Loopback) -> None:
    post = OutgoingPost("Hello <world> & all")
    first, second = face.publish(post, "key-1"), face.publish(post, "key-1")
    assert (first.remote_id, first.at) == (second.remote_id, NOW)
    assert len(instance.statuses) == 1
    assert server.count("POST", "/api/v1/statuses") == 2


FAILURES = [*(Reply(status, {"error": "no"}) for status in (500, 502, 503, 429, 422, 408, 302)), Reply(cut=True)]
FAILURES.append(Reply(raw=b"<html>Maintenance</html>"))
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")
WRITES: dict[tuple[str, str], Callable[[MastodonFace], Any]] = {
    ("POST", "/api/v1/statuses"): lambda face: face.publish(OutgoingPost("Hello"), "key"),
    ("POST", "/api/v2/media"): lambda face: face.publish(OutgoingPost("Hello", (IMAGE,)), "key"),
    ("DELETE", "/api/v1/statuses/5"): lambda face: face.delete("5"),
}


@pytest.mark.parametrize("write", WRITES, ids=" ".join)
def test_one_attempt_is_one_request_whatever_the_answer(
    face: MastodonFace, instance: Instance, server: Loopback, write: tuple[str, str]
) -> None:
    for reply in FAILURES:
        server.requests.clear()
        instance.refuse[write] = reply
        with pytest.raises(FaceError):
            WRITES[write](face)
        assert [(request.method, request.path) for request in server.requests] == [write], reply


def test_a_reply_with_an_image(face: MastodonFace, instance: Instance, server: Loopback) -> None:
    instance.add("<p>What?</p>", NOW)
    face.publish(OutgoingPost("This.", (OutgoingImage(PNG, "image/png", "A red pixel"),), reply_to="100"), "key")
    sent = next(r for r in server.requests if r.method == "POST" and r.path == "/api/v1/statuses").json
    assert sent == {"status": "This.", "visibility": "public", "in_reply_to_id": "100", "media_ids": ["m1"]}
    assert "A red pixel" in instance.media["m1"]


def test_an_image_that_cannot_be_uploaded_proves_that_nothing_was_published(
    face: MastodonFace, instance: Instance
) -> None:
    instance.refuse["POST", "/api/v2/media"] = Reply(500, {"error": "no"})
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("This.", (OutgoingImage(PNG, "image/png", "A red pixel"),)), "key")
    assert not caught.value.sent
    assert instance.statuses == []


def test_what_was_published_is_found_again_by_its_text(face: MastodonFace, instance: Instance) -> None:
    instance.add("<p>An old one</p>", NOW - timedelta(days=1))
    mention = '<span class="h-card"><a href="https://b.example/@bob">@<span>bob</span></a></span>'
    link = '<a><span class="invisible">https://</span><span>example.org/a</span><span class="invisible">bc</span></a>'
    shown = f"<p>Hi {mention},<br />see {link}</p>"
    wanted = instance.add(shown, NOW)
    instance.add("<p>Another</p>", NOW)
    post = OutgoingPost("Hi @bob@b.example,\nsee https://example.org/abc")
    assert [found.remote_id for found in face.find("key", post, NOW - timedelta(hours=1))] == [wanted["id"]]
    assert list(face.find("key", OutgoingPost("An old one"), NOW - timedelta(hours=1))) == []


def test_deleting_what_is_gone_is_no_error(face: MastodonFace, instance: Instance) -> None:
    status = instance.add("<p>Hello</p>", NOW)
    face.delete(status["id"])
    face.delete(status["id"])
    assert instance.statuses == []
    instance.refuse["DELETE", "/api/v1/statuses/5"] = Reply(403, {"error": "This action is not allowed"})
    with pytest.raises(FaceError):
        face.delete("5")


@pytest.mark.parametrize("batches", [True, False], ids=["in one batch", "an older server"])
def test_reactions_leave_out_what_was_not_given(face: MastodonFace, instance: Instance, batches: bool) -> None:
    one, two = instance.add("<p>1</p>", NOW, likes=7), instance.add("<p>2</p>", NOW)
    if not batches:
        instance.refuse["GET", "/api/v1/statuses"] = Reply(404, {"error": "Not found"})
    found = face.metrics([one["id"], two["id"], "99"])
    assert found["99"] is None
    assert [(r.metrics, r.followers) for r in (found[one["id"]], found[two["id"]]) if r] == [
        ({"likes": 7, "shares": 1}, 250),
        ({"likes": 0, "shares": 1}, 250),
    ]


def test_history_is_oldest_first_over_all_pages(face: MastodonFace, instance: Instance) -> None:
    for number in range(5):
        instance.add(f"<p>Post {number}</p><p>More</p>", NOW + timedelta(minutes=number))
    assert [post.text for post in face.history(None)] == [f"Post {n}\n\nMore" for n in range(5)]
    assert [post.text[:6] for post in face.history(NOW + timedelta(minutes=3))] == ["Post 3", "Post 4"]


def test_mentions_are_the_inbox(face: MastodonFace, instance: Instance) -> None:
    status = instance.add("<p>@kilroy hello?</p>", NOW)
    instance.mentions = [{"id": "5", "created_at": status["created_at"], "status": status}]
    assert [(post.text, post.author) for post in face.inbox(None)] == [("@kilroy hello?", "kilroy")]


@pytest.mark.parametrize(
    ("typed", "address"),
    [("mastodon.social", "https://mastodon.social"), ("https://Fosstodon.org/", "https://fosstodon.org")],
)
def test_an_instance_is_known_by_its_name(typed: str, address: str) -> None:
    assert instance_address(typed) == address


@pytest.mark.parametrize("typed", ["", "http://mastodon.social", "https://a@b.example", "mastodon.social/@me", "a:b:c"])
def test_what_is_no_instance_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        instance_address(typed)


def test_a_private_instance_is_never_asked(world: World, server: Loopback) -> None:
    with tenant(world.acme.pk):
        made = create_connection(
            "mastodon", "Inside", {"instance": f"https://127.0.0.1:{server.port}", "access_token": "right"}
        )
        with pytest.raises(FaceError, match="no public address"):
            check_connection(made.pk)
    assert server.requests == []


def test_html_becomes_the_text_that_was_written() -> None:
    assert plain_text("<p>One<br>two &amp; three</p><p>Four</p>") == "One\ntwo & three\n\nFour"
    assert comparable("Hi  @bob@b.example\n\nbye") == "Hi @bob bye"
