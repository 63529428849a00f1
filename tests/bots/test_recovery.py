"""The janitor: leases that ran out, outcomes that nobody knows, doorbells that nobody heard.

These tests commit, as the real steps do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, recovery
from bots.states import PostState
from faces.contract import Face, FaceError, Limit, Published
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform, StubKind, fake_face

pytestmark = pytest.mark.django_db(transaction=True)
AGO = timedelta(hours=1)


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Iterator[Bot]:
    with tenant(committed.acme.pk):
        yield make_bot(make_connection("fake"))


def _state(post: Post) -> str:
    return Post.objects.values_list("state", flat=True).get(pk=post.pk)


def _unknown(bot: Bot, **fields: Any) -> Post:
    return make_post(bot, "unknown", **{"sent_at": timezone.now() - AGO} | fields)


def test_a_lease_that_ran_out_before_sending_is_due_again(bot: Bot, without_keys: type[Face]) -> None:
    post = make_post(bot, "leased", lease_until=timezone.now() - AGO)
    living = make_post(bot, "leased")
    assert recovery.recover_posts() == 1
    assert (_state(post), _state(living)) == ("queued", "leased")


def test_a_lease_that_ran_out_while_sending_is_an_unknown_outcome(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post = make_post(bot, "sending", lease_until=timezone.now() - AGO)
    living = make_post(bot, "sending")
    assert recovery.recover_posts() == 1
    assert (_state(post), _state(living), platform.published) == ("unknown", "sending", [])


def test_an_unknown_outcome_rests_before_the_platform_is_asked(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    _unknown(bot, sent_at=timezone.now())
    recovery.recover_posts()
    assert platform.finds == 0


def test_it_rests_again_after_every_attempt(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued", sent_at=timezone.now() - AGO)  # an earlier attempt may have been sent
    platform.answers = [FaceError("The line went dead.", permanent=False, sent=True)]
    assert delivery.deliver_post(post.pk) == PostState.UNKNOWN
    recovery.recover_posts()
    assert platform.finds == 0
    Post.objects.update(not_before=timezone.now())
    recovery.recover_posts()
    assert platform.finds == 1


@pytest.mark.usefixtures("without_keys")
def test_what_is_found_on_the_platform_is_booked_and_not_sent_again(bot: Bot, platform: FakePlatform) -> None:
    at = timezone.now() - AGO
    platform.found = Published("found-1", "https://fake.example/found", at)
    post = _unknown(bot)
    assert recovery.recover_posts() == 1
    post.refresh_from_db()
    assert (post.state, post.remote_id, post.published_at, platform.published) == ("published", "found-1", at, [])
    assert post.next_reading_at is not None


@pytest.mark.usefixtures("with_keys")
def test_a_platform_with_keys_gets_the_same_key_again(bot: Bot, platform: FakePlatform) -> None:
    post = _unknown(bot)
    assert recovery.recover_posts() == 1
    assert (_state(post), platform.finds) == ("queued", 1)
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED
    assert [key for _, key in platform.published] == [post.platform_key]


@pytest.mark.parametrize(("minutes", "state"), [(50, "queued"), (58, "unknown")])
def test_a_key_is_used_again_only_while_the_platform_remembers_it(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, minutes: int, state: str
) -> None:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, idempotency="key", key_window=3600.0)))
    post = _unknown(bot, sent_at=timezone.now() - timedelta(minutes=minutes))
    recovery.recover_posts()
    assert (_state(post), platform.published) == (state, [])


@pytest.mark.usefixtures("without_keys")
def test_what_is_found_but_belongs_to_another_row_is_passed_by(bot: Bot, platform: FakePlatform) -> None:
    make_post(bot, "published", remote_id="found-1")
    platform.found = Published("found-1", "", timezone.now())
    post = _unknown(bot)
    recovery.recover_posts()
    assert (_state(post), platform.published) == ("unknown", [])


@pytest.mark.usefixtures("without_keys")
def test_a_platform_without_keys_is_asked_twice_and_then_a_person_decides(bot: Bot, platform: FakePlatform) -> None:
    post = _unknown(bot)
    with clock.simulated(timezone.now()) as time:
        assert recovery.recover_posts() == 0
        assert recovery.recover_posts() == 0  # the second look comes later than the first
        assert _state(post) == "unknown"
        time.advance(timedelta(seconds=61))
        assert recovery.recover_posts() == 1
    assert (_state(post), platform.published) == ("needs_human", [])


@pytest.mark.usefixtures("without_keys")
def test_sweeps_that_overlap_do_not_ask_for_the_same_post(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, look_for = _unknown(bot), recovery.look_for

    def while_another_sweep_runs(asked: Post) -> Published | None:
        monkeypatch.setattr(recovery, "look_for", look_for)
        recovery.recover_posts()
        return look_for(asked)

    monkeypatch.setattr(recovery, "look_for", while_another_sweep_runs)
    recovery.recover_posts()
    assert (_state(post), platform.finds) == ("unknown", 1)


@pytest.mark.usefixtures("without_keys")
def test_what_appears_by_the_second_look_is_booked(bot: Bot, platform: FakePlatform) -> None:
    post = _unknown(bot)
    with clock.simulated(timezone.now()) as time:
        recovery.recover_posts()
        platform.found = Published("found-1", "", timezone.now())
        time.advance(timedelta(seconds=61))
        assert recovery.recover_posts() == 1
    assert (_state(post), platform.finds) == ("published", 2)


@pytest.mark.usefixtures("without_keys")
def test_a_platform_that_cannot_be_asked_decides_nothing(bot: Bot, platform: FakePlatform) -> None:
    platform.found = FaceError("down", permanent=False)
    post = _unknown(bot)
    assert recovery.recover_posts() == 0
    post.refresh_from_db()
    assert (post.state, post.absences) == ("unknown", 0)


@pytest.mark.usefixtures("without_keys")
def test_one_bad_row_does_not_keep_the_janitor_from_the_others(bot: Bot, platform: FakePlatform) -> None:
    platform.found = RuntimeError("a bug in find")  # type: ignore[assignment]
    _unknown(bot)
    expired = make_post(bot, "leased", lease_until=timezone.now() - AGO)
    recovery.recover_posts()
    assert _state(expired) == "queued"


@pytest.mark.usefixtures("without_keys")
def test_the_janitor_works_for_every_organization(committed: World, bot: Bot) -> None:
    with tenant(committed.globex.pk):
        theirs = make_post(make_bot(make_connection("fake")), "leased", lease_until=timezone.now() - AGO)
    mine = make_post(bot, "leased", lease_until=timezone.now() - AGO)
    assert recovery.recover_posts() == 2
    assert _state(mine) == "queued"
    with tenant(committed.globex.pk):
        assert _state(theirs) == "queued"


@pytest.mark.usefixtures("without_keys")
def test_a_doorbell_that_nobody_heard_is_rung_again(bot: Bot, bells: list[Any]) -> None:
    post = make_post(bot, "queued")
    make_post(bot, "queued", not_before=timezone.now() + AGO)
    recovery.recover_posts()
    assert bells == [("bots.tasks.deliver_posts", [str(post.organization_id), str(post.pk)])]


def test_bells_of_one_connection_are_as_far_apart_as_its_platform_wants(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = fake_face(platform, limits=(Limit("publish", 1, 1), Limit("publish", 20, 60)))
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    heard: list[float] = []
    monkeypatch.setattr(
        "accounts.doorbell.current_app.send_task",
        lambda task, args, **options: heard.append(round(options.get("countdown", 0.0), 1)),
    )
    for _ in range(20):
        make_post(bot, "queued")
    recovery.recover_posts()
    assert heard == [round(number * 1.1, 1) for number in range(14)]  # the rest is the next round's
