"""Whatever X answers: one attempt is one request, and the error says what it proves."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from pytest_django import Settings

from faces import http
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.x import face as module
from faces.kinds.x.api import client, explain
from faces.kinds.x.face import XFace
from faces.models import Connection
from faces.services import check_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.x.fake import FakeX
from tests.factories import PNG

PAGE = Reply(200, raw=b"<html>Something went wrong</html>", headers={"Content-Type": "text/html"})
DUPLICATE = "You are not allowed to create a Tweet with duplicate content."
SUSPENDED = "Your account is suspended and is not permitted to access this feature."
LOCKED = "To protect our users from spam, this account is temporarily locked. Please log in to unlock your account."


def told(status: int, detail: str = "No", kind: str = "about:blank", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"title": "Title", "detail": detail, "type": kind, "status": status}, named)


def in_seconds(seconds: int) -> str:
    """A moment as X's headers tell it."""
    return str(int(time.time()) + seconds)


FAILURES: dict[str, tuple[Reply, tuple[bool, bool, bool]]] = {
    # name: the answer, and (permanent, sent, credentials) of the error for a post
    "bad request": (told(400), (True, False, False)),
    "revoked token": (told(401, "Unauthorized"), (True, False, True)),
    "no credits": (told(402, "CreditsDepleted"), (False, False, False)),
    "forbidden": (told(403, "You are not permitted to perform this action."), (True, False, False)),
    "duplicate": (told(403, DUPLICATE), (False, True, False)),
    "suspended": (told(403, SUSPENDED), (True, False, True)),
    "locked": (told(403, LOCKED), (True, False, True)),
    "app refused": (told(403, kind="https://api.x.com/2/problems/client-forbidden"), (True, False, True)),
    "a page that forbids": (Reply(403, raw=b"<html>Blocked</html>"), (False, True, False)),
    "too long": (told(403, "Your Tweet text is too long."), (True, False, False)),
    "rate limit": (told(429), (False, False, False)),
    "elsewhere": (Reply(302, headers={"Location": "https://example.org/"}), (True, False, False)),
    "timeout": (told(408), (False, True, False)),
    "conflict": (told(409), (False, True, False)),
    "server error": (told(500), (False, True, False)),
    "bad gateway": (Reply(502, raw=b"<html>Bad gateway</html>"), (False, True, False)),
    "over capacity": (told(503), (False, True, False)),
    "gateway timeout": (told(504), (False, True, False)),
    "no answer": (Reply(cut=True), (False, True, False)),
    "a page": (PAGE, (False, True, False)),
    "garbled": (Reply(201, raw=b'{"data": {"id": "12'), (False, True, False)),
    "no id": (Reply(201, {"data": {"text": "Hello"}}), (False, True, False)),
    "an id that is none": (Reply(201, {"data": {"id": "../1", "text": "Hello"}}), (False, True, False)),
    "only errors": (Reply(200, {"errors": [{"detail": "Hm"}]}), (False, True, False)),
    "no object": (Reply(200, ["Hello"]), (False, True, False)),
    "nothing": (Reply(200, raw=b""), (False, True, False)),
    "odd error": (Reply(500, {"errors": "Hm", "error": None}), (False, True, False)),
    "a list of errors": (Reply(400, ["Hm"]), (True, False, False)),
}
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")
WRITES: dict[str, tuple[str, Callable[[XFace], Any]]] = {
    "POST /2/tweets": ("/2/tweets", lambda face: face.publish(OutgoingPost("Hello"), "key")),
    "POST /2/media/upload": ("/2/media/upload", lambda face: face.publish(OutgoingPost("Hello", (IMAGE,)), "key")),
    "POST /2/media/metadata": ("/2/media/metadata", lambda face: face.publish(OutgoingPost("Hello", (IMAGE,)), "key")),
    "DELETE /2/tweets/5": ("/2/tweets/5", lambda face: face.delete("5")),
}


