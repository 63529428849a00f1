"""The replay of recorded traffic is strict: what was not recorded is not answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faces import recorded
from tests.faces.loopback import Request
from tests.faces.recorded import Recorded, cassettes, load

CASSETTE = {
    "interactions": [
        {
            "request": {"method": "POST", "uri": "https://a.example/do?b=2&a=1", "body": "to=<NAME>&blank="},
            "response": {
                "status": {"code": 201},
                "headers": {"X-Told": ["this"], "Content-Encoding": ["gzip"]},
                "body": {"string": '{"hello": "<NAME>"}'},
            },
        }
    ]
}


@pytest.fixture
def replay(tmp_path: Path) -> Recorded:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(CASSETTE))
    return Recorded(load(path, {"NAME": "alice"}))


def request(body: bytes, *, path: str = "/do", a: str = "1", method: str = "POST") -> Request:
    return Request(method, path, {"a": [a], "b": ["2"]}, {}, body)


def test_the_recorded_answer_is_given_once(replay: Recorded) -> None:
    sent = request(b"more=yes&to=alice&blank=")
    reply = replay.answer(sent)
    assert (reply.status, reply.raw, reply.headers) == (201, b'{"hello": "alice"}', {"X-Told": "this"})
    assert (replay.answer(sent).status, replay.unmatched) == (418, [sent])


@pytest.mark.parametrize(
    "sent",
    [
        request(b"to=alice"),
        request(b"to=bob&blank="),
        request(b"blank="),
        request(b"to=alice&blank=", path="/done"),
        request(b"to=alice&blank=", a="2"),
        request(b"to=alice&blank=", method="PUT"),
    ],
    ids=["a blank field left out", "another value", "a field left out", "another path", "another query", "a method"],
)
def test_what_was_not_recorded_is_not_answered(replay: Recorded, sent: Request) -> None:
    assert replay.answer(sent).status == 418
    assert replay.unmatched == [sent]


def test_recordings_that_are_not_there_fail_where_it_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"recordings\.sh"):
        cassettes("praw-8.0.3")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match=r"recordings\.sh"):
        cassettes("praw-8.0.3")
