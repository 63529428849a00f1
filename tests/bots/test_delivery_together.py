"""Posts of a local platform that one publisher takes together: each has all the promises that one alone has.

These tests commit, as the real steps do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import quotas, site
from accounts.models import AuditEntry, Organization, Webhook, WebhookDelivery
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, doorbells, recovery, scheduling
from bots.states import PostState
from faces.contract import FaceError
from faces.governor import calls_today
from faces.kinds.sandbox.face import SandboxFace
from faces.kinds.sandbox.models import SandboxPost
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform, StubKind, fake_face

pytestmark = pytest.mark.django_db(transaction=True)
AGO = timedelta(hours=1)
FRESH = delivery.FRESH


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(delivery, "FRESH", 600.0)


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, idempotency="key", local=True)))
    with tenant(committed.acme.pk):
        yield make_bot(make_connection("fake"))


def _due(bot: Bot, count: int) -> list[Post]:
    return [make_post(bot, "queued", f"Post {number}") for number in range(count)]


def _deliver(posts: list[Post]) -> list[str | None]:
    ended = delivery.deliver_posts([post.pk for post in posts])
    return [ended.get(post.pk) for post in posts]


def _states(posts: list[Post]) -> list[str]:
    found = dict(Post.objects.values_list("pk", "state"))
    return [found[post.pk] for post in posts]


def test_posts_of_a_local_platform_share_a_doorbell(bot: Bot, bells: list[Any], without_others: Bot) -> None:
    at = timezone.now() - timedelta(seconds=5)
    for number in range(doorbells.TOGETHER - 3):
        make_post(bot, "scheduled", slot_utc=at + timedelta(milliseconds=number))
    make_post(make_bot(bot.connection, name="Beside"), "scheduled", slot_utc=at)
    for number in range(2):
        make_post(without_others, "scheduled", slot_utc=at + timedelta(milliseconds=number))
    assert scheduling.queue_due() == doorbells.TOGETHER
    organization = str(bot.organization_id)
    assert {(task, arguments[0]) for task, arguments in bells} == {(doorbells.DELIVER, organization)}
    alone = {str(pk) for pk in without_others.posts.values_list("pk", flat=True)}
    shares = [arguments[1:] for _, arguments in bells]
    assert sorted(len(share) for share in shares) == [1, 1, doorbells.TOGETHER - 2]
    assert {share[0] for share in shares if len(share) == 1} == alone
    assert {pk for share in shares for pk in share} == {str(pk) for pk in Post.objects.values_list("pk", flat=True)}


def test_the_janitor_rings_for_them_together_too(bot: Bot, bells: list[Any]) -> None:
    posts = _due(bot, doorbells.TOGETHER + 1)
    assert recovery.recover_posts() == len(posts)
    assert [len(arguments) - 1 for _, arguments in bells] == [doorbells.TOGETHER, 1]


def test_a_face_that_is_not_installed_any_more_keeps_nobody_waiting(
    bot: Bot, bells: list[Any], without_others: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = timezone.now() - timedelta(seconds=5)
    make_post(without_others, "scheduled", slot_utc=at)
    make_post(bot, "scheduled", slot_utc=at)
    monkeypatch.delitem(FACES, "remote")
    assert (scheduling.queue_due(), len(bells)) == (2, 2)
    assert (recovery.recover_posts(), len(bells)) == (2, 4)


@pytest.fixture
def without_others(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> Bot:
    """A bot of a platform that is not local."""
    monkeypatch.setitem(FACES, "remote", StubKind(fake_face(FakePlatform())))
    return make_bot(make_connection("remote", name="Far away"), name="Far away")


def test_each_is_sent_once_in_order_and_counted(bot: Bot, platform: FakePlatform) -> None:
    posts = _due(bot, 5)
    assert _deliver(posts) == ["published"] * 5
    assert [key for _, key in platform.published] == [post.platform_key for post in posts]
    assert (quotas.used("posts_per_day"), calls_today(bot.connection)) == (5.0, {"publish": 5})
    lines = AuditEntry.objects.filter(action="post.publish").values_list("object_id", flat=True)
    assert sorted(lines) == sorted(str(post.pk) for post in posts)
    assert set(Post.objects.values_list("fence", "attempts", "owner", "lease_until")) == {(1, 1, "", None)}
    assert _deliver(posts) == [None] * 5


def test_all_intents_are_committed_before_the_first_is_sent(bot: Bot, platform: FakePlatform) -> None:
    posts = _due(bot, 3)
    seen: list[list[str]] = []
    platform.on_publish = lambda *_: seen.append(_states(posts))
    _deliver(posts)
    assert seen[0] == ["sending"] * 3
    assert seen[2] == ["published", "published", "sending"]


def test_one_that_was_lost_meanwhile_is_not_sent_and_the_others_are(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, ordinary = _due(bot, 3), delivery.outgoing

    def lose_the_second(post: Post) -> Any:
        Post.objects.filter(pk=posts[1].pk).update(fence=7)
        return ordinary(post)

    monkeypatch.setattr(delivery, "outgoing", lose_the_second)
    assert _deliver(posts) == ["published", None, "published"]
    assert [key for _, key in platform.published] == [posts[0].platform_key, posts[2].platform_key]
    assert (quotas.used("posts_per_day"), calls_today(bot.connection)) == (2.0, {"publish": 2})


def test_what_is_left_of_a_quota_is_used(bot: Bot, platform: FakePlatform) -> None:
    Organization.objects.update(quotas={"posts_per_day": 2})
    posts = _due(bot, 4)
    assert _deliver(posts) == ["published", "published", "queued", "queued"]
    assert len(platform.published) == quotas.used("posts_per_day") == 2
    held = Post.objects.filter(state="queued", not_before__isnull=False, attempts=0, sent_at=None)
    assert ["quota" in post.last_error for post in held] == [True, True]


@pytest.mark.parametrize("credentials", [True, False])
def test_after_one_that_failed_the_others_wait_for_another_look(
    bot: Bot, platform: FakePlatform, bells: list[Any], credentials: bool
) -> None:
    platform.answers = [FaceError("Not you.", permanent=True, credentials=credentials)]
    posts = _due(bot, 3)
    _deliver(posts)
    assert len(platform.published) == 1
    assert _states(posts)[1:] == ["queued", "queued"]
    assert set(Post.objects.filter(state="queued").values_list("sent_at", flat=True)) == {None}
    assert quotas.used("posts_per_day") == 0
    assert (doorbells.DELIVER, [str(bot.organization_id), *(str(post.pk) for post in posts[1:])]) in bells
    assert _deliver(posts)[1:] == (["queued"] * 2 if credentials else ["published"] * 2)
    assert len(platform.published) == (1 if credentials else 3)


def test_a_switch_is_felt_while_others_are_sent(
    bot: Bot, platform: FakePlatform, bells: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert delivery.HELD.total_seconds() > FRESH
    posts = _due(bot, 3)

    def slow(*_: Any) -> None:
        site.pause_site("Stop.")
        monkeypatch.setattr(delivery, "FRESH", 0.0)

    platform.on_publish = slow
    assert _deliver(posts) == ["published", None, None]
    assert _states(posts) == ["published", "queued", "queued"]
    assert [arguments[1:] for _, arguments in bells] == [[str(post.pk) for post in posts[1:]]]
    assert _deliver(posts) == [None, "queued", "queued"]
    assert len(platform.published) == 1


@pytest.fixture
def native(committed: World) -> Iterator[Bot]:
    """A bot of the sandbox, whose platform takes several posts in one step."""
    with tenant(committed.acme.pk):
        yield make_bot()


def test_posts_that_their_platform_takes_in_one_step_are_booked_in_one(
    native: Bot,
) -> None:
    beside = make_bot(make_connection(name="Beside"), name="Beside")
    first, second = [make_post(native, "queued", f"Post {number}") for number in range(4)], _due(beside, 2)
    hook = Webhook.objects.create(url="https://hooks.example/kilroy", events=["post.published"])
    assert _deliver([*first, *second]) == ["published"] * 6
    for posts in (first, second):
        rows = [Post.objects.get(pk=post.pk) for post in posts]
        stored = {post.key: post for post in SandboxPost.objects.filter(connection=posts[0].connection)}
        assert len(stored) == len(posts)
        for place, post in enumerate(rows):
            there = stored[post.platform_key]
            assert (there.text, there.number, post.remote_id) == (post.text, place + 1, str(place + 1))
            assert (post.published_at, post.fence, post.attempts) == (there.published_at, 1, 1)
            first_look = timedelta(minutes=post.bot.reading_ages[0]) / post.connection.face.clock_speed()
            assert post.next_reading_at == there.published_at + first_look
            assert (post.owner, post.lease_until, post.last_error) == ("", None, "")
            line = AuditEntry.objects.get(action="post.publish", object_id=str(post.pk))
            assert line.before == {"state": "sending"}
            assert line.after["remote_id"] == post.remote_id
    told = [row.payload["data"]["post"] for row in WebhookDelivery.objects.filter(webhook=hook)]
    assert sorted(told) == sorted(str(post.pk) for post in (*first, *second))


def test_several_take_no_more_statements_than_one(native: Bot) -> None:
    _deliver(_due(native, 1))
    counts = []
    for several in (1, 9):
        posts = _due(native, several)
        with CaptureQueriesContext(connection) as seen:
            assert _deliver(posts) == ["published"] * several
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_what_was_lost_while_it_was_sent_is_left_and_the_others_are_booked(
    native: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, ordinary = _due(native, 3), SandboxFace.publish_some

    def lose_the_second(face: SandboxFace, asked: Any) -> Any:
        published = ordinary(face, asked)
        Post.objects.filter(pk=posts[1].pk).update(fence=7)
        return published

    monkeypatch.setattr(SandboxFace, "publish_some", lose_the_second)
    _deliver(posts)
    assert _states(posts) == ["published", "sending", "published"]
    lines = AuditEntry.objects.filter(action="post.publish").values_list("object_id", flat=True)
    assert sorted(lines) == sorted(str(posts[place].pk) for place in (0, 2))


def test_an_id_that_another_row_holds_leaves_the_others_booked(native: Bot) -> None:
    make_post(native, "published", "Before", remote_id="2")
    posts = _due(native, 3)
    assert _deliver(posts) == ["published", "unknown", "published"]
    assert Post.objects.get(pk=posts[1].pk).last_error == "Another post holds this id."


def test_one_that_is_refused_among_them_is_rejected_and_the_others_are_published(native: Bot, bells: list[Any]) -> None:
    posts = [*_due(native, 2), *(make_post(native, "queued", text) for text in ("x" * 281, "Post 4"))]
    assert _deliver(posts) == ["published", "published", "rejected", None]
    assert _states(posts)[3] == "queued"
    assert (doorbells.DELIVER, [str(native.organization_id), str(posts[3].pk)]) in bells
    assert _deliver(posts) == [None, None, None, "published"]
    assert quotas.used("posts_per_day") == 3


def test_a_fault_of_ours_in_the_middle_leaves_all_that_may_have_been_sent_unknown(
    native: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, ordinary = _due(native, 3), SandboxFace.publish_some

    def stumble(face: SandboxFace, asked: Any) -> Any:
        ordinary(face, asked)
        raise ZeroDivisionError

    monkeypatch.setattr(SandboxFace, "publish_some", stumble)
    assert _deliver(posts) == ["unknown"] * 3
    Post.objects.update(sent_at=timezone.now() - AGO, not_before=None)
    recovery.recover_posts()
    assert _states(posts) == ["published"] * 3
    assert SandboxPost.objects.count() == 3


class Killed(BaseException):
    """SIGKILL: no handler of ours may stop it."""


POINTS = ("claim", "intent", "send", "book")


@pytest.mark.parametrize("fatal", [f"{when}_{what}" for what in POINTS for when in ("before", "after")])
def test_whoever_dies_among_them_loses_and_doubles_nothing(
    committed: World, bells: list[Any], monkeypatch: pytest.MonkeyPatch, fatal: str
) -> None:
    with tenant(committed.acme.pk):
        posts = _due(make_bot(), 4)
        reached = 0

        def point(name: str) -> None:
            nonlocal reached
            reached += name == fatal
            if name == fatal and reached in (1, 3):  # of the first publisher, and of one of those after it
                raise Killed

        monkeypatch.setattr(delivery, "point", point)
        deaths = 0
        for _ in range(8):
            try:
                delivery.deliver_posts([post.pk for post in posts])
            except Killed:
                deaths += 1
            Post.objects.filter(state__in=["leased", "sending"]).update(lease_until=timezone.now() - AGO)
            recovery.recover_posts()
            Post.objects.filter(state="unknown").update(sent_at=timezone.now() - AGO, not_before=None)
            recovery.recover_posts()
        assert deaths >= 1
        assert _states(posts) == [PostState.PUBLISHED] * 4
        assert sorted(SandboxPost.objects.values_list("key", flat=True)) == sorted(p.platform_key for p in posts)
        assert quotas.used("posts_per_day") == 4
