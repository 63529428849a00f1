"""The Reddit face against a Reddit of our own (`fake.py`), for what nobody recorded."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.reddit import one_request
from faces.kinds.reddit.face import RedditFace
from faces.models import Connection
from faces.services import check_connection, create_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.reddit.conftest import keep
from tests.faces.reddit.fake import ME, SCOPES, FakeReddit, Fault, error
from tests.factories import PNG, World

POST = OutgoingPost("A title\nAnd a body")
WRITES = {
    "api/submit": lambda face: face.publish(POST, "key"),
    "api/comment": lambda face: face.publish(OutgoingPost("An answer", reply_to="t3_1"), "key"),
    "api/del": lambda face: face.delete("t3_1"),
    "api/editusertext": lambda face: face._client.act("api/editusertext/", thing_id="t3_1", text="Better"),
}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def caught(face: RedditFace, reddit: FakeReddit, path: str, fault: Fault) -> FaceError:
    reddit.faults[path].append(fault)
    with pytest.raises(FaceError) as caught:
        WRITES[path](face)
    return caught.value


def test_a_post_is_a_title_and_a_body(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    done = face.publish(OutgoingPost("  A title \n\nAnd a body\n\nwith more"), "key")
    (made,) = reddit.posts()
    assert (made["title"], made["selftext"], made["subreddit"]) == ("A title", "And a body\n\nwith more", "kilroytest")
    assert (done.remote_id, done.url) == (made["name"], f"https://www.reddit.com{made['permalink']}")
    assert len(server.requests) == 1
    assert "kilroy" in server.requests[0].headers["user-agent"]


def test_without_a_subreddit_it_goes_to_the_own_profile(face: RedditFace, reddit: FakeReddit) -> None:
    face.connection.settings["subreddit"] = ""
    face.publish(POST, "key")
    assert reddit.posts()[0]["subreddit"] == f"u_{ME}"


def test_flair_is_sent_where_it_is_demanded(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    reddit.flair_required = True
    with pytest.raises(FaceError, match="demands flair") as refused:
        face.publish(POST, "key")
    assert (refused.value.permanent, refused.value.sent, reddit.posts()) == (True, False, [])
    face.connection.settings |= {"flair_id": "17bf09c4", "flair_text": "News"}
    face.publish(POST, "key")
    assert (server.requests[-1].form["flair_id"], server.requests[-1].form["flair_text"]) == (["17bf09c4"], ["News"])


def test_an_answer_is_a_comment(face: RedditFace, reddit: FakeReddit) -> None:
    above = reddit.add("t3", author="bob")
    done = face.publish(OutgoingPost("One line\nand another", reply_to=above["name"]), "key")
    made = reddit.things[done.remote_id]["data"]
    assert (made["body"], made["parent_id"]) == ("One line\nand another", above["name"])
    assert (done.at.timestamp(), done.url) == (made["created_utc"], f"https://www.reddit.com{made['permalink']}")


@pytest.mark.parametrize("path", sorted(WRITES))
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 408, 409, 429, 403, 302])
def test_one_attempt_is_one_request_whatever_the_answer(
    face: RedditFace, reddit: FakeReddit, server: Loopback, path: str, status: int
) -> None:
    failure = caught(face, reddit, path, Fault(Reply(status, {"message": "no", "error": status})))
    assert len(server.requests) == 1
    assert failure.sent is (status in (408, 409) or status >= 500)
    assert failure.permanent is (status in (403, 302))


@pytest.mark.parametrize("path", sorted(WRITES))
def test_one_attempt_is_one_request_when_no_answer_comes(
    face: RedditFace, reddit: FakeReddit, server: Loopback, path: str
) -> None:
    assert caught(face, reddit, path, Fault(Reply(cut=True), acted=True)).sent
    assert len(server.requests) == 1


def test_a_post_that_was_taken_before_reddit_hung_is_found(
    face: RedditFace, reddit: FakeReddit, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_request, "READ_SECONDS", 0.2)
    failure = caught(face, reddit, "api/submit", Fault(hang=0.5))
    assert (failure.sent, failure.permanent, server.count("POST", "/api/submit/")) == (True, False, 1)
    assert [done.remote_id for done in face.find("key", POST, LONG_AGO)] == [reddit.posts()[0]["name"]]


def test_an_answer_that_trickles_in_is_not_waited_for(settings: Settings) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", listener.getsockname()[1])})

    def trickle() -> None:
        there, _ = listener.accept()
        with there:
            there.recv(65_536)
            there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(60):
                    there.sendall(b"x")
                    time.sleep(0.05)

    threading.Thread(target=trickle, daemon=True).start()
    requestor = one_request.OneRequest(user_agent="a test agent", seconds=0.3, **one_request.hosts())
    began = time.monotonic()
    with listener, pytest.raises(FaceError) as late:
        requestor.request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert (late.value.sent, time.monotonic() - began < 1.5) == (True, True)


def test_what_never_left_was_not_sent(face: RedditFace, settings: Settings) -> None:
    settings.API_BASES = {"reddit": "http://127.0.0.1:9"}
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", 9)})
    with pytest.raises(FaceError) as failure:
        face.publish(POST, "key")
    assert (failure.value.sent, failure.value.permanent) == (False, False)


def test_a_base_that_was_not_opened_is_never_asked(face: RedditFace, server: Loopback, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = frozenset()
    with pytest.raises(FaceError, match="https"):
        face.publish(POST, "key")
    assert server.requests == []


def test_a_rate_limit_beside_a_post_that_was_made_is_no_failure(face: RedditFace, reddit: FakeReddit) -> None:
    data = {"name": "t3_abc", "id": "abc", "url": "https://www.reddit.com/r/kilroytest/comments/abc/a_title/"}
    beside = error("RATELIMIT", "Take a break for 9 minutes before trying again.", "ratelimit", data=data)
    reddit.faults["api/submit"].append(Fault(beside))
    assert face.publish(POST, "key").remote_id == "t3_abc"


def test_a_rate_limit_says_how_long_to_wait(face: RedditFace, reddit: FakeReddit) -> None:
    nine = caught(
        face, reddit, "api/submit", Fault(error("RATELIMIT", "Take a break for 9 minutes before trying again."))
    )
    hour = caught(face, reddit, "api/submit", Fault(error("RATELIMIT", "Take a break for 1 hour before trying again.")))
    number = caught(face, reddit, "api/submit", Fault(error("RATELIMIT", "in 2 minutes", ratelimit=3541.5)))
    header = caught(face, reddit, "api/submit", Fault(Reply(429, {}, {"retry-after": "77"})))
    reset = {"x-ratelimit-remaining": "3.0", "x-ratelimit-reset": "55", "x-ratelimit-used": "97"}
    limit = caught(face, reddit, "api/submit", Fault(Reply(429, {}, reset)))
    assert [failure.retry_after for failure in (nine, hour, number, header, limit)] == [540, 3600, 3541.5, 77, 55]
    assert not any(failure.sent or failure.permanent for failure in (nine, hour, number, header, limit))


def test_a_used_up_limit_is_told_and_not_slept_through(face: RedditFace, reddit: FakeReddit, server: Loopback) -> None:
    reddit.limit_headers = {"x-ratelimit-remaining": "0.0", "x-ratelimit-reset": "599", "x-ratelimit-used": "100"}
    began = time.monotonic()
    face.metrics([])
    face.look_up("t3_1")
    with pytest.raises(FaceError) as failure:
        face.publish(POST, "key")
    assert time.monotonic() - began < 5
    assert (failure.value.sent, failure.value.permanent, len(server.requests)) == (False, False, 1)
    assert 590 < (failure.value.retry_after or 0) <= 599


def test_a_limit_that_is_nearly_used_up_is_not_slept_through_either(face: RedditFace, reddit: FakeReddit) -> None:
    reddit.limit_headers = {"x-ratelimit-remaining": "2.0", "x-ratelimit-reset": "590", "x-ratelimit-used": "98"}
    began = time.monotonic()
    for _ in range(3):
        face.publish(POST, "key")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("post", "words"),
    [
        (OutgoingPost("\nBody"), "title is empty"),
        (OutgoingPost("x" * 301), "title .* has 301 characters; at most 300"),
        (OutgoingPost("Title\n" + "x" * 40_001), "body .* has 40001 characters; at most 40000"),
        (OutgoingPost("x" * 10_001, reply_to="t1_a"), "comment has 10001 characters"),
        (OutgoingPost("Title", (OutgoingImage(PNG, "image/png", "A red pixel"),)), "no images"),
    ],
)
def test_what_reddit_could_never_take_is_said_before_it_is_asked(
    face: RedditFace, server: Loopback, post: OutgoingPost, words: str
) -> None:
    with pytest.raises(FaceError, match=words) as failure:
        face.publish(post, "key")
    assert (failure.value.permanent, failure.value.sent, server.requests) == (True, False, [])
    assert face.objection(post) == str(failure.value)


def test_a_text_is_too_long_where_its_title_or_its_body_is(face: RedditFace) -> None:
    texts = ["", "x" * 300, "x" * 301, "Title\n" + "x" * 40_000, "Title\n" + "x" * 40_001]
    assert [face.excess(text) > 0 for text in texts] == [False, False, True, False, True]
    face.connection.settings |= {"title_max": 50, "body_policy": "notAllowed"}
    assert [face.excess(text) for text in ("x" * 50, "x" * 51, "Title\nab")] == [0, 1, 2]


def test_what_it_takes_is_no_objection(face: RedditFace) -> None:
    whole = "x" * 300 + "\n\n" + "y" * 40_000
    assert face.objection(OutgoingPost(whole)) == ""
    assert face.objection(OutgoingPost("x" * 10_000, reply_to="t1_a")) == ""
    assert face.count(whole) == face.capabilities.max_length


def test_checking_learns_the_name_and_the_subreddits_rules(connection: Connection, reddit: FakeReddit) -> None:
    reddit.requirements = {"title_text_max_length": 40, "body_restriction_policy": "notAllowed"}
    found = check_connection(connection.pk)
    row = Connection.objects.get()
    assert (found.ok, row.account, row.settings["username"]) == (True, f"u/{ME}", ME)
    assert "at most 40" in row.face.objection(OutgoingPost("x" * 41))
    assert "titles only" in row.face.objection(OutgoingPost("Title\nBody"))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"me": {"name": ME, "is_suspended": True}}, "suspended"),
        ({"about": {"subreddit_type": "restricted"}}, "approved"),
        ({"about": {"user_is_banned": True}}, "banned"),
        ({"about": {"submission_type": "link"}}, "links only"),
        ({"flair_required": True}, "demands flair"),
    ],
)
def test_checking_says_what_is_missing(
    connection: Connection, reddit: FakeReddit, what: dict[str, Any], words: str
) -> None:
    for name, value in what.items():
        setattr(reddit, name, value)
    assert not check_connection(connection.pk).ok
    assert words in Connection.objects.get().problem


def test_a_permission_that_was_not_given_is_named(connection: Connection, reddit: FakeReddit) -> None:
    keep(connection, scope=SCOPES.replace(" edit", ""))
    assert check_connection(connection.pk).missing == (
        "Connect again and allow everything on Reddit's page; missing: edit.",
    )


@pytest.mark.parametrize("status", [404, 403, 302])
def test_a_subreddit_that_is_not_there_is_missing(connection: Connection, reddit: FakeReddit, status: int) -> None:
    reddit.faults["r/kilroytest/about"].append(Fault(Reply(status, {"reason": "private", "error": status})))
    assert "r/kilroytest cannot be posted to" in check_connection(connection.pk).missing[0]


def test_a_restricted_subreddit_takes_those_it_knows(connection: Connection, reddit: FakeReddit) -> None:
    reddit.about = {"subreddit_type": "restricted", "user_is_contributor": True}
    assert check_connection(connection.pk).ok
    reddit.about = {"subreddit_type": "restricted", "restrict_posting": False}
    assert check_connection(connection.pk).ok


def test_an_expired_token_is_renewed_once_and_kept(
    connection: Connection, reddit: FakeReddit, server: Loopback
) -> None:
    keep(connection, expires_at="2020-01-01T00:00:00+00:00", access_token="old")
    RedditFace(connection).publish(POST, "key")
    RedditFace(Connection.objects.get()).publish(POST, "key")
    assert [request.path for request in server.requests] == ["/api/v1/access_token", "/api/submit/", "/api/submit/"]
    assert Connection.objects.get().secrets["access_token"] == "live"


def test_a_token_that_ended_early_costs_an_attempt_and_nothing_else(
    connection: Connection, reddit: FakeReddit, server: Loopback
) -> None:
    keep(connection, access_token="ended")
    with pytest.raises(FaceError) as failure:
        RedditFace(connection).publish(POST, "key")
    assert (failure.value.sent, failure.value.permanent, failure.value.credentials) == (False, False, False)
    assert server.count("POST", "/api/submit/") == 1
    RedditFace(Connection.objects.get()).publish(POST, "key")
    assert len(reddit.posts()) == 1


def test_an_account_that_allows_nothing_any_more_breaks_the_connection(
    connection: Connection, reddit: FakeReddit
) -> None:
    keep(connection, access_token="ended", refresh_token="withdrawn")
    with pytest.raises(FaceError, match="connect again") as failure:
        RedditFace(connection).publish(POST, "key")
    assert (failure.value.credentials, failure.value.sent) == (True, False)
    with pytest.raises(FaceError):
        check_connection(connection.pk)
    assert Connection.objects.get().state == "broken"


@pytest.mark.parametrize("status", [500, 503, 429, 403])
def test_a_refresh_that_fails_for_now_breaks_nothing_and_sends_nothing(
    connection: Connection, reddit: FakeReddit, server: Loopback, status: int
) -> None:
    keep(connection, expires_at="2020-01-01T00:00:00+00:00")
    reddit.token_reply = Reply(status, {"message": "no"}, {"retry-after": "30"})
    with pytest.raises(FaceError) as failure:
        RedditFace(connection).publish(POST, "key")
    assert (failure.value.sent, failure.value.permanent, failure.value.credentials) == (False, False, False)
    assert len(server.requests) == 1
    with pytest.raises(FaceError):
        check_connection(connection.pk)
    assert Connection.objects.get().state == "connected"


def test_a_connection_that_was_never_allowed_says_so(world: World, reddit: FakeReddit, server: Loopback) -> None:
    with tenant(world.acme.pk):
        made = create_connection("reddit", "New", {"client_id": "app", "client_secret": "s"})
        with pytest.raises(FaceError, match="has not allowed") as failure:
            made.face.verify()
    assert (failure.value.credentials, server.requests) == (True, [])


def test_no_error_carries_a_token(connection: Connection, reddit: FakeReddit) -> None:
    keep(connection, access_token="canary-token", refresh_token="canary-refresh", client_secret="canary-secret")
    reddit.token = "canary-token"
    face = RedditFace(connection)
    for fault in (Fault(Reply(cut=True)), Fault(Reply(500, raw=b"x")), Fault(Reply(200, raw=b"<html>"))):
        failure = caught(face, reddit, "api/submit", fault)
        told: BaseException | None = failure
        while told is not None and not told.__suppress_context__:
            assert "canary" not in f"{told} {told.args} {vars(told)}"
            told = told.__cause__ or told.__context__
        assert "canary" not in f"{failure} {vars(failure)}"


def test_an_answer_without_an_id_leaves_a_doubt(face: RedditFace, reddit: FakeReddit) -> None:
    for answer in (Reply(200, raw=b"<html>"), Reply(data={"json": {"errors": []}}), Reply(data=[]), Reply(raw=b"")):
        failure = caught(face, reddit, "api/submit", Fault(answer))
        assert (failure.sent, failure.permanent) == (True, False)


def test_what_was_published_is_found_when_the_list_has_caught_up(face: RedditFace, reddit: FakeReddit) -> None:
    reddit.lag = 120.0
    reddit.add("t3", title="A title", selftext="And a body", created_utc=LONG_AGO.timestamp() + 5)
    face.publish(POST, "key")
    since = datetime.now(UTC) - timedelta(minutes=5)
    assert list(face.find("key", POST, since)) == []
    started = time.time()
    reddit.clock = lambda: started + 180
    assert [done.remote_id for done in face.find("key", POST, since)] == [reddit.posts()[1]["name"]]


def test_only_the_very_post_is_found(face: RedditFace, reddit: FakeReddit) -> None:
    above, other = reddit.add("t3", author="bob", subreddit="elsewhere"), reddit.add("t3", author="bob")
    reddit.add("t3", title="A title", selftext="And a body", subreddit="elsewhere")
    wanted = reddit.add("t3", title="A  title", selftext="And\n\na body ", subreddit="KilroyTest")
    reddit.add("t1", body="Yes.", parent_id=other["name"], link_id=other["name"])
    answer = reddit.add("t1", body="Yes. ", parent_id=above["name"], link_id=above["name"])
    assert [done.remote_id for done in face.find("key", POST, LONG_AGO)] == [wanted["name"]]
    reply = OutgoingPost("Yes.", reply_to=above["name"])
    assert [done.remote_id for done in face.find("key", reply, LONG_AGO)] == [answer["name"]]


def test_deleting_what_is_gone_is_no_error(face: RedditFace, reddit: FakeReddit) -> None:
    made = face.publish(POST, "key")
    face.delete(made.remote_id)
    face.delete(made.remote_id)
    assert reddit.posts() == []
    reddit.faults["api/del"].append(Fault(Reply(404, {"message": "Not Found", "error": 404})))
    face.delete("t3_none")
    reddit.faults["api/del"].append(Fault(Reply(403, {"message": "Forbidden", "error": 403})))
    with pytest.raises(FaceError):
        face.delete("t3_none")
