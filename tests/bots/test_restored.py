"""A database that was put back to an earlier moment: noticed by witnesses outside, and nothing is sent blindly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.utils import timezone

from accounts import site
from accounts.models import AuditEntry, Site
from accounts.tenancy import tenant
from bots import tasks
from bots.models import Bot, Post
from bots.services import delivery, recovery, restored, scheduling
from bots.states import PostState
from faces.contract import Face, Published
from tests.factories import World, make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _witnesses(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.VAR = tmp_path
    monkeypatch.setattr(site, "WITNESS", f"kilroy.pulse.{tmp_path}")  # workers of one test run share Redis
    yield
    cache.delete(site.WITNESS)


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Iterator[Bot]:
    with tenant(committed.acme.pk):
        yield make_bot(make_connection("fake"))


def _put_back(by: timedelta) -> datetime:
    """What a restore leaves behind: the rows of an earlier moment, with their pulse."""
    restored.keep_pulse()
    then = timezone.now() - by
    Site.objects.update(pulse_at=then)
    return then


def _states(posts: dict[str, Post]) -> dict[str, str]:
    return {name: Post.objects.values_list("state", flat=True).get(pk=post.pk) for name, post in posts.items()}


def test_the_pulse_reaches_the_row_the_file_and_redis(tmp_path: Path) -> None:
    tasks.keep_pulse()
    moment = Site.objects.get().pulse_at
    assert moment is not None
    assert abs(moment - timezone.now()) < timedelta(seconds=30)
    assert (tmp_path / "pulse").read_text() == cache.get(site.WITNESS) == moment.isoformat()
    assert (restored.keep_pulse(), site.paused(), site.lost_since()) == (0, "", None)


@pytest.mark.parametrize(("by", "noticed"), [(timedelta(seconds=50), False), (timedelta(seconds=70), True)])
def test_a_minute_lost_is_a_restore(by: timedelta, noticed: bool) -> None:
    _put_back(by)
    assert bool(site.paused()) is noticed
    restored.keep_pulse()
    assert bool(Site.objects.get().paused_at) is noticed


@pytest.mark.parametrize("witness", ["file", "redis"])
def test_either_witness_is_enough(tmp_path: Path, witness: str) -> None:
    then = _put_back(HOUR)
    if witness == "file":
        cache.delete(site.WITNESS)
    else:
        (tmp_path / "pulse").unlink()
    assert site.lost_since() == then


def test_a_new_database_beside_an_old_witness_is_no_restore() -> None:
    restored.keep_pulse()
    Site.objects.all().delete()
    assert (restored.keep_pulse(), site.paused()) == (0, "")


def test_a_witness_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    restored.keep_pulse()
    cache.delete(site.WITNESS)
    for content in (b"", b"\xff\xfe", b"yesterday", b"2030-01-01"):
        (tmp_path / "pulse").write_bytes(content)
        assert (site.lost_since(), site.paused()) == (None, "")


def test_what_may_have_been_sent_is_looked_for_and_the_rest_waits(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    now = timezone.now()
    posts = {
        "past": make_post(bot, "scheduled", slot_utc=now - HOUR / 2),
        "future": make_post(bot, "scheduled", slot_utc=now + HOUR),
        "queued": make_post(bot, "queued"),
        "leased": make_post(bot, "leased"),
        "sending": make_post(bot, "sending"),
        "approved": make_post(bot, "approved", approved_at=now - 2 * HOUR),
        "just approved": make_post(bot, "approved", approved_at=now - HOUR),
        "reply": make_post(bot, "approved", approved_at=now - 2 * HOUR, kind="reply", reply_to="1"),
        "published": make_post(bot, "published"),
    }
    posts["part"] = make_post(bot, "approved", approved_at=now - 2 * HOUR, continues=posts["past"])
    then = _put_back(HOUR)
    assert restored.keep_pulse() == 7
    names = ("past", "queued", "leased", "sending", "just approved", "reply", "part")
    unknown = dict.fromkeys(names, "unknown")
    assert _states(posts) == unknown | {"future": "scheduled", "approved": "approved", "published": "published"}
    doubtful = Post.objects.filter(state="unknown")
    assert set(doubtful.values_list("sent_at", flat=True)) == {then}
    line = AuditEntry.objects.get(action="organization.restored")
    assert line.after == {"to": then.isoformat(), "posts": 7}
    assert (restored.keep_pulse(), "put back" in site.paused()) == (0, True)  # noticed once, and paused until resumed

    assert recovery.recover_posts() == 0  # what was under way may still arrive
    doubtful.update(not_before=None)
    platform.found = Published("found-1", "", now)
    recovery.recover_posts()
    assert Post.objects.filter(remote_id="found-1").count() == 1
    assert (scheduling.queue_due(), platform.published) == (0, [])


def test_when_more_was_lost_than_slots_are_given_out_for_every_approved_post_may_be_out(bot: Bot) -> None:
    post = make_post(bot, "approved", approved_at=timezone.now() - 90 * HOUR)
    _put_back(47 * HOUR)
    assert restored.keep_pulse() == 0
    _put_back(49 * HOUR)
    assert restored.keep_pulse() == 1
    assert _states({"post": post}) == {"post": "unknown"}


def test_with_a_key_what_was_not_sent_goes_out_once_a_person_resumes(
    bot: Bot, platform: FakePlatform, with_keys: type[Face]
) -> None:
    post = make_post(bot, "queued")
    _put_back(HOUR)
    restored.keep_pulse()
    Post.objects.update(not_before=None)
    recovery.recover_posts()
    assert delivery.deliver_post(post.pk) == "queued"  # asked for, not there, and held by the pause
    assert platform.published == []
    call_command("resume")
    Post.objects.update(not_before=None)
    assert delivery.deliver_post(post.pk) == "published"
    assert [key for _, key in platform.published] == [post.platform_key]


def test_no_send_begins_before_the_restore_was_handled(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    """The database is put back under running workers: the publisher itself sees the file."""
    post = make_post(bot, "queued")
    make_post(bot, "scheduled", slot_utc=timezone.now())
    _put_back(HOUR)
    assert (delivery.deliver_post(post.pk), scheduling.queue_due(), platform.published) == ("queued", 0, [])


def test_a_publisher_of_the_time_before_cannot_book(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued")

    def meanwhile(*_: Any) -> None:
        _put_back(HOUR)
        restored.keep_pulse()

    platform.on_publish = meanwhile
    delivery.deliver_post(post.pk)
    post.refresh_from_db()
    assert (post.state, post.remote_id) == ("unknown", None)


def test_the_fence_of_a_publisher_of_the_time_before_is_never_given_again(bot: Bot, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued")
    (before,) = delivery.claim([post.pk])
    Post.objects.update(state="queued", fence=before.fence - 1)  # the restored row knows nothing of that claim
    _put_back(HOUR)
    restored.keep_pulse()
    post.refresh_from_db()
    assert delivery.settle(post, PostState.UNKNOWN, PostState.QUEUED)
    Post.objects.update(not_before=None)
    (again,) = delivery.claim([post.pk])
    assert again.fence > before.fence


def test_every_organization_is_looked_at(committed: World, bot: Bot) -> None:
    mine = make_post(bot, "queued")
    with tenant(committed.globex.pk):
        theirs = make_post(make_bot(), "queued")
    call_command("restored", since="2026-05-04T08:00")
    assert _states({"mine": mine}) == {"mine": "unknown"}
    with tenant(committed.globex.pk):
        assert _states({"theirs": theirs}) == {"theirs": "unknown"}
    assert "put back" in site.paused()


def test_by_hand_the_databases_own_pulse_is_the_moment(bot: Bot) -> None:
    post = make_post(bot, "queued")
    then = _put_back(timedelta(seconds=10))
    call_command("restored")
    post.refresh_from_db()
    assert (post.state, post.sent_at) == ("unknown", then)
