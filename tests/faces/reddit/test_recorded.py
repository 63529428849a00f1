"""The Reddit face against what the real Reddit answered to praw's own tests (see tests/faces/recorded.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from faces.contract import FaceError, OutgoingPost
from faces.kinds.reddit.face import RedditFace
from faces.kinds.reddit.flow import RedditFlow
from faces.models import Connection
from tests.faces.loopback import Loopback, Reply, Request
from tests.faces.recorded import Recorded, cassettes, load
from tests.faces.reddit.conftest import keep
from tests.faces.reddit.fake import ME

PLACEHOLDERS = {
    "TEST_SUBREDDIT": "kilroytest",
    "USERNAME": ME,
    "ACCESS_TOKEN": "live",
    "REFRESH_TOKEN": "kept",
    "AUTH_CODE": "the-code",
    "COMMENT_IDS": "many",
    "CONTENT": "many",
}
Play = Callable[..., Recorded]


@pytest.fixture
def play(server: Loopback) -> Iterator[Play]:
    """Serve these of praw's cassettes; whatever the face asked beyond them fails the test."""
    folder = cassettes("praw-8.0.3") / "tests" / "integration" / "cassettes"
    recorded = Recorded()
    server.answer = recorded.answer

    def play(*names: str) -> Recorded:
        for name in names:
            recorded.interactions += load(folder / f"{name}.json", PLACEHOLDERS)
        return recorded

    yield play
    assert [f"{request.method} {request.path}" for request in recorded.unmatched] == []


def served(recorded: Recorded, path: str) -> list[dict[str, Any]]:
    """What a recorded list holds."""
    (found,) = [interaction for interaction in recorded.interactions if interaction.path == path]
    things: list[dict[str, Any]] = json.loads(found.reply.raw or b"")["data"]["children"]
    return things


def test_a_submission(face: RedditFace, play: Play) -> None:
    play("TestSubreddit.test_submit__selftext")
    done = face.publish(OutgoingPost("Test Title\nTest text."), "key")
    assert done.remote_id == "t3_4bbe4b"
    assert done.url == "https://www.reddit.com/r/kilroytest/comments/4bbe4b/test_title/"


def test_a_submission_with_flair(face: RedditFace, play: Play) -> None:
    play("TestSubreddit.test_submit__flair")
    face.connection.settings |= {
        "flair_id": "17bf09c4-520c-11e7-8073-0ef8adb5ef68",
        "flair_text": "Test flair text",
    }
    assert face.publish(OutgoingPost("Test Title\n\nTest text."), "key").remote_id == "t3_6hi2vp"


def test_a_submission_without_a_body(face: RedditFace, play: Play) -> None:
    play("TestSubreddit.test_submit__selftext_blank")
    assert face.publish(OutgoingPost("Test Title"), "key").remote_id == "t3_5zrez4"


def test_an_answer_to_a_comment(face: RedditFace, play: Play) -> None:
    play("TestComment.test_reply")
    done = face.publish(OutgoingPost("Comment reply", reply_to="t1_d1616q2"), "key")
    assert (done.remote_id, done.at) == ("t1_d1680wu", datetime(2016, 3, 20, 0, 33, 51, tzinfo=UTC))


def test_an_answer_to_a_submission(face: RedditFace, play: Play) -> None:
    play("TestSubmission.test_reply")
    assert face.publish(OutgoingPost("Test reply", reply_to="t3_4b1tfm"), "key").remote_id == "t1_d162ara"


def test_a_deletion(face: RedditFace, play: Play) -> None:
    play("TestComment.test_delete", "TestSubmission.test_delete")
    face.delete("t1_d1616q2")
    assert face.metrics(["t1_d1616q2"]) == {"t1_d1616q2": None}
    face.delete("t3_4b1tfm")


def test_reactions_of_three_hundred(face: RedditFace, play: Play) -> None:
    play("TestReddit.test_info")
    names = [f"{kind}{number:02}" for number in range(100) for kind in ("t1_d7ltv", "t3_5dec", "t5_2qk")]
    found = face.metrics(names)
    assert list(found) == names
    comment, post = found["t1_d7ltv00"], found["t3_5dec00"]
    assert comment is not None
    assert post is not None
    assert (comment.metrics, sorted(post.metrics)) == ({"likes": 2}, ["comments", "likes"])
    assert sum(reading is None for reading in found.values()) > 10


