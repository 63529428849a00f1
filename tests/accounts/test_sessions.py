"""Sessions: listed, ended one by one or all but this, and over at once for whatever asks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client

from accounts import access, clock
from accounts.models import User
from accounts.sessions import browser_of
from tests.accounts.signing_in import sign_in
from tests.accounts.test_pages import trouble_of
from tests.factories import PASSWORD, World

SESSIONS = "/account/sessions/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 "
    "Safari/537.36 Edg/138.0.0.0"
)


def _sign_in(world: World, browser: str, address: str = "127.0.0.1") -> Client:
    client = Client(REMOTE_ADDR=address, headers={"User-Agent": browser})
    sign_in(client, world.alice.email)
    return client


def session_lives(key: str, user: User) -> bool:
    return access.session_lives(Session.objects.filter(session_key=key).first(), User.objects.get(pk=user.pk))


def test_every_session_is_listed_with_its_browser_and_address(world: World) -> None:
    here, _ = _sign_in(world, FIREFOX), _sign_in(world, SAFARI, "203.0.113.9")
    answer = here.get(SESSIONS)
    html = answer.content.decode()
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    assert html.index("Firefox 140 on Linux") < html.index("(this one)") < html.index("Safari 18 on iPhone")
    assert ("203.0.113.9" in html, html.count('name="session"')) == (True, 1)


def test_one_is_ended_at_once_and_the_others_live_on(world: World) -> None:
    here, there, elsewhere = (_sign_in(world, browser) for browser in (FIREFOX, SAFARI, EDGE))
    key = there.session.session_key
    assert session_lives(key, world.alice)
    here.post(SESSIONS, {"session": UserSession.objects.get(session_key=key).pk})
    assert not session_lives(key, world.alice)
    assert [client.get("/o/acme/").status_code for client in (here, there, elsewhere)] == [200, 302, 200]


def test_all_others_are_ended(world: World) -> None:
    here, *others = (_sign_in(world, browser) for browser in (FIREFOX, SAFARI, EDGE))
    here.post(SESSIONS)
    assert [client.get("/o/acme/").status_code for client in (here, *others)] == [200, 302, 302]
    assert UserSession.objects.count() == 1


def test_nobody_ends_a_session_of_somebody_else(world: World) -> None:
    alice, charlie = _sign_in(world, FIREFOX), Client()
    sign_in(charlie, world.charlie.email)
    for value in (UserSession.objects.get(user=world.alice).pk, "x", "-1"):
        charlie.post(SESSIONS, {"session": value})
    assert alice.get("/o/acme/").status_code == 200


def test_a_changed_password_ends_every_other_session(world: World) -> None:
    here, there = _sign_in(world, FIREFOX), _sign_in(world, SAFARI)
    key = there.session.session_key
    form = {"oldpassword": PASSWORD, "password1": "another long pass phrase", "password2": "another long pass phrase"}
    here.post("/account/password/change/", form)
    assert not session_lives(key, world.alice)
    world.alice.refresh_from_db()
    assert world.alice.check_password("another long pass phrase")
    assert [client.get("/o/acme/").status_code for client in (here, there)] == [200, 302]
    assert len(here.get(SESSIONS).context["sessions"]) == 1


def test_a_session_that_is_gone_or_somebody_elses_does_not_live(world: World) -> None:
    alice = _sign_in(world, FIREFOX)
    key = alice.session.session_key
    assert [session_lives(k, world.alice) for k in (key, "0" * 32)] == [True, False]
    assert not session_lives(key, world.charlie)
    alice.post("/sign-out/")
    assert not session_lives(key, world.alice)


def test_last_seen_is_exact_to_a_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = _sign_in(world, FIREFOX)
    start = UserSession.objects.get().last_seen_at
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=30))
    alice.get("/o/acme/")
    assert UserSession.objects.get().last_seen_at == start
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=90))
    alice.get("/o/acme/", REMOTE_ADDR="203.0.113.9")
    seen = UserSession.objects.get()
    assert (seen.last_seen_at, seen.ip) == (now + timedelta(seconds=90), "203.0.113.9")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (FIREFOX, "Firefox 140 on Linux"),
        (SAFARI, "Safari 18 on iPhone"),
        (EDGE, "Edge 138 on Windows"),
        ("curl/8.5.0", "A browser"),
        ("", "A browser"),
    ],
)
def test_browsers_are_named_by_what_they_say(told: str, words: str) -> None:
    assert browser_of(told) == words
