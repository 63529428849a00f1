"""The Bluesky face against a network on loopback that answers as Bluesky's own PDS does (tests/servers)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import regex

from accounts import clock
from faces import counting
from faces.contract import FaceError, OutgoingImage, OutgoingPost, Parent
from faces.keys import new_key
from faces.kinds.bluesky.face import BlueskyFace
from faces.models import Connection
from faces.services import check_connection
from tests.faces.bluesky.fake import FakeBluesky, did_of
from tests.faces.loopback import Loopback, Reply
from tests.factories import PNG

PUT = "/xrpc/com.atproto.repo.putRecord"
ME, BOB = did_of("kilroy.test"), did_of("bob.test")
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")
OTHER_WRITES: dict[str, Callable[[BlueskyFace], Any]] = {
    "uploadBlob": lambda face: face.publish(OutgoingPost("Hello", (IMAGE,)), new_key()),
    "deleteRecord": lambda face: face.delete(f"at://{ME}/app.bsky.feed.post/3lcxxxxxxxx22"),
}


def _say(network: FakeBluesky, handle: str, text: str, to: str = "", minutes: int = 0, **more: Any) -> str:
    """Somebody's post, `minutes` from now."""
    account, number = network.accounts[handle], network.commits
    record = {"text": text, "createdAt": (clock.now() + timedelta(minutes=minutes)).isoformat(), **more}
    if to:
        above = network.view(to)
        assert above is not None
        parent = {"uri": to, "cid": above["cid"]}
        record["reply"] = {"root": above["record"].get("reply", {}).get("root", parent), "parent": parent}
    return str(network._store(account, "app.bsky.feed.post", f"3lcxxxxxxxx{number:02d}"[:13], record)["uri"])


def test_checking_sets_the_label_with_the_owners_consent(connection: Connection, network: FakeBluesky) -> None:
    profile = ("app.bsky.actor.profile", "self")
    kept = {"$type": profile[0], "displayName": "Kilroy", "labels": {"values": [{"val": "!no-unauthenticated"}]}}
    network._store(network.accounts["kilroy.test"], *profile, kept)
    found = check_connection(connection.pk)
    assert (found.account, found.ok) == ("@kilroy.test", True)
    now = network.accounts["kilroy.test"].records[profile]["value"]
    assert now["displayName"] == "Kilroy"
    assert [label["val"] for label in now["labels"]["values"]] == ["!no-unauthenticated", "bot"]
    commits = network.commits
    check_connection(connection.pk)
    assert network.commits == commits


def test_without_consent_a_missing_label_is_told(connection: Connection, network: FakeBluesky) -> None:
    Connection.objects.update(settings=connection.settings | {"label_account": False})
    found = check_connection(connection.pk)
    assert (found.ok, network.commits) == (False, 0)
    assert "automated" in Connection.objects.get().problem


def test_one_key_twice_leaves_one_post(face: BlueskyFace, network: FakeBluesky, server: Loopback) -> None:
    key = new_key()
    first = face.publish(OutgoingPost("Hello @bob.test"), key)
    network.accounts["bob.test"].handle = "robert.test"  # the mention no longer resolves: other bytes
    second = face.publish(OutgoingPost("Hello @bob.test"), key)
    assert first == second
    assert (network.commits, len(network.posts())) == (1, 1)
    assert first.remote_id.startswith(f"at://{ME}/app.bsky.feed.post/")
    assert first.url == f"https://bsky.app/profile/{ME}/post/{first.remote_id.rpartition('/')[2]}"
    assert abs((first.at - clock.now()).total_seconds()) < 60
    assert [found.remote_id for found in face.find(key, OutgoingPost("Hello @bob.test"), first.at)] == [first.remote_id]
    assert list(face.find(new_key(), OutgoingPost("Hello @bob.test"), first.at)) == []


def test_a_record_as_bluesky_wants_it(face: BlueskyFace, network: FakeBluesky) -> None:
    images = (OutgoingImage(PNG, "image/png", "A red pixel"), OutgoingImage(PNG, "image/png", "Another"))
    face.publish(OutgoingPost("Look, @bob.test", images), new_key())
    (post,) = network.posts()
    assert datetime.fromisoformat(post.pop("createdAt")).tzinfo is not None
    blob = post["embed"]["images"][0]["image"]
    assert network.blobs[blob["ref"]["$link"]] == (PNG, "image/png")
    assert post == {
        "$type": "app.bsky.feed.post",
        "text": "Look, @bob.test",
        "langs": ["en", "de"],
        "facets": [
            {
                "index": {"byteStart": 6, "byteEnd": 15},
                "features": [{"$type": "app.bsky.richtext.facet#mention", "did": BOB}],
            }
        ],
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [{"image": blob, "alt": "A red pixel"}, {"image": blob, "alt": "Another"}],
        },
    }


