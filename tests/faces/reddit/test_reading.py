"""What the Reddit face reads: reactions, histories, the inbox, communities and threads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from faces.contract import FaceError, Parent
from faces.kinds.reddit import things
from faces.kinds.reddit.client import children
from faces.kinds.reddit.face import RedditFace
from tests.faces.loopback import Loopback, Reply
from tests.faces.reddit.fake import ME, FakeReddit

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_reactions_come_a_hundred_at_a_time(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    names = [reddit.add("t3", score=n, upvote_ratio=0.915, num_comments=2)["name"] for n in range(101)]
    removed = reddit.add("t3", removed_by_category="moderator")["name"]
    deleted = reddit.add("t1", body="[deleted]", author="[deleted]")["name"]
    comment = reddit.add("t1", score=-4, num_comments=99)["name"]
    hidden = reddit.add("t1", score=1, score_hidden=True)["name"]
    found = face.metrics([*names, removed, deleted, comment, hidden, "t3_none"])
    assert server.count("GET", "/api/info/") == 2
    assert {name: reading and reading.metrics for name, reading in found.items() if name not in names[:-1]} == {
        names[-1]: {"likes": 100, "upvote_ratio": 92, "comments": 2},
        removed: None,
        deleted: None,
        comment: {"likes": 0},
        hidden: {},
        "t3_none": None,
    }


def test_history_is_oldest_first_over_all_pages(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    start = LONG_AGO.timestamp()
    for number in range(150):
        reddit.add("t3", title=f"Post {number}", selftext="More" if number else "", created_utc=start + number)
    reddit.add("t1", body="An answer", parent_id="t3_1", link_id="t3_1", created_utc=start + 200)
    reddit.add("t3", title="Another's", author="bob", crosspost_parent="t3_1")
    told = list(face.history(None))
    assert [told[0].text, told[1].text, told[-1].text, len(told)] == ["Post 0", "Post 1\n\nMore", "An answer", 151]
    assert [post.reply_to for post in told[-2:]] == ["", "t3_1"]
    assert len(list(face.history(LONG_AGO + timedelta(seconds=149)))) == 2
    assert [(post.text, post.is_repost) for post in face.history(None, "/u/bob")] == [("Another's", True)]
    with pytest.raises(FaceError, match="no name"):
        face.history(None, "bob/../../api")


def thread(reddit: FakeReddit, depth: int) -> list[dict[str, Any]]:
    """A post of ours and comments below it, each answering the last; the deepest is bob's."""
    made = [reddit.add("t3", title="Our post")]
    for number in range(depth):
        author = "bob" if (depth - number) % 2 else ME
        made.append(
            reddit.add("t1", body=f"Step {number}", author=author, parent_id=made[-1]["name"], link_id=made[0]["name"])
        )
    return made


def test_the_inbox_holds_answers_with_their_threads(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    made = thread(reddit, 3)
    mention = reddit.add("t1", body=f"Ask u/{ME}", author="HelpfulBot", parent_id="t3_9", link_id="t3_9")
    message = reddit.add("t1", body="A private message")
    reddit.things[message["name"]]["kind"] = "t4"
    reddit.inbox = [made[3]["name"], mention["name"], message["name"], made[2]["name"]]
    told = {post.remote_id: post for post in face.inbox(None)}
    assert set(told) == {made[3]["name"], mention["name"]}
    answer = told[made[3]["name"]]
    assert (answer.author, answer.summoned, answer.depth, answer.root_id) == ("bob", True, 3, made[0]["name"])
    assert (answer.community, answer.reply_to, answer.closed) == ("kilroytest", made[2]["name"], "")
    assert answer.parents == (Parent(ME, "Our post"), Parent("bob", "Step 0"), Parent(ME, "Step 1"))
    assert (told[mention["name"]].author_is_bot, answer.author_is_bot) == (True, False)
    assert len(server.requests) <= 4  # the inbox, its comments, and two steps up for all of them


def test_a_deep_thread_is_climbed_only_so_far(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    made = thread(reddit, 20)
    post = face.look_up(made[-1]["name"])
    assert post is not None
    assert (len(post.parents), post.depth) == (things.MOST_PARENTS + 1, things.MOST_PARENTS + 1)
    assert (post.parents[0].text, post.parents[-1].text) == ("Our post", "Step 18")
    assert len(server.requests) == 1 + things.MOST_PARENTS


@pytest.mark.parametrize(
    ("what", "closed"),
    [
        ({"locked": True}, "locked"),
        ({"archived": True}, "archived"),
        ({"removed_by_category": "moderator"}, "removed"),
        ({"removed_by_category": "deleted", "selftext": "[deleted]"}, "deleted"),
    ],
)
def test_a_closed_thread_closes_what_is_below(
    face: RedditFace, reddit: FakeReddit, what: dict[str, Any], closed: str
) -> None:
    made = thread(reddit, 1)
    made[0] |= what
    post = face.look_up(made[1]["name"])
    assert post is not None
    assert post.closed == closed
    assert face.look_up("t1_none") is None


def test_a_community_shows_what_others_wrote(face: RedditFace, reddit: FakeReddit) -> None:
    made = thread(reddit, 2)
    other = reddit.add("t3", title="A question", author="carol", created_utc=LONG_AGO.timestamp())
    told = list(face.inbox(None, "r/kilroytest"))
    assert [post.remote_id for post in told] == [other["name"], made[2]["name"]]
    assert [(post.summoned, post.depth) for post in told] == [(False, 0), (True, 2)]
    assert next(iter(face.inbox(LONG_AGO + timedelta(days=1), "kilroytest"))).remote_id == made[2]["name"]


def test_a_pinned_old_post_does_not_end_a_list(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    fresh = reddit.add("t3", title="Fresh")
    old = reddit.add("t3", title="Old", pinned=True, created_utc=LONG_AGO.timestamp())
    listing = {"children": [reddit.things[old["name"]], reddit.things[fresh["name"]]], "after": None}
    server.answer = lambda request: Reply(data={"kind": "Listing", "data": listing})
    assert [post.text for post in face.history(LONG_AGO + timedelta(days=1))] == ["Fresh"]


def test_a_list_that_is_none_is_an_error_of_the_platform(face: RedditFace, server: Loopback) -> None:
    entry = {"kind": "t3", "data": {"name": "t3_1"}}  # without its time
    for odd in ({"kind": "odd"}, [], None, {"data": {"children": [entry]}}, {"data": {"children": [7]}}):
        server.answer = lambda request, odd=odd: Reply(data=odd)  # type: ignore[misc]
        with pytest.raises(FaceError, match="no list"):
            face.history(None)
    assert children({"data": {"children": []}}) == []


def test_an_account_that_reddit_does_not_name_is_an_error_of_the_platform(face: RedditFace, server: Loopback) -> None:
    for odd in ([], {}, {"name": ""}):
        server.answer = lambda request, odd=odd: Reply(data=odd)  # type: ignore[misc]
        with pytest.raises(FaceError, match="Reddit"):
            face.verify()
