"""Connections are looked at in the background: when, what breaks them, who hears of it, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts import clock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from faces import health
from faces.contract import FaceError, Verification
from faces.models import Connection
from faces.registry import FACES
from faces.services import check_connection, last_check
from tests.factories import World, client_of, make_bot, make_connection, make_post
from tests.fake_platform import FakePlatform, StubKind, fake_face
from tests.telling import mailed

DOWN = FaceError("Fake answered 503.", permanent=False, sent=True)
REVOKED = FaceError("Fake answered 401: token revoked.", permanent=True, credentials=True)
UNLABELLED = Verification("@bot", ("Mark the account as automated.",), present=("May post.",))


class Platform(FakePlatform):
    """`answer` is what the next checks find."""

    answer: Verification | FaceError = Verification("@bot", present=("May post.",))
    checks = 0


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    platform = Platform()

    class Face(fake_face(platform)):  # type: ignore[misc]
        def verify(self) -> Verification:
            platform.checks += 1
            if isinstance(platform.answer, FaceError):
                raise platform.answer
            return platform.answer

    monkeypatch.setitem(FACES, "fake", StubKind(Face))
    return platform


@pytest.fixture
def connection(world: World, platform: Platform) -> Iterator[Connection]:
    cache.clear()
    with tenant(world.acme.pk):
        yield make_connection("fake", "Ours")


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(health, "ring", lambda task, *ids: calls.append(ids[-1]))
    return calls


def state(connection: Connection) -> tuple[str, str]:
    connection.refresh_from_db()
    return connection.state, connection.problem


def test_every_connection_is_checked_once_a_day(connection: Connection, rung: list[Any]) -> None:
    assert (health.ring_due(), rung) == (1, [connection.pk])
    check_connection(connection.pk)
    assert health.ring_due() == 0
    with clock.simulated(clock.now() + timedelta(hours=19)):
        assert health.ring_due() == 0
    with clock.simulated(clock.now() + timedelta(hours=25)):
        assert health.ring_due() == 1


def test_a_broken_one_is_asked_again_sooner_and_mends_by_itself(
    connection: Connection, platform: Platform, rung: list[Any]
) -> None:
    platform.answer = REVOKED
    health.check_in_background(connection.pk)
    assert (state(connection)[0], health.ring_due()) == ("broken", 0)
    cache.clear()
    with clock.simulated(clock.now() + timedelta(minutes=61)):
        assert health.ring_due() == 1
        health.check_in_background(connection.pk)
        assert health.ring_due() == 0
    cache.clear()
    platform.answer = Verification("@bot")
    health.check_in_background(connection.pk)
    assert state(connection) == ("connected", "")


def test_a_platform_that_is_down_breaks_nothing_and_is_asked_at_the_next_sweep(
    connection: Connection, platform: Platform, rung: list[Any]
) -> None:
    platform.answer = DOWN
    assert not health.check_in_background(connection.pk)
    assert (state(connection), health.ring_due()) == (("connected", ""), 1)


def test_owners_are_told_once_and_the_posts_stay(
    connection: Connection,
    platform: Platform,
    django_capture_on_commit_callbacks: Any,
) -> None:
    post = make_post(make_bot(connection), "queued")
    platform.answer = REVOKED
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(3):
            cache.clear()
            health.check_in_background(connection.pk)
    post.refresh_from_db()
    assert (post.state, state(connection)) == ("queued", ("broken", str(REVOKED)))
    assert mailed() == ["Kilroy: Ours must be connected again"]


def test_owners_hear_when_something_went_missing_and_not_while_they_set_it_up(
    connection: Connection,
    platform: Platform,
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        platform.answer = UNLABELLED
        check_connection(connection.pk)
        assert mailed() == []
        platform.answer = Verification("@bot")
        check_connection(connection.pk)
        platform.answer = UNLABELLED
        check_connection(connection.pk)
        check_connection(connection.pk)
    assert mailed() == ["Kilroy: Ours needs its owner"]
    assert state(connection) == ("broken", "Mark the account as automated.")


def test_two_bells_are_one_check(connection: Connection, platform: Platform) -> None:
    assert [health.check_in_background(connection.pk) for _ in range(2)] == [True, False]
    assert platform.checks == 1


def test_a_daily_check_that_finds_what_it_found_leaves_no_line(connection: Connection) -> None:
    for _ in range(3):
        check_connection(connection.pk)
    assert AuditEntry.objects.filter(action="connection.check").count() == 1
    assert last_check(connection) == {}  # the row at hand was never checked
    connection.refresh_from_db()
    assert last_check(connection)["present"] == ["May post."]


def test_a_check_does_not_undo_what_changed_meanwhile(
    connection: Connection, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(self: Any) -> Verification:
        Connection.objects.update(settings={"visibility": "unlisted"})
        return Verification("@bot", settings={"max_characters": 60})

    monkeypatch.setattr(FACES["fake"].load(), "verify", verify)
    check_connection(connection.pk)
    connection.refresh_from_db()
    assert connection.settings == {"visibility": "unlisted", "max_characters": 60}


def test_each_finding_is_listed_with_what_to_do(connection: Connection, platform: Platform, world: World) -> None:
    alice: Client = client_of(world.alice)
    page = f"/o/acme/connections/{connection.pk}/"
    assert "Nobody has asked Fake yet" in alice.get(page).content.decode()
    platform.answer = UNLABELLED
    shown = alice.post(f"{page}check/", follow=True).content.decode()
    assert shown.index(">missing<") < shown.index("<span>Mark the account as automated.") < shown.index(">ok<")
    assert "<span>May post.</span>" in shown


def test_the_bots_page_says_how_its_connection_is(connection: Connection, platform: Platform, world: World) -> None:
    alice, bot = client_of(world.alice), make_bot(connection)
    check_connection(connection.pk)
    overview = f"/o/acme/bots/{bot.pk}/"
    assert "Speaks as <a" in alice.get(overview).content.decode()
    platform.answer = REVOKED
    health.check_in_background(connection.pk)
    shown = alice.get(overview).content.decode()
    assert "token revoked" in shown
    assert f'href="/o/acme/connections/{connection.pk}/"' in shown
