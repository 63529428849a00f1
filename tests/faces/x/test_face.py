"""The X face against a stand-in that keeps X's published rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import clock
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.x import face as module
from faces.kinds.x.face import XFace
from faces.models import Connection
from faces.services import check_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.x.fake import FakeX
from tests.factories import PNG

NOW = datetime.now(UTC).replace(microsecond=0)
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")


def test_checking_finds_the_account_and_what_is_in_place(connection: Connection, x: FakeX) -> None:
    found = check_connection(connection.pk)
    row = Connection.objects.get()
    assert (found.ok, row.state, row.account) == (True, "connected", "@kilroy")
    assert row.settings == {"client_id": "app", "automated": True, "user_id": "11"}
    assert any("media.write" in line for line in found.present)


def test_checking_names_the_scopes_that_were_not_allowed(connection: Connection, face: XFace) -> None:
    face._secrets["scope"] = "tweet.read users.read"
    (missing,) = face.verify().missing
    assert "tweet.write, offline.access, media.write" in missing


def test_the_label_is_the_owners_word(connection: Connection, x: FakeX) -> None:
    connection.settings["automated"] = False
    connection.save()
    assert not check_connection(connection.pk).ok
    assert "“Automated”" in Connection.objects.get().problem


def test_a_connection_that_nobody_has_allowed_yet_says_so(connection: Connection, x: FakeX) -> None:
    connection.credentials = ""
    connection.save()
    with pytest.raises(FaceError, match="Nobody has allowed") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials
    assert x.requests.total() == 0


def test_a_post_is_published_once_and_named_by_its_id(face: XFace, x: FakeX, server: Loopback) -> None:
    made = face.publish(OutgoingPost("Hello <world> & all"), "key")
    assert x.texts("kilroy") == ["Hello <world> & all"]
    assert list(x.posts) == [made.remote_id]
    assert made.url == f"https://x.com/i/status/{made.remote_id}"
    assert abs(made.at - datetime.now(UTC)) < timedelta(seconds=10)
    (request,) = server.requests
    assert (request.headers["authorization"], request.json) == (
        "Bearer token-of-kilroy",
        {"text": "Hello <world> & all"},
    )


def test_a_reply_with_an_image_and_its_alternative_text(face: XFace, x: FakeX) -> None:
    asked = x.add_post("alice", "@kilroy what?")
    made = face.publish(OutgoingPost("This.", (IMAGE,), reply_to=asked["id"]), "key")
    assert x.posts[made.remote_id]["referenced_tweets"] == [{"type": "replied_to", "id": asked["id"]}]
    ((media_id, media),) = x.media.items()
    assert media == {"bytes": PNG, "category": "tweet_image", "alt_text": "A red pixel"}
    assert x.posts[made.remote_id]["entities"]["urls"][-1]["media_key"] == f"3_{media_id}"


def test_a_moving_image_is_published_once_x_has_looked_at_it(
    face: XFace, x: FakeX, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    face.publish(OutgoingPost("Look", (OutgoingImage(b"GIF89a", "image/gif", ""),)), "key")
    assert waited == [1.0]
    assert x.requests["GET", "/2/media/upload"] == 1
    assert x.requests["POST", "/2/media/metadata"] == 0


def test_a_thread_hangs_together(face: XFace, x: FakeX) -> None:
    first = face.publish(OutgoingPost("One"), "key-1")
    second = face.publish(OutgoingPost("Two", reply_to=first.remote_id), "key-2")
    found = face.look_up(second.remote_id)
    assert found is not None
    assert (found.root_id, found.depth, [parent.text for parent in found.parents]) == (first.remote_id, 1, ["One"])


@pytest.mark.parametrize(
    "text",
    [
        "Plain",
        "A <b> & “c” 😀",
        "See https://example.org/a?b=c&d=e/, or example.com.",
        "Two\n\n\nlines ",
        "Cafe\u0301",
        "@alice hello",
    ],
)
def test_what_was_published_is_found_again_by_its_text(face: XFace, x: FakeX, text: str) -> None:
    x.add_post("kilroy", "Another")
    made = face.publish(OutgoingPost(text), "key")
    x.add_post("kilroy", "And another")
    assert [found.remote_id for found in face.find("key", OutgoingPost(text), NOW)] == [made.remote_id]


def test_a_published_reply_with_an_image_is_found_again(face: XFace, x: FakeX) -> None:
    asked = x.add_post("alice", "@kilroy what?")
    post = OutgoingPost("This: https://example.org/", (IMAGE,), reply_to=asked["id"])
    made = face.publish(post, "key")
    x.add_post("kilroy", "This: https://example.org/")
    assert [found.remote_id for found in face.find("key", post, NOW)] == [made.remote_id]


def test_an_older_post_with_the_same_text_is_not_taken_for_it(face: XFace, x: FakeX) -> None:
    x.add_post("kilroy", "Good morning", NOW - timedelta(days=1))
    assert list(face.find("key", OutgoingPost("Good morning"), NOW - timedelta(hours=1))) == []


def test_the_same_words_to_somebody_else_are_another_post(face: XFace, x: FakeX) -> None:
    x.add_post("kilroy", "@alice good morning")
    assert list(face.find("key", OutgoingPost("@bob good morning"), NOW - timedelta(hours=1))) == []
    x.add_post("kilroy", "good morning", reply_to=x.add_post("alice", "Hello")["id"])
    assert list(face.find("key", OutgoingPost("good morning"), NOW - timedelta(hours=1))) == []


def test_an_alternative_text_that_was_not_taken_stops_the_post(face: XFace, x: FakeX) -> None:
    x.refuse["POST", "/2/media/metadata"] = Reply(200, {"errors": [{"detail": "Not yours."}]})
    with pytest.raises(FaceError, match="Not yours") as caught:
        face.publish(OutgoingPost("This.", (IMAGE,)), "key")
    assert (caught.value.permanent, caught.value.sent, x.posts) == (True, False, {})


def test_deleting_what_is_gone_is_no_error(face: XFace, x: FakeX) -> None:
    post = x.add_post("kilroy", "Hello")
    face.delete(post["id"])
    face.delete(post["id"])
    assert x.posts == {}
    with pytest.raises(FaceError, match="not authorized"):
        face.delete(x.add_post("alice", "Mine")["id"])


def test_only_what_x_says_is_gone_counts_as_gone(face: XFace, x: FakeX) -> None:
    one = x.add_post("kilroy", "One", like_count=7, retweet_count=2, impression_count=90)
    two = x.add_post("kilroy", "Two")
    del two["public_metrics"]["impression_count"]
    hidden = x.add_post("kilroy", "Three")["id"]
    told = {"resource_id": hidden, "type": "https://api.x.com/2/problems/resource-unavailable", "detail": "Later."}
    x.withheld[hidden] = told
    found = face.metrics([one["id"], two["id"], "99999", hidden])
    assert found["99999"] is None
    read = {name: (reading.metrics, reading.followers) for name, reading in found.items() if reading}
    assert read == {
        one["id"]: (
            {"likes": 7, "shares": 2, "comments": 0, "quotes": 0, "bookmarks": 0, "impressions": 90},
            250,
        ),
        two["id"]: ({"likes": 0, "shares": 0, "comments": 0, "quotes": 0, "bookmarks": 0}, 250),
        hidden: ({}, None),
    }


def test_the_renamed_fields_are_read_as_well(face: XFace, x: FakeX, server: Loopback) -> None:
    post = {"id": "5", "text": "x", "author_id": "11", "public_metrics": {"repost_count": 3}}
    server.answer = lambda request: Reply(data={"data": [post]})
    (reading,) = face.metrics(["5"]).values()
    assert reading is not None
    assert reading.metrics == {"shares": 3}
    above = {"id": "4", "text": "Above", "author_id": "11"}
    post |= {"referenced_posts": [{"type": "replied_to", "id": "4"}], "conversation_id": "4"}
    server.answer = lambda request: Reply(data={"data": post, "includes": {"posts": [above]}})
    face.connection.settings["user_id"] = "11"
    found = face.look_up("5")
    assert found is not None
    assert (found.reply_to, found.root_id, found.parents[0].text) == ("4", "4", "Above")


def test_reactions_are_read_by_hundreds(face: XFace, x: FakeX) -> None:
    ids = [x.add_post("kilroy", f"Post {n}")["id"] for n in range(150)]
    assert list(face.metrics(ids)) == ids
    assert x.requests["GET", "/2/tweets"] == 2


def test_history_is_oldest_first_over_all_pages_without_reposts(face: XFace, x: FakeX) -> None:
    x.page = 2
    for number in range(5):
        x.add_post("kilroy", f"Post {number} & more", NOW + timedelta(minutes=number))
    x.add_post("kilroy", "RT @alice: hers", NOW + timedelta(minutes=9), repeats="1")
    assert [post.text for post in face.history(None)] == [f"Post {n} & more" for n in range(5)]
    since = NOW + timedelta(minutes=3, microseconds=5)
    assert [post.text[:6] for post in face.history(since)] == ["Post 3", "Post 4"]


def test_a_long_history_is_read_in_spans_so_that_what_is_older_is_had_and_paid_for_first(
    face: XFace, x: FakeX, server: Loopback
) -> None:
    start = clock.now() - timedelta(days=900)
    for number in range(450):
        x.add_post("kilroy", f"Post {number}", start + timedelta(hours=number))
    posts = iter(face.history(None))
    first = [next(posts).text for _ in range(100)]
    asked = x.requests["GET", "/2/users/11/tweets"]
    assert first == [f"Post {n}" for n in range(100)]
    server.answer = lambda request: Reply(429, {}, {"retry-after": "900"})
    with pytest.raises(FaceError):
        list(posts)
    server.answer = x.answer
    assert [post.text for post in face.history(start + timedelta(hours=99))] == [f"Post {n}" for n in range(99, 450)]
    assert asked < 40  # fourteen years without a post included


def test_another_accounts_posts_can_be_read(face: XFace, x: FakeX) -> None:
    x.add_post("kilroy", "Ours")
    x.add_post("alice", "Hers", like_count=4)
    (post,) = face.history(None, "@alice")
    assert (post.text, post.author, post.metrics["likes"]) == ("Hers", "alice", 4)
    with pytest.raises(FaceError, match=r"\[nobody\]") as caught:
        list(face.history(None, "nobody"))
    assert caught.value.permanent


def test_the_inbox_holds_mentions_with_their_threads(face: XFace, x: FakeX) -> None:
    root = x.add_post("kilroy", "Our post", NOW)
    first = x.add_post("alice", "Is it so?", NOW + timedelta(minutes=1), reply_to=root["id"])
    x.add_post("kilroy", "@kilroy talks to itself", NOW + timedelta(minutes=2))
    deep = x.add_post("alice", "@kilroy Well?", NOW + timedelta(minutes=3), reply_to=first["id"])
    x.add_post("alice", "Nobody is named here", NOW + timedelta(minutes=4))
    one, two = face.inbox(None)
    assert (one.remote_id, one.author, one.text) == (first["id"], "alice", "@kilroy Is it so?")
    assert (one.root_id, one.reply_to, one.depth, one.summoned) == (root["id"], root["id"], 1, True)
    assert [(parent.author, parent.text) for parent in one.parents] == [("kilroy", "Our post")]
    assert (two.remote_id, two.root_id, two.depth, two.language) == (deep["id"], root["id"], 2, "en")
    assert [post.remote_id for post in face.inbox(NOW + timedelta(minutes=3))] == [deep["id"]]


def test_looking_a_post_up_walks_its_thread_to_the_top(face: XFace, x: FakeX) -> None:
    above = x.add_post("alice", "0")
    for number in range(1, 5):
        above = x.add_post("alice", str(number), reply_to=above["id"])
    found = face.look_up(above["id"])
    assert found is not None
    assert ([parent.text for parent in found.parents], found.depth) == (["0", "1", "2", "3"], 4)
    assert not found.summoned


def test_looking_up_tells_the_gone_from_the_hidden(face: XFace, x: FakeX) -> None:
    assert face.look_up("99999") is None
    hidden = x.add_post("alice", "Private")["id"]
    told = "Sorry, you are not authorized to see the Tweet."
    x.withheld[hidden] = {"resource_id": hidden, "type": "…/not-authorized-for-resource", "detail": told}
    found = face.look_up(hidden)
    assert found is not None
    assert (found.closed, found.text) == (told, "")


def test_the_id_of_the_account_is_asked_for_once(connection: Connection, x: FakeX) -> None:
    check_connection(connection.pk)
    connection.refresh_from_db()
    XFace(connection).history(None)
    assert x.requests["GET", "/2/users/me"] == 1


@pytest.mark.parametrize(
    ("post", "told"),
    [
        (OutgoingPost("x" * 280), ""),
        (OutgoingPost("x" * 281), "281 characters"),
        (OutgoingPost("界" * 141), "282 characters"),
        (OutgoingPost("👩‍👩‍👧‍👦" * 140), ""),
        (OutgoingPost("x" * 256 + " https://example.org/" + "y" * 100), ""),
        (OutgoingPost("a\ufeffb"), "U+FEFF"),
        (OutgoingPost("a\uffffb"), "U+FFFF"),
        (OutgoingPost("a\ufffeb"), "U+FFFE"),
        (OutgoingPost("$ABC costs $5"), ""),
        (OutgoingPost("$ABC and $XYZ"), "one cashtag"),
        (OutgoingPost("", (OutgoingImage(b"x", "image/gif", ""), IMAGE)), "GIF only alone"),
        (OutgoingPost("", (OutgoingImage(b"x" * (5 * 2**20 + 1), "image/png", ""),)), "5 MB"),
        (OutgoingPost("", (OutgoingImage(b"x", "image/png", "y" * 1001),)), "1000 characters"),
    ],
)
def test_what_x_would_never_take_is_known_beforehand(face: XFace, x: FakeX, post: OutgoingPost, told: str) -> None:
    assert (told in face.objection(post)) if told else (face.objection(post) == "")
    assert x.requests.total() == 0


@pytest.mark.parametrize(
    ("post", "price"),
    [
        (OutgoingPost("Hello"), 15_000),
        (OutgoingPost("See https://example.org"), 200_000),
        (OutgoingPost("See example.org"), 200_000),
        (OutgoingPost("Hello", (IMAGE, IMAGE)), 25_000),
    ],
)
def test_what_a_post_costs(face: XFace, post: OutgoingPost, price: int) -> None:
    assert face.price(post) == price
    assert face.read_price(["1", "2"]) == 10_000


def test_x_may_not_be_learnt_from(connection: Connection) -> None:
    assert not connection.may_learn
    assert (connection.capabilities.label, connection.capabilities.replies) == ("checked", "summoned")


def test_the_token_never_gets_into_the_log(face: XFace, x: FakeX, caplog: Any) -> None:
    with caplog.at_level("DEBUG"):
        face.publish(OutgoingPost("Hello"), "key")
    assert "tweepy" in caplog.text
    assert "token-of-kilroy" not in caplog.text