def test_a_reply_names_its_thread(face: BlueskyFace, network: FakeBluesky) -> None:
    root = _say(network, "bob.test", "What?")
    middle = face.publish(OutgoingPost("This.", reply_to=root), new_key())
    face.publish(OutgoingPost("And that.", reply_to=middle.remote_id), new_key())
    first, second = network.posts()
    assert first["reply"]["root"] == first["reply"]["parent"] == {"uri": root, "cid": network.view(root)["cid"]}  # type: ignore[index]
    assert (second["reply"]["root"]["uri"], second["reply"]["parent"]["uri"]) == (root, middle.remote_id)


def test_a_reply_to_what_is_gone_is_refused_unsent(face: BlueskyFace, server: Loopback) -> None:
    with pytest.raises(FaceError, match="gone") as caught:
        face.publish(OutgoingPost("This.", reply_to=f"at://{BOB}/app.bsky.feed.post/3lcxxxxxxxx22"), new_key())
    assert (caught.value.permanent, caught.value.sent, server.count("POST", PUT)) == (True, False, 0)


@pytest.mark.parametrize("method", ["com.atproto.repo.uploadBlob", "com.atproto.identity.resolveHandle"])
@pytest.mark.parametrize("answer", [Reply(500, {"error": "InternalServerError"}), Reply(cut=True)])
def test_what_fails_before_the_post_proves_that_it_was_not_sent(
    face: BlueskyFace, network: FakeBluesky, server: Loopback, method: str, answer: Reply
) -> None:
    network.refuse[method] = answer
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("Hi @bob.test", (OutgoingImage(PNG, "image/png", "A red pixel"),)), new_key())
    assert (caught.value.permanent, caught.value.sent, server.count("POST", PUT)) == (False, False, 0)


@pytest.mark.parametrize(
    ("answer", "permanent", "sent"),
    [
        (Reply(500, {"error": "InternalServerError"}), False, True),
        (Reply(502, raw=b"<html>Bad gateway</html>"), False, True),
        (Reply(200, raw=b"<html>Maintenance</html>"), False, True),
        (Reply(200, {}), False, True),
        (Reply(cut=True), False, True),
        (Reply(400, {"error": "InvalidRequest", "message": "no"}), True, False),
        (Reply(413, {"error": "PayloadTooLarge"}), True, False),
        (Reply(401, {"error": "AuthMissing"}), False, False),
    ],
    ids=["500", "502", "200 HTML", "200 empty", "cut", "400", "413", "401"],
)
def test_one_attempt_is_one_request_and_says_what_it_proves(
    face: BlueskyFace, network: FakeBluesky, server: Loopback, answer: Reply, permanent: bool, sent: bool
) -> None:
    network.refuse["com.atproto.repo.putRecord"] = answer
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("Hello"), new_key())
    assert (caught.value.permanent, caught.value.sent, caught.value.credentials) == (permanent, sent, False)
    assert server.count("POST", PUT) == 1


@pytest.mark.parametrize("method", OTHER_WRITES)
@pytest.mark.parametrize("status", [500, 502, 503, 408, 429, 400, 302, 0])
def test_other_writes_are_one_request_too(
    face: BlueskyFace, network: FakeBluesky, server: Loopback, method: str, status: int
) -> None:
    network.refuse[f"com.atproto.repo.{method}"] = Reply(status) if status else Reply(cut=True)
    with pytest.raises(FaceError):
        OTHER_WRITES[method](face)
    assert (server.count("POST", f"/xrpc/com.atproto.repo.{method}"), server.count("POST", PUT)) == (1, 0)


def test_a_replay_whose_first_result_cannot_be_read_stays_unknown(face: BlueskyFace, network: FakeBluesky) -> None:
    key = new_key()
    face.publish(OutgoingPost("Hello"), key)
    for answer in (Reply(503), Reply(400, {"error": "RecordNotFound"})):
        network.refuse["com.atproto.repo.getRecord"] = answer
        with pytest.raises(FaceError) as caught:
            face.publish(OutgoingPost("Hello"), key)
        assert (caught.value.permanent, caught.value.sent) == (False, True)


def test_a_limit_that_ends_in_an_hour_is_waited_for(face: BlueskyFace, network: FakeBluesky) -> None:
    reset = str(int(clock.now().timestamp()) + 3600)
    network.refuse["com.atproto.repo.putRecord"] = Reply(
        429, {"error": "RateLimitExceeded"}, {"RateLimit-Reset": reset, "RateLimit-Policy": "5000;w=3600"}
    )
    with pytest.raises(FaceError) as caught:
        face.publish(OutgoingPost("Hello"), new_key())
    assert caught.value.retry_after is not None
    assert 3590 <= caught.value.retry_after <= 3600
    assert (caught.value.permanent, caught.value.sent) == (False, False)