def failed(act: Callable[[], Any]) -> FaceError:
    with pytest.raises(FaceError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_says_what_it_proves_about_a_post(face: XFace, x: FakeX, name: str) -> None:
    x.refuse["POST", "/2/tweets"], expected = FAILURES[name]
    error = failed(lambda: face.publish(OutgoingPost("Hello"), "key"))
    assert (error.permanent, error.sent, error.credentials) == expected
    assert "token-of-kilroy" not in str(error)


@pytest.mark.parametrize("write", WRITES)
def test_one_attempt_is_one_request_under_every_failure(
    face: XFace, x: FakeX, server: Loopback, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    path, act = WRITES[write]
    method = write.partition(" ")[0]
    for name, (reply, _) in FAILURES.items():
        x.refuse[method, path] = reply
        server.requests.clear()
        with suppress(FaceError):  # an image may be uploaded by an answer that publishes nothing
            act(face)
        assert server.count(method, path) == 1, name
        assert server.count("POST", "/2/tweets") <= 1, name


@pytest.mark.parametrize("name", ["server error", "no answer", "a page", "over capacity"])
def test_an_image_that_cannot_be_uploaded_proves_that_nothing_was_published(face: XFace, x: FakeX, name: str) -> None:
    for path in ("/2/media/upload", "/2/media/metadata"):
        x.refuse = {("POST", path): FAILURES[name][0]}
        error = failed(lambda: face.publish(OutgoingPost("Hello", (IMAGE,)), "key"))
        assert (error.sent, error.permanent) == (False, False)
    assert x.requests["POST", "/2/tweets"] == 0


def test_getting_ready_for_too_long_publishes_nothing(face: XFace, x: FakeX, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREPARING_SECONDS", -1.0)
    error = failed(lambda: face.publish(OutgoingPost("Hello"), "key"))
    assert (error.sent, error.permanent) == (False, False)
    assert x.requests["POST", "/2/tweets"] == 0


def test_a_rate_limit_of_an_hour_is_an_hour(face: XFace, x: FakeX) -> None:
    x.refuse["POST", "/2/tweets"] = told(429, x_rate_limit_remaining="0", x_rate_limit_reset=in_seconds(3600))
    assert failed(lambda: face.publish(OutgoingPost("Hello"), "key")).retry_after == pytest.approx(3600, abs=30)


def test_the_limit_of_the_day_counts_when_it_is_the_one_used_up(face: XFace, x: FakeX) -> None:
    x.refuse["POST", "/2/tweets"] = told(
        429,
        x_rate_limit_remaining="40",
        x_rate_limit_reset=in_seconds(60),
        x_user_limit_24hour_remaining="0",
        x_user_limit_24hour_reset=in_seconds(3600),
    )
    assert failed(lambda: face.publish(OutgoingPost("Hello"), "key")).retry_after == pytest.approx(3600, abs=30)


def test_a_post_more_than_the_limit_has_to_wait(face: XFace, x: FakeX) -> None:
    now, x.limit = time.time(), 3
    x.now = lambda: now
    for number in range(3):
        face.publish(OutgoingPost(f"Post {number}"), "key")
    error = failed(lambda: face.publish(OutgoingPost("One more"), "key"))
    assert error.retry_after == pytest.approx(900, abs=30)
    assert len(x.posts) == 3
    x.now = lambda: now + 901
    face.publish(OutgoingPost("One more"), "key")


def test_the_same_text_again_may_be_our_own_post(face: XFace, x: FakeX) -> None:
    made = face.publish(OutgoingPost("Hello"), "key")
    error = failed(lambda: face.publish(OutgoingPost("Hello"), "key"))
    assert (error.sent, error.permanent) == (True, False)
    found = face.find("key", OutgoingPost("Hello"), made.at)
    assert [post.remote_id for post in found] == [made.remote_id]


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (lambda x: x.accounts.pop("token-of-kilroy"), "Unauthorized"),
        (lambda x: x.accounts["token-of-kilroy"].update(suspended=True), "account is suspended"),
    ],
    ids=["revoked", "suspended"],
)
def test_a_connection_that_x_no_longer_takes_is_broken_with_its_words(
    connection: Connection, x: FakeX, arrange: Callable[[FakeX], Any], words: str
) -> None:
    arrange(x)
    assert failed(lambda: check_connection(connection.pk)).credentials
    row = Connection.objects.get()
    assert row.state == "broken"
    assert words in row.problem


@pytest.mark.parametrize("name", ["server error", "a page", "no answer", "rate limit", "no credits"])
def test_a_passing_fault_breaks_nothing(connection: Connection, x: FakeX, name: str) -> None:
    x.refuse["GET", "/2/users/me"] = FAILURES[name][0]
    failed(lambda: check_connection(connection.pk))
    assert Connection.objects.get().state == "connected"


def test_too_long_and_forbidden_texts_are_refused_for_good(face: XFace, x: FakeX) -> None:
    for text in ("x" * 281, "a\ufeffb"):
        error = failed(lambda text=text: face.publish(OutgoingPost(text), "key"))
        assert (error.permanent, error.sent) == (True, False)
        assert face.objection(OutgoingPost(text)) != ""


@pytest.mark.parametrize("name", ["server error", "a page", "no answer", "garbled", "rate limit"])
def test_reading_fails_with_the_same_errors(face: XFace, x: FakeX, name: str) -> None:
    face.connection.settings["user_id"] = "11"
    reply, _ = FAILURES[name]
    for path, act in {
        "/2/tweets": lambda: face.metrics(["5"]),
        "/2/tweets/5": lambda: face.look_up("5"),
        "/2/users/11/tweets": lambda: list(face.find("key", OutgoingPost("x"), module.posted_at("5"))),
        "/2/users/11/mentions": lambda: face.inbox(None),
    }.items():
        x.refuse["GET", path] = reply
        assert not failed(act).permanent


def test_what_never_left_is_known_to_be_unsent(connection: Connection, settings: Settings, x: FakeX) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        unused = closed.getsockname()[1]
    for host, port in (("127.0.0.1", unused), ("no-such-host.invalid", 80)):
        settings.API_BASES = {"x": f"http://{host}:{port}"}
        settings.OUTBOUND_ALLOW = frozenset({(host, port)})
        error = failed(lambda: XFace(connection).publish(OutgoingPost("Hello"), "key"))
        assert (error.sent, error.permanent) == (False, False)


def test_a_slow_answer_and_one_without_end_leave_the_outcome_open(
    face: XFace, x: FakeX, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TOTAL_SECONDS": -1.0, "MOST_BYTES": 10}.items():
        with monkeypatch.context() as patch:
            patch.setattr(http, name, value)
            assert failed(lambda name=name: face.publish(OutgoingPost(f"Hello {name}"), "key")).sent
    assert len(x.posts) == 2


def test_x_itself_is_asked_where_no_other_address_is_set(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.API_BASES = {}
    asked: list[str] = []

    def send(self: Any, method: str, url: str, **how: Any) -> Any:
        asked.append(url)
        raise http.requests.ConnectionError

    monkeypatch.setattr(http.requests.Session, "request", send)
    failed(lambda: client("t").get_tweet("5"))
    assert asked == ["https://api.x.com/2/tweets/5"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"title": "Forbidden", "detail": "No."}, "No."),
        ({"errors": [{"message": "$.text: bad"}], "detail": "Invalid."}, "$.text: bad Invalid."),
        ({"errors": [{"detail": "No."}, "odd"], "detail": "No."}, "No."),
        ({"error": "invalid_request", "error_description": "Wrong."}, "Wrong."),
        ({"title": "Forbidden"}, "Forbidden"),
        ({"errors": 5}, ""),
        (["x"], ""),
    ],
)
def test_errors_are_told_in_xs_own_words(data: Any, words: str) -> None:
    assert explain(data) == words
