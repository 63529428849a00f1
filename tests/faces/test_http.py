"""One call is one request, and its error says whether the platform may have acted on it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from faces import http
from faces.contract import FaceError
from faces.http import Api
from tests.faces.loopback import Loopback, Reply, serve


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve() as loopback:
        yield loopback


@pytest.fixture
def api(server: Loopback) -> Api:
    return Api("Example", server.url, requests.Session(), explain=lambda data: str(data.get("error", "")))


def refused(api: Api) -> FaceError:
    with pytest.raises(FaceError) as caught:
        api.post("/posts", json={"text": "x"})
    return caught.value


def test_an_answer_is_parsed(api: Api, server: Loopback) -> None:
    server.answer = lambda request: Reply(201, {"id": "7"}, {"X-Thing": "1"})
    answer = api.post("/posts", json={"text": "x"}, headers={"Idempotency-Key": "k"})
    assert (answer.status, answer.data, answer.headers["x-thing"]) == (201, {"id": "7"}, "1")
    (request,) = server.requests
    assert (request.json, request.headers["idempotency-key"]) == ({"text": "x"}, "k")


@pytest.mark.parametrize(
    ("status", "permanent", "sent", "credentials"),
    [
        (400, True, False, False),
        (401, True, False, True),
        (403, True, False, False),
        (404, True, False, False),
        (413, True, False, False),
        (422, True, False, False),
        (429, False, False, False),
        (302, True, False, False),
        (408, False, True, False),
        (409, False, True, False),
        (425, False, True, False),
        (500, False, True, False),
        (502, False, True, False),
        (503, False, True, False),
    ],
)
def test_every_refusal_says_what_it_proves(
    api: Api, server: Loopback, status: int, permanent: bool, sent: bool, credentials: bool
) -> None:
    server.answer = lambda request: Reply(status, {"error": "No such thing"})
    error = refused(api)
    assert (error.permanent, error.sent, error.credentials) == (permanent, sent, credentials)
    assert "No such thing" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [Reply(raw=b"<html>Back soon</html>"), Reply(cut=True)], ids=["a page", "no answer"])
def test_an_answer_that_proves_nothing_leaves_the_outcome_open(api: Api, server: Loopback, reply: Reply) -> None:
    server.answer = lambda request: reply
    error = refused(api)
    assert (error.permanent, error.sent) == (False, True)
    assert len(server.requests) == 1


def test_a_slow_answer_leaves_the_outcome_open(api: Api, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", -1.0)
    assert refused(api).sent


def test_an_answer_that_comes_drop_by_drop_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                for _ in range(100):
                    client.sendall(b" ")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        error = refused(Api("Example", f"http://127.0.0.1:{listener.getsockname()[1]}", requests.Session()))
    assert error.sent
    assert time.monotonic() - begun < 2.0


def test_an_answer_without_end_is_cut_off(api: Api, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 10)
    server.answer = lambda request: Reply(data="x" * 100)
    assert refused(api).sent


def test_a_connection_that_was_refused_proves_that_nothing_was_sent(server: Loopback) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = refused(Api("Example", f"http://127.0.0.1:{port}", requests.Session()))
    assert (error.permanent, error.sent) == (False, False)


def test_a_name_that_does_not_resolve_proves_that_nothing_was_sent() -> None:
    error = refused(Api("Example", "http://no-such-host.invalid", requests.Session()))
    assert (error.permanent, error.sent) == (False, False)


def in_a_while(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("x-nothing", lambda: "5", None),
        ("retry-after", lambda: "3600", 3600),
        ("retry-after", lambda: format_datetime(in_a_while(90), usegmt=True), 90),
        ("x-ratelimit-reset", lambda: in_a_while(60).isoformat(), 60),
        ("x-rate-limit-reset", lambda: str(int(in_a_while(30).timestamp())), 30),
        ("x-ratelimit-reset-after", lambda: "1.5", 1.5),
        ("retry-after", lambda: "soon", None),
    ],
)
def test_the_wait_that_a_platform_asks_for(header: str, value: Callable[[], str], seconds: float | None) -> None:
    found = http.retry_after({header: value()})
    assert found == (None if seconds is None else pytest.approx(seconds, abs=2))