def test_the_history_of_an_account(face: RedditFace, play: Play) -> None:
    recorded = play("TestRedditorListings.test_overview__new")
    things = served(recorded, "/user/spez/overview")
    since = datetime.fromtimestamp(things[60]["data"]["created_utc"], UTC)
    told = list(face.history(since, "u/spez"))
    assert [post.remote_id for post in told] == [thing["data"]["name"] for thing in things[60::-1]]
    assert {post.author for post in told} == {"spez"}
    posts = [post for post in told if post.remote_id.startswith("t3_")]
    assert (len(posts) > 1, any(post.is_repost for post in posts)) == (True, True)
    assert all(post.text and "upvote_ratio" in post.metrics for post in posts)


def test_a_submission_is_found_among_the_accounts_own(face: RedditFace, play: Play) -> None:
    recorded = play("TestRedditorListings.test_submissions__new")
    data = served(recorded, "/user/spez/submitted")[0]["data"]
    face.connection.settings |= {"username": "spez", "subreddit": "Announcements"}
    since = datetime.fromtimestamp(data["created_utc"], UTC) - timedelta(minutes=5)
    post = OutgoingPost(f"{data['title']}\n{data['selftext']}")
    assert [done.remote_id for done in face.find("key", post, since)] == ["t3_434h6c"]


def test_the_inbox(face: RedditFace, play: Play, server: Loopback) -> None:
    recorded = play("TestInbox.test_mark_unread")
    things = served(recorded, "/message/inbox/")
    for interaction in recorded.interactions:
        if interaction.path == "/message/inbox/":
            interaction.query["limit"] = ["100"]  # praw's test asked for ten
            interaction.reply.raw = (interaction.reply.raw or b"").replace(b'"after": "t1_mynqt16"', b'"after": null')
    answer_info(server, recorded, {thing["data"]["name"]: thing for thing in things})
    told = list(face.inbox(None))
    assert len(told) == 6
    assert {(post.text, post.author, post.summoned, post.author_is_bot) for post in told} == {
        ("Comment Body", "Lil_SpazBot", True, True)
    }
    assert told[0].url.startswith("https://www.reddit.com/r/Lil_SpazJoekp/comments/1j7g9uj/")


@pytest.mark.parametrize(
    ("cassette", "path"),
    [
        ("TestSubredditListings.test_new", "/r/askreddit/new"),
        ("TestSubredditListings.test_comments", "/r/askreddit/comments/"),
    ],
)
def test_a_community(face: RedditFace, play: Play, server: Loopback, cassette: str, path: str) -> None:
    recorded = play(cassette)
    things = served(recorded, path)
    since = datetime.fromtimestamp(things[-2]["data"]["created_utc"] + 1, UTC)
    answer_info(server, recorded, {})
    server.answer = without(server.answer, "/r/askreddit/comments/" if path.endswith("new") else "/r/askreddit/new")
    told = list(face.inbox(since, "askreddit"))
    fresh = [thing["data"]["name"] for thing in things if thing["data"]["created_utc"] >= since.timestamp()]
    assert sorted(post.remote_id for post in told) == sorted(fresh)
    assert {post.community for post in told} == {"AskReddit"}


def test_one_comment_as_it_is_now(face: RedditFace, play: Play, server: Loopback) -> None:
    recorded = play("TestComment.test_attributes")
    server.answer = lambda request: (
        recorded.answer(request) if "t1_cklhv0f" in request.query["id"] else listing([])  # its thread: not recorded
    )
    post = face.look_up("t1_cklhv0f")
    assert post is not None
    assert (post.author, post.reply_to, post.text[:12]) == ("bboe", "t1_cklfmye", "Yes it does.")


def test_checking(connection: Connection, play: Play) -> None:
    keep(connection, scope="*")
    play("TestUser.test_me", "TestSubreddit.test_submit_image", "TestSubreddit.test_post_requirements")
    found = connection.face.verify()
    assert (found.account, found.missing) == ("u/PyAPITestUser2", ())
    assert (found.settings["username"], found.settings["body_policy"]) == ("PyAPITestUser2", "none")


def test_a_permission_to_come_back_for(connection: Connection, play: Play) -> None:
    play("TestAuthWeb.test_authorize")
    kept = RedditFlow().finish({}, {"client_id": "a", "client_secret": "b"}, {}, "the-code", "http://localhost:8080")
    assert {name: kept[name] for name in ("client_id", "access_token", "refresh_token", "scope")} == {
        "client_id": "a",
        "access_token": "live",
        "refresh_token": "kept",
        "scope": "submit",
    }