def test_what_is_too_long_is_known_before_and_refused_there(face: BlueskyFace) -> None:
    family = "👩‍👩‍👧‍👦"
    assert face.count(family * 3) == counting.graphemes(family * 3) == len(regex.findall(r"\X", family * 3)) == 3
    assert face.objection(OutgoingPost("x" * 300)) == ""
    assert "301 characters" in face.objection(OutgoingPost("x" * 301))
    assert "bytes" in face.objection(OutgoingPost(family * 121))
    assert face.objection(OutgoingPost(family * 120)) == ""
    assert [face.excess(text) for text in ("x" * 301, family * 120, family * 121)] == [1, 0, 25]
    assert "1 MB" in face.objection(OutgoingPost("x", (OutgoingImage(b"x" * 1_000_001, "image/png", "x"),)))
    with pytest.raises(FaceError, match="grapheme too big") as caught:
        face.publish(OutgoingPost("x" * 301), new_key())
    assert caught.value.permanent
    with pytest.raises(FaceError, match="string too big"):
        face.publish(OutgoingPost(family * 121), new_key())


def test_deleting_what_is_gone_is_no_error(face: BlueskyFace, network: FakeBluesky) -> None:
    published = face.publish(OutgoingPost("Hello"), new_key())
    face.delete(published.remote_id)
    face.delete(published.remote_id)
    assert network.posts() == []
    with pytest.raises(FaceError, match="no id of a post"):
        face.delete("https://bsky.app/profile/a/post/b")


def test_reactions_are_read_25_at_a_time(face: BlueskyFace, network: FakeBluesky, server: Loopback) -> None:
    ids = [face.publish(OutgoingPost(f"Post {n}"), new_key()).remote_id for n in range(30)]
    network.counts[ids[27]] = {"likeCount": 7, "repostCount": 2, "replyCount": 1, "quoteCount": 3}
    network.hidden.add(ids[3])
    face.delete(ids[4])
    found = face.metrics(ids)
    assert list(found) == ids
    liked, hidden = found[ids[27]], found[ids[3]]
    assert liked is not None
    assert (liked.metrics, liked.followers) == ({"likes": 7, "shares": 2, "comments": 1, "quotes": 3}, 250)
    assert hidden is not None
    assert hidden.metrics == {}  # on its server, but not (yet) where reactions are counted
    assert found[ids[4]] is None
    assert server.count("GET", "/xrpc/app.bsky.feed.getPosts") == 2


def test_without_an_appview_nobody_counts(face: BlueskyFace, network: FakeBluesky) -> None:
    published = face.publish(OutgoingPost("Hello"), new_key())
    network.has_appview = False
    with pytest.raises(FaceError, match="knows no AppView") as caught:
        face.metrics([published.remote_id])
    assert caught.value.permanent
    assert [(post.text, post.metrics) for post in face.history(None)] == [("Hello", {})]
    network.refuse["app.bsky.actor.getProfile"] = Reply(502, {"error": "UpstreamFailure"})
    with pytest.raises(FaceError, match="could not be reached") as caught:
        face.metrics([published.remote_id])
    assert not caught.value.permanent


def test_own_history_is_oldest_first_over_all_pages(face: BlueskyFace, network: FakeBluesky) -> None:
    ids = [face.publish(OutgoingPost(f"Post {n}"), f"key {n}").remote_id for n in range(120)]
    for n, (_, record) in enumerate(network.accounts["kilroy.test"].records.items()):
        record["value"]["createdAt"] = (clock.now() + timedelta(minutes=n)).isoformat()
    network.counts[ids[2]] = {"likeCount": 5}
    found = list(face.history(None))
    assert [post.text for post in found] == [f"Post {n}" for n in range(120)]
    assert (found[2].metrics["likes"], found[2].author, found[2].language) == (5, "kilroy.test", "en")
    assert [post.text for post in face.history(clock.now() + timedelta(minutes=117, seconds=30))] == [
        "Post 118",
        "Post 119",
    ]


def test_another_accounts_history(face: BlueskyFace, network: FakeBluesky) -> None:
    ids = [_say(network, "bob.test", f"Bob's {n}", minutes=n) for n in range(5)]
    network.counts[ids[1]] = {"likeCount": 5}
    found = list(face.history(None, "@bob.test"))
    assert [post.text for post in found] == [f"Bob's {n}" for n in range(5)]
    assert (found[1].metrics["likes"], found[1].author) == (5, "bob.test")


