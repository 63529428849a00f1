"""What the Mastodon face reads: threads, other accounts, hashtags, one post before it is answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from faces.contract import FaceError, Parent
from faces.kinds.mastodon import statuses
from faces.kinds.mastodon.face import MastodonFace
from tests.faces.loopback import Loopback, Reply
from tests.faces.mastodon.instance import NOW, Instance

ANN = {"id": "2", "acct": "ann@b.example", "bot": False}
ROBOT = {"id": "3", "acct": "robot@b.example", "bot": True}


def mention(instance: Instance, content: str, **fields: Any) -> dict[str, Any]:
    """A status by Ann that mentions the account, and its notification."""
    status = instance.add(content, account=ANN, mentions=[{"id": "1", "acct": "kilroy"}], language="en", **fields)
    instance.mentions.insert(0, {"id": status["id"], "created_at": status["created_at"], "status": status})
    return status


def test_a_mention_comes_with_its_thread(face: MastodonFace, instance: Instance) -> None:
    root = instance.add("<p>Root</p>")
    middle = instance.add("<p>Middle</p>", account=ANN, in_reply_to_id=root["id"])
    last = mention(instance, "<p>@kilroy why?</p>", in_reply_to_id=middle["id"], in_reply_to_account_id="2")
    instance.contexts[last["id"]] = [root, middle]
    (post,) = face.inbox(None)
    assert (post.text, post.author, post.author_is_bot, post.language) == ("@kilroy why?", "ann@b.example", False, "en")
    assert (post.reply_to, post.root_id, post.depth) == (middle["id"], root["id"], 2)
    assert post.parents == (Parent("kilroy", "Root"), Parent("ann@b.example", "Middle"))
    assert (post.summoned, post.closed, post.is_repost) == (True, "", False)


def test_a_post_that_starts_a_thread_costs_no_call_for_it(
    face: MastodonFace, instance: Instance, server: Loopback
) -> None:
    status = mention(instance, "<p>@kilroy hello</p>")
    (post,) = face.inbox(None)
    assert (post.root_id, post.depth, post.reply_to) == (status["id"], 0, "")
    assert [request.path for request in server.requests if "context" in request.path] == []


def test_threads_are_read_for_the_newest_only(
    face: MastodonFace, instance: Instance, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "MOST_CONTEXTS", 2)
    root = instance.add("<p>Root</p>")
    made = [mention(instance, f"<p>{n}</p>", in_reply_to_id=root["id"]) for n in range(4)]
    for status in made:
        instance.contexts[status["id"]] = [root]
    posts = list(face.inbox(None))
    assert [post.text for post in posts] == ["0", "1", "2", "3"]
    assert [len(post.parents) for post in posts] == [0, 0, 1, 1]
    assert [(post.depth, post.root_id) for post in posts] == [(1, root["id"])] * 4
    assert sum("context" in request.path for request in server.requests) == 2


def test_a_thread_whose_posts_are_gone_leaves_the_post_as_it_is(face: MastodonFace, instance: Instance) -> None:
    status = mention(instance, "<p>And now?</p>", in_reply_to_id="77")
    instance.refuse["GET", f"/api/v1/statuses/{status['id']}/context"] = Reply(404, {"error": "Record not found"})
    (post,) = face.inbox(None)
    assert (post.reply_to, post.depth, post.parents) == ("77", 1, ())


@pytest.mark.parametrize(("visibility", "closed"), [("direct", True), ("private", True), ("public", False)])
def test_what_was_said_in_private_is_not_answered_in_public(
    face: MastodonFace, instance: Instance, visibility: str, closed: bool
) -> None:
    mention(instance, "<p>Psst</p>", visibility=visibility)
    (post,) = face.inbox(None)
    assert bool(post.closed) == closed


def test_a_hashtag_is_a_community(face: MastodonFace, instance: Instance) -> None:
    own = instance.add("<p>Mine #cats</p>", NOW)
    theirs = instance.add("<p>Theirs #cats</p>", NOW + timedelta(minutes=1), account=ROBOT)
    instance.tags["cats"] = [theirs, own]
    (post,) = face.inbox(None, "#cats")
    assert (post.text, post.community, post.summoned, post.author_is_bot) == ("Theirs #cats", "cats", False, True)
    assert list(face.inbox(NOW + timedelta(hours=1), "cats")) == []


def test_a_hashtag_has_no_end_and_is_not_read_to_it(face: MastodonFace, instance: Instance, server: Loopback) -> None:
    instance.tags["cats"] = [instance.add(f"<p>{n}</p>", account=ANN) for n in range(40)][::-1]
    assert len(list(face.inbox(None, "cats"))) == 10  # 5 pages of 2
    assert server.count("GET", "/api/v1/timelines/tag/cats") == 5


def test_a_hashtag_stays_within_its_address(face: MastodonFace, server: Loopback) -> None:
    assert list(face.inbox(None, "../../accounts/verify_credentials")) == []
    assert server.requests[0].path == "/api/v1/timelines/tag/..%2F..%2Faccounts%2Fverify_credentials"


def test_another_accounts_posts(face: MastodonFace, instance: Instance) -> None:
    instance.add("<p>Mine</p>")
    instance.add("<p>Bob's</p>", account={"id": "2", "acct": "bob@b.example"}, spoiler_text="Cheese")
    assert [post.text for post in face.history(None, "@bob@b.example")] == ["Cheese\n\nBob's"]
    assert [post.text for post in face.history(None)] == ["Mine"]
    with pytest.raises(FaceError, match="knows no account nobody"):
        face.history(None, "nobody@b.example")


def test_one_post_as_it_is_now(face: MastodonFace, instance: Instance) -> None:
    root = instance.add("<p>Root</p>")
    answer = instance.add("<p>Answer</p>", account=ANN, in_reply_to_id=root["id"], in_reply_to_account_id="1")
    instance.contexts[answer["id"]] = [root]
    post = face.look_up(answer["id"])
    assert post is not None
    assert (post.text, post.summoned, post.parents) == ("Answer", True, (Parent("kilroy", "Root"),))
    assert face.look_up("99999") is None