def test_a_token_that_reddit_does_not_take_is_renewed(connection: Connection, play: Play, server: Loopback) -> None:
    keep(connection, access_token="ended")
    play("TestAuthImplicit.test_implicit__with_invalid_token", "TestInbox.test_mentions", "TestUser.test_me")
    with pytest.raises(FaceError, match="new token") as failure:
        connection.face.verify()
    assert (failure.value.permanent, failure.value.credentials) == (False, False)
    assert [request.path for request in server.requests] == ["/api/v1/me", "/api/v1/access_token", "/api/v1/me"]
    assert connection.secrets["access_token"] == "live"


REFUSALS = [
    (
        "TestSubmission.test_edit_invalid",
        lambda c: c.act("api/editusertext/", thing_id="t3_eippcc", text="rewtwert", validate_on_submit=True),
        r"You may not have .rewtwert. in your post body",
        {"permanent": True, "status": 400},
    ),
    (
        "TestObjector.test_raise_api_exception",
        lambda c: c.act("api/approve/", id="t3_4b536h"),
        "connect again",
        {"permanent": True, "credentials": True},
    ),
    (
        "TestReddit.test_bare_badrequest",
        lambda c: c.post(
            "api/validate_submission_field",
            field="link",
            kind="link",
            show_error_list=True,
            sr="AskReddit",
            text="lol",
            title="l",
        ),
        "answered 400: Bad Request",
        {"permanent": True, "status": 400},
    ),
    (
        "TestUser.test_pin__ignore_conflicts",
        lambda c: c.post("api/set_subreddit_sticky/", id="t3_q9lvkd", state=True, to_profile=True),
        "answered 409",
        {"permanent": False, "sent": True, "status": 409},
    ),
    (
        "TestUser.test_pin__deleted_submission",
        lambda c: c.post("api/set_subreddit_sticky/", id="t3_qzztxz", state=True, to_profile=True),
        "answered 400",
        {"permanent": True, "status": 400},
    ),
    (
        "TestReddit.test_bad_request_without_json_text_html_response",
        lambda c: c.get("api/morechildren", link_id="t3_n7r3uz", children="many"),
        "answered 400",
        {"permanent": True, "status": 400},
    ),
    (
        "TestUser.test_friend_not_exist",
        lambda c: c.get("api/v1/me/friends/fake__user_user_user"),
        "that user doesn't exist",
        {"permanent": True, "status": 400},
    ),
    (
        "TestRedditorListings.test_saved__other_user",
        lambda c: c.get("user/spez/saved", limit=100),
        "answered 403",
        {"permanent": True, "status": 403},
    ),
    (
        "TestInbox.test_message__unauthorized",
        lambda c: c.get("message/messages/6i8om7/"),
        "answered 403: Forbidden",
        {"permanent": True, "status": 403},
    ),
    (
        "TestSubreddit.test_traffic__not_public",
        lambda c: c.get("r/announcements/about/traffic/"),
        "answered 404",
        {"permanent": True, "status": 404},
    ),
    (
        "TestSubreddit.test_sticky",
        lambda c: c.get("r/kilroytest/about/sticky/", num=1),
        "answered 302",
        {"permanent": True, "status": 302},
    ),
]


@pytest.mark.parametrize(("cassette", "call", "words", "flags"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal(
    face: RedditFace,
    play: Play,
    server: Loopback,
    cassette: str,
    call: Callable[[Any], object],
    words: str,
    flags: dict[str, Any],
) -> None:
    play(cassette)
    with pytest.raises(FaceError, match=words) as failure:
        call(face._client)
    expected = {"permanent": False, "credentials": False, "sent": False, "status": 0, "retry_after": None} | flags
    assert {name: getattr(failure.value, name) for name in expected} == expected
    assert len(server.requests) == 1


def listing(things: list[dict[str, Any]]) -> Reply:
    return Reply(data={"kind": "Listing", "data": {"children": things, "after": None}})


def answer_info(server: Loopback, recorded: Recorded, things: dict[str, dict[str, Any]]) -> None:
    """`/api/info` was not recorded beside the lists: it answers with what the lists themselves hold."""

    def answer(request: Request) -> Reply:
        if request.path != "/api/info/":
            return recorded.answer(request)
        return listing([things[name] for name in request.query["id"][0].split(",") if name in things])

    server.answer = answer


def without(answer: Callable[[Request], Reply], path: str) -> Callable[[Request], Reply]:
    """The other list of a community, recorded months apart, is empty here."""
    return lambda request: listing([]) if request.path == path else answer(request)