def test_mentions_and_replies_are_the_inbox_with_their_thread(face: BlueskyFace, network: FakeBluesky) -> None:
    mine = face.publish(OutgoingPost("I am here"), new_key()).remote_id
    asked = _say(network, "bob.test", "Why?", to=mine)
    mention = {"features": [{"$type": "app.bsky.richtext.facet#mention", "did": ME}]}
    called = _say(network, "bob.test", "@kilroy.test hello", facets=[mention], langs=["de"])
    gone = f"at://{BOB}/app.bsky.feed.post/3lcxxxxxxxx99"
    at = clock.now()
    network.notifications = [
        {"uri": uri, "reason": reason, "indexedAt": (at - timedelta(minutes=age)).isoformat()}
        for age, (uri, reason) in enumerate(
            [
                (called, "mention"),
                *[(mine, "like")] * 4,
                (asked, "reply"),
                (asked, "mention"),
                (gone, "reply"),
            ]
        )
    ]
    answer, hello = face.inbox(None)
    assert (answer.text, answer.author, answer.reply_to, answer.root_id) == ("Why?", "bob.test", mine, mine)
    assert (answer.depth, answer.parents) == (1, (Parent("kilroy.test", "I am here"),))
    assert (hello.text, hello.depth, hello.root_id, hello.language) == ("@kilroy.test hello", 0, called, "de")
    assert answer.summoned
    assert hello.summoned
    assert [post.text for post in face.inbox(at - timedelta(seconds=30))] == ["@kilroy.test hello"]


def test_a_hashtag_is_a_community(face: BlueskyFace, network: FakeBluesky) -> None:
    face.publish(OutgoingPost("My own #cats"), new_key())
    first = _say(network, "bob.test", "#cats are fine", minutes=1)
    _say(network, "bob.test", "so are more #cats", to=first, minutes=2)
    found = list(face.inbox(None, "#cats"))
    assert [(post.text, post.depth, post.summoned) for post in found] == [
        ("#cats are fine", 0, False),
        ("so are more #cats", 1, False),
    ]


def test_a_post_is_looked_up_as_it_is_now(face: BlueskyFace, network: FakeBluesky) -> None:
    profile = {"labels": {"values": [{"val": "bot"}]}}
    network._store(network.accounts["bob.test"], "app.bsky.actor.profile", "self", profile)
    root = _say(network, "bob.test", "One")
    reply = _say(network, "bob.test", "Two", to=root)
    found = face.look_up(reply)
    assert found is not None
    assert (found.depth, found.author_is_bot, found.summoned, found.closed) == (1, True, False, "")
    network.refuse["app.bsky.feed.getPostThread"] = Reply(
        data={"thread": {"post": {**(network.view(root) or {}), "viewer": {"replyDisabled": True}}}}
    )
    closed = face.look_up(root)
    assert closed is not None
    assert "only some people" in closed.closed
    network.refuse.clear()
    network.hidden.add(reply)
    assert face.look_up(reply) is None


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("com.atproto.repo.getRecord", lambda face, uri: face.find(new_key(), OutgoingPost(""), clock.now())),
        ("com.atproto.repo.listRecords", lambda face, uri: list(face.history(None))),
        ("app.bsky.feed.getPosts", lambda face, uri: face.metrics([uri])),
        ("app.bsky.feed.getPostThread", lambda face, uri: face.look_up(uri)),
        ("app.bsky.notification.listNotifications", lambda face, uri: list(face.inbox(None))),
    ],
)
@pytest.mark.parametrize("answer", [Reply(data={}), Reply(data=[]), Reply(raw=b"<html>Maintenance</html>")])
def test_an_answer_that_lacks_what_was_asked_is_an_error_and_not_nothing(
    face: BlueskyFace, network: FakeBluesky, method: str, verb: Callable[[BlueskyFace, str], Any], answer: Reply
) -> None:
    uri = face.publish(OutgoingPost("Hello"), new_key()).remote_id
    network.refuse[method] = answer
    with pytest.raises(FaceError) as caught:
        verb(face, uri)
    assert not caught.value.permanent


def test_a_post_is_as_old_as_the_earlier_of_what_its_author_and_its_server_say(
    face: BlueskyFace, network: FakeBluesky
) -> None:
    for name, minutes in (("dated ahead", 90), ("dated back", -90)):
        _say(network, "bob.test", name, minutes=minutes)
    at = {post.text: post.at - clock.now() for post in face.history(None, "bob.test")}
    assert abs(at["dated ahead"]) < timedelta(minutes=1)
    assert abs(at["dated back"] + timedelta(minutes=90)) < timedelta(minutes=1)
