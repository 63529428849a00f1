"""Allowing a connection on Reddit's own page."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError

from faces.contract import FaceError
from faces.kinds.reddit.flow import RedditFlow
from faces.oauth import expires_soon
from faces.registry import FACES
from faces.services import checked_settings, split_secrets
from tests.faces.loopback import Loopback, Reply
from tests.faces.reddit.fake import SCOPES, FakeReddit

APP = {"client_id": "app", "client_secret": "app-secret"}
BACK = "https://kilroy.example/back"


def finish(code: str = "the-code", given: dict[str, str] = APP) -> dict[str, str]:
    return RedditFlow().finish({}, given, {}, code, BACK)


def test_a_person_is_sent_to_reddit(server: Loopback) -> None:
    url = RedditFlow().begin({}, APP, BACK, "state-1").url
    assert url.startswith(f"{server.url}/api/v1/authorize?")
    assert {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} == {
        "client_id": "app",
        "duration": "permanent",
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": SCOPES,
        "state": "state-1",
    }
    assert server.requests == []


def test_by_default_it_is_the_real_one() -> None:
    url = RedditFlow().begin({}, APP, BACK, "state-1").url
    assert (urlsplit(url).scheme, urlsplit(url).netloc) == ("https", "www.reddit.com")


def test_an_app_is_needed() -> None:
    with pytest.raises(FaceError, match="client ID"):
        RedditFlow().begin({}, {"client_id": "app", "client_secret": ""}, BACK, "state-1")


def test_the_code_becomes_credentials(reddit: FakeReddit, server: Loopback) -> None:
    kept = finish()
    assert {**kept, "expires_at": ""} == {
        **APP,
        "access_token": "live",
        "refresh_token": "kept",
        "scope": SCOPES,
        "expires_at": "",
    }
    assert not expires_soon(kept)
    form = {name: values[0] for name, values in server.requests[0].form.items()}
    assert form == {"grant_type": "authorization_code", "code": "the-code", "redirect_uri": BACK}
    assert len(server.requests) == 1


def test_a_code_or_an_app_that_reddit_does_not_know(reddit: FakeReddit) -> None:
    with pytest.raises(FaceError, match="invalid_grant"):
        finish(code="another")
    with pytest.raises(FaceError, match="client ID and secret"):
        finish(given=APP | {"client_secret": "wrong"})


def test_a_permission_for_an_hour_is_not_enough(server: Loopback) -> None:
    told = {"access_token": "live", "expires_in": 3600, "scope": SCOPES}
    server.answer = lambda request: Reply(data=told)
    with pytest.raises(FaceError, match="an hour"):
        finish()


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b"{}", b'{"access_token": "live"}'])
def test_an_answer_without_a_token(server: Loopback, raw: bytes) -> None:
    server.answer = lambda request: Reply(raw=raw)
    with pytest.raises(FaceError, match="no token"):
        finish()


def test_the_form_takes_names_as_people_write_them() -> None:
    for typed, kept in {"r/test": "test", "/r/test/": "test", "u/alice": "u_alice", "": ""}.items():
        assert checked_settings("reddit", {"subreddit": typed})["subreddit"] == kept
    public, secret = split_secrets("reddit", checked_settings("reddit", APP))
    assert (secret, "client_secret" in public) == (APP, False)
    assert FACES["reddit"].flow.endswith("RedditFlow")


@pytest.mark.parametrize(
    "typed", [{"subreddit": "a b"}, {"subreddit": "x/../y"}, {"user_agent": "a\r\nX: b"}, {"flair_id": "<b>"}]
)
def test_the_form_refuses_what_is_no_name(typed: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=next(iter(typed))):
        checked_settings("reddit", typed)
