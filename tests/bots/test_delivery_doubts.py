"""Answers of the database that were lost, keys whose window runs, and limits: what a publisher does when in doubt.

These tests commit, as the real steps do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, steps
from faces.contract import Face, FaceError, Limit
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform, StubKind, fake_face

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Iterator[Bot]:
    with tenant(committed.acme.pk):
        yield make_bot(make_connection("fake"))


def _state(post: Post) -> str:
    return Post.objects.values_list("state", flat=True).get(pk=post.pk)


def _loses_its_answer(monkeypatch: pytest.MonkeyPatch, step: str, *, landed: bool) -> list[int]:
    """The database vanishes at the COMMIT of the step to that state, just after or just before it took place."""
    ordinary, lost = delivery.transaction.atomic, []

    class Atomic:
        def __enter__(self) -> None:
            self.block = ordinary()
            self.block.__enter__()

        def __exit__(self, *error: Any) -> None:
            moved = Post.objects.filter(state=step).exists() if error[0] is None and not lost else False
            if moved and not landed:
                self.block.__exit__(OperationalError, OperationalError("gone"), None)
            else:
                self.block.__exit__(*error)
            if moved:
                lost.append(1)
                raise OperationalError("server closed the connection unexpectedly")

    def atomic(**options: Any) -> Any:
        return ordinary(**options) if options else Atomic()  # with options: a block within the step

    monkeypatch.setattr(steps.transaction, "atomic", atomic)
    monkeypatch.setattr(steps, "REPEATS", (0.0, 0.0))
    return lost


@pytest.mark.parametrize("landed", [True, False])
def test_an_intent_whose_commit_was_not_answered_is_sent_only_if_it_is_surely_ours(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    post = make_post(bot, "queued")
    lost = _loses_its_answer(monkeypatch, "sending", landed=landed)
    outcome = delivery.deliver_post(post.pk)
    assert lost == [1]
    if landed:  # by whom cannot be told: nothing is sent, and the outcome will be looked for
        assert (outcome, _state(post), platform.published) == (None, "sending", [])
    else:
        assert (outcome, _state(post), len(platform.published)) == ("published", "published", 1)


@pytest.mark.parametrize("landed", [True, False])
def test_an_outcome_whose_commit_was_not_answered_is_booked_once(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    post = make_post(bot, "queued")
    lost = _loses_its_answer(monkeypatch, "published", landed=landed)
    assert (delivery.deliver_post(post.pk), lost) == ("published", [1])
    assert (_state(post), len(platform.published)) == ("published", 1)
    assert AuditEntry.objects.filter(action="post.publish", object_id=str(post.pk)).count() == 1


def test_a_database_that_stays_away_is_not_asked_for_ever(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    post, tried = make_post(bot, "queued"), []
    monkeypatch.setattr(steps, "REPEATS", (0.0, 0.0))

    def gone() -> bool:
        tried.append(1)
        raise OperationalError("the database is starting up")

    with pytest.raises(OperationalError):
        steps.persistently(gone)
    assert len(tried) == 3
    assert delivery.deliver_post(post.pk) == "published"


def test_the_window_of_a_key_begins_with_the_first_attempt_that_may_have_been_sent(
    bot: Bot, platform: FakePlatform, with_keys: type[Face]
) -> None:
    post = make_post(bot, "queued")

    def attempt(error: FaceError) -> Any:
        platform.answers = [error]
        Post.objects.update(not_before=None)
        delivery.deliver_post(post.pk)
        post.refresh_from_db()
        return post.sent_at

    assert attempt(FaceError("refused", permanent=False)) is None
    first = attempt(FaceError("reset", permanent=False, sent=True))
    assert first is not None
    Post.objects.update(state="queued")
    assert attempt(FaceError("refused", permanent=False)) == first
    assert attempt(FaceError("reset", permanent=False, sent=True)) == first


def test_a_post_beyond_the_platforms_limits_waits_for_its_turn(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (Limit("publish", 1, 3600),)
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, limits=limits)))
    posts = [make_post(bot, "queued"), make_post(bot, "queued")]
    assert [delivery.deliver_post(post.pk) for post in posts] == ["published", "queued"]
    posts[1].refresh_from_db()
    assert posts[1].not_before is not None
    assert posts[1].not_before > timezone.now() + timedelta(minutes=50)
    assert (posts[1].attempts, "allows 1 calls" in posts[1].last_error, len(platform.published)) == (0, True, 1)
