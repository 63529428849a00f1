"""What only the whole network can answer: counts, threads, the inbox, other people's posts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from faces.contract import FaceError, OutgoingPost, Parent
from faces.keys import new_key
from faces.services import check_connection
from tests.servers.bluesky.conftest import Connect
from tests.servers.bluesky.servers import Servers

pytestmark = pytest.mark.servers
POST = "app.bsky.feed.post"
PATIENCE = 30.0
Found = TypeVar("Found")


def _wait_for(what: Callable[[], Found], wanted: Callable[[Found], Any]) -> Found:
    """The AppView hears of what was written a little later."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = what()
            if wanted(found) or time.monotonic() > deadline:
                return found
        except FaceError:  # a fresh account has no profile there yet
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def test_likes_reposts_replies_and_quotes_are_counted(network: Servers, connect: Connect) -> None:
    face, bob = connect(network, "kilroy.test"), network.person("bob.test")
    published = face.publish(OutgoingPost("Like this"), new_key())
    other = face.publish(OutgoingPost("And not this"), new_key())
    gone = face.publish(OutgoingPost("Not this either"), new_key())
    face.delete(gone.remote_id)
    here = {"uri": published.remote_id, "cid": next(iter(_cids(network, published.remote_id)))}
    bob.create("app.bsky.feed.like", subject=here)
    bob.create("app.bsky.feed.repost", subject=here)
    bob.create(POST, text="Yes", reply={"root": here, "parent": here})
    bob.create(POST, text="Look", embed={"$type": "app.bsky.embed.record", "record": here})
    bob.create("app.bsky.graph.follow", subject=network.person("kilroy.test").did)
    asked = [published.remote_id, other.remote_id, gone.remote_id]
    whole = {"likes": 1, "shares": 1, "comments": 1, "quotes": 1}

    def fresh() -> dict[str, Any]:
        del face.__dict__["_followers"]
        return face.metrics(asked)

    face.__dict__["_followers"] = None
    found = _wait_for(fresh, lambda f: f[asked[0]] and f[asked[0]].metrics == whole and f[asked[0]].followers == 1)
    assert found[asked[0]].metrics == whole
    assert found[asked[0]].followers == 1
    assert set(found[asked[1]].metrics.values()) <= {0}
    assert found[asked[2]] is None
    history = {post.text: post.metrics for post in face.history(None)}
    assert history["Like this"]["likes"] == 1


def _cids(network: Servers, uri: str) -> list[str]:
    repo, collection, rkey = uri.removeprefix("at://").split("/")
    record = network.person("bob.test").get("com.atproto.repo.getRecord", repo=repo, collection=collection, rkey=rkey)
    return [record["cid"]]


def test_the_inbox_holds_mentions_and_replies_with_their_thread(network: Servers, connect: Connect) -> None:
    face, carol = connect(network, "asked.test"), network.person("carol.test")
    check_connection(face.connection.pk)
    me = network.person("asked.test").did
    mine = face.publish(OutgoingPost("I am here"), new_key())
    here = {"uri": mine.remote_id, "cid": next(iter(_cids(network, mine.remote_id)))}
    # The AppView reads accounts side by side: it tells nobody of an answer to what it does not know yet.
    _wait_for(lambda: face.look_up(mine.remote_id), bool)
    reply = carol.create(POST, text="Why?", reply={"root": here, "parent": here}, langs=["de"])
    mention = {"$type": "app.bsky.richtext.facet#mention", "did": me}
    facet = {"index": {"byteStart": 0, "byteEnd": 11}, "features": [mention]}
    carol.create(POST, text="@asked.test hello", facets=[facet])
    found = _wait_for(lambda: list(face.inbox(None)), lambda posts: len(posts) == 2)
    assert {post.text for post in found} == {"Why?", "@asked.test hello"}
    answer = next(post for post in found if post.text == "Why?")
    hello = next(post for post in found if post.text == "@asked.test hello")
    assert (answer.remote_id, answer.author, answer.root_id) == (reply["uri"], "carol.test", mine.remote_id)
    assert (answer.depth, answer.parents, answer.language) == (1, (Parent("asked.test", "I am here"),), "de")
    assert (answer.summoned, hello.summoned, hello.depth, answer.author_is_bot) == (True, True, 0, False)
    seen = face.look_up(answer.remote_id)
    assert seen is not None
    assert (seen.parents, seen.closed) == (answer.parents, "")
    face.publish(OutgoingPost("Because.", reply_to=answer.remote_id), new_key())
    carol.post("com.atproto.repo.deleteRecord", repo=carol.did, collection=POST, rkey=reply["uri"].rpartition("/")[2])
    assert _wait_for(lambda: face.look_up(answer.remote_id), lambda post: post is None) is None


def test_another_accounts_posts_and_its_label(network: Servers, connect: Connect) -> None:
    labelled, face = connect(network, "marked.test"), connect(network, "peruser.test")
    check_connection(labelled.connection.pk)
    for number in range(3):
        labelled.publish(OutgoingPost(f"Post {number}"), new_key())
    found = _wait_for(
        lambda: list(face.history(None, "marked.test")),
        lambda posts: len(posts) == 3 and posts[0].author_is_bot,
    )
    assert [post.text for post in found] == ["Post 0", "Post 1", "Post 2"]
    assert all(post.author_is_bot for post in found)
