"""Publishing: one attempt is one send, and nothing is sent twice, whoever dies when.

These tests commit, as the real steps do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import AuditEntry, Organization
from accounts.tenancy import tenant
from bots import tasks
from bots.models import Bot, Post
from bots.services import delivery, recovery
from bots.services.bots import pause_bot
from bots.states import PostState
from faces.contract import Face, FaceError
from faces.registry import FACES
from faces.services import reconnect
from tests.factories import World, make_bot, make_connection, make_image, make_post, make_world
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


def test_a_due_post_is_sent_once_and_booked(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued", "Hello")
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED
    post.refresh_from_db()
    assert [(sent.text, key) for sent, key in platform.published] == [("Hello", post.platform_key)]
    assert (post.state, post.remote_id, post.remote_url) == ("published", "fake-1", "https://fake.example/1")
    assert post.published_at is not None
    assert post.next_reading_at == post.published_at + timedelta(minutes=bot.reading_ages[0])
    assert (post.attempts, post.fence, post.owner, post.lease_until) == (1, 1, "", None)
    assert AuditEntry.objects.filter(action="post.publish", object_id=str(post.pk)).count() == 1


def test_a_second_doorbell_for_the_same_post_finds_nothing_to_do(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post = make_post(bot, "queued")
    tasks.deliver_posts(str(post.organization_id), str(post.pk))
    tasks.deliver_posts(str(post.organization_id), str(post.pk))
    assert len(platform.published) == 1
    assert delivery.deliver_post(post.pk) is None


def test_only_what_is_due_is_taken(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    posts = {state: make_post(bot, state) for state in PostState.values}
    outcomes = {state: delivery.deliver_post(post.pk) for state, post in posts.items()}
    assert outcomes == dict.fromkeys(PostState.values) | {"queued": PostState.PUBLISHED}
    assert len(platform.published) == 1


def test_a_post_that_should_wait_is_not_taken(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued", not_before=timezone.now() + AGO)
    assert delivery.deliver_post(post.pk) is None
    Post.objects.filter(pk=post.pk).update(not_before=timezone.now() - AGO)
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED


def test_a_post_of_another_organization_is_not_there(
    committed: World, bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post = make_post(bot, "queued")
    tasks.deliver_posts(str(committed.globex.pk), str(post.pk))
    assert (_state(post), platform.published) == ("queued", [])


def test_of_two_claimers_at_once_one_wins(committed: World, bot: Bot, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued")
    together, won = threading.Barrier(2), []

    def claim() -> None:
        try:
            with tenant(committed.acme.pk):
                connection.ensure_connection()
                together.wait(timeout=30)
                won.append(delivery.claim([post.pk]))
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(map(len, won)) == [0, 1]
    post.refresh_from_db()
    assert (post.state, post.fence) == ("leased", 1)


def test_two_publishers_at_once_send_once(
    committed: World, bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    posts = [make_post(bot, "queued") for _ in range(5)]
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait(timeout=30)
            for post in posts:
                tasks.deliver_posts(str(committed.acme.pk), str(post.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(key for _, key in platform.published) == sorted(post.platform_key for post in posts)
    assert {_state(post) for post in posts} == {"published"}


def test_the_intent_is_committed_before_anything_is_sent(
    committed: World, bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    seen: list[Any] = []

    def look_from_elsewhere() -> None:
        try:
            with tenant(committed.acme.pk):
                seen.append(Post.objects.get())
        finally:
            connection.close()

    def on_publish(*_: Any) -> None:
        assert not connection.in_atomic_block
        thread = threading.Thread(target=look_from_elsewhere)
        thread.start()
        thread.join(timeout=30)

    platform.on_publish = on_publish
    delivery.deliver_post(make_post(bot, "queued").pk)
    assert [(post.state, post.attempts, post.sent_at is not None) for post in seen] == [("sending", 1, True)]


def test_whoever_lost_the_lease_before_sending_does_not_send(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher stalls between claiming and sending; the janitor gives its post to another one."""
    post = make_post(bot, "queued")
    ordinary = delivery.outgoing

    def stall(claimed: Post) -> Any:
        monkeypatch.setattr(delivery, "outgoing", ordinary)
        Post.objects.filter(pk=post.pk).update(lease_until=timezone.now() - AGO)
        assert recovery.recover_posts() == 1
        assert delivery.deliver_post(post.pk) == PostState.PUBLISHED
        return ordinary(claimed)

    monkeypatch.setattr(delivery, "outgoing", stall)
    assert delivery.deliver_post(post.pk) is None
    post.refresh_from_db()
    assert (len(platform.published), post.state, post.fence, post.attempts) == (1, "published", 2, 1)


@pytest.mark.parametrize("late_answer", [None, FaceError("no", permanent=True)])
def test_whoever_lost_the_lease_while_sending_cannot_book(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], late_answer: FaceError | None
) -> None:
    """The answer comes after the janitor has declared the outcome unknown: the row is not the late one's to write."""
    post = make_post(bot, "queued")

    def slow(*_: Any) -> None:
        Post.objects.filter(pk=post.pk).update(lease_until=timezone.now() - AGO)
        assert recovery.recover_posts() == 1
        assert _state(post) == "unknown"

    platform.on_publish = slow
    platform.answers = [late_answer] if late_answer else []
    delivery.deliver_post(post.pk)
    post.refresh_from_db()
    assert (post.state, post.remote_id) == ("unknown", None)
    actions = set(AuditEntry.objects.filter(object_id=str(post.pk)).values_list("action", flat=True))
    assert actions == set()  # nothing was booked, so nothing is told


def test_a_stale_fence_cannot_book_even_in_the_same_state(bot: Bot, without_keys: type[Face]) -> None:
    post = make_post(bot, "queued")
    (stale,) = delivery.claim([post.pk])
    Post.objects.filter(pk=post.pk).update(state="queued")
    (fresh,) = delivery.claim([post.pk])
    assert delivery.settle(stale, PostState.LEASED, PostState.SENDING) is False
    assert delivery.settle(fresh, PostState.LEASED, PostState.SENDING) is True


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (FaceError("Too long.", permanent=True), "rejected"),
        (FaceError("Come back later.", permanent=False), "queued"),
        (FaceError("The line went dead.", permanent=False, sent=True), "unknown"),
        (FaceError("Half of it was refused.", permanent=True, sent=True), "unknown"),
    ],
)
def test_what_the_platform_says_decides_the_state(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], error: FaceError, state: str
) -> None:
    platform.answers = [error]
    post = make_post(bot, "queued")
    assert delivery.deliver_post(post.pk) == state
    post.refresh_from_db()
    assert (post.state, post.last_error, len(platform.published)) == (state, str(error), 1)
    assert (post.lease_until, post.owner, post.attempts) == (None, "", 1)
    line = AuditEntry.objects.get(object_id=str(post.pk), action="post.publish_failed")
    assert line.after == {"state": state, "error": str(error)}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("id"), ConnectionError(), MemoryError()])
def test_an_unforeseen_exception_is_an_unknown_outcome(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], error: Exception
) -> None:
    platform.answers = [error]
    post = make_post(bot, "queued")
    assert delivery.deliver_post(post.pk) == PostState.UNKNOWN
    post.refresh_from_db()
    assert (post.state, len(platform.published)) == ("unknown", 1)
    assert type(error).__name__ in post.last_error


def test_a_platform_that_asks_to_wait_is_given_the_time_it_asks_for(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    platform.answers = [FaceError("Slow down.", permanent=False, retry_after=600)]
    post = make_post(bot, "queued")
    delivery.deliver_post(post.pk)
    post.refresh_from_db()
    assert post.not_before is not None
    wait = (post.not_before - timezone.now()).total_seconds()
    assert 500 < wait <= 600
    assert delivery.deliver_post(post.pk) is None


def test_retries_wait_longer_each_time_and_at_most_an_hour(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post, waits = make_post(bot, "queued"), []
    for _ in range(14):
        platform.answers = [FaceError("Not now.", permanent=False)]
        delivery.deliver_post(post.pk)
        post.refresh_from_db()
        assert post.not_before is not None
        waits.append((post.not_before - timezone.now()).total_seconds())
        Post.objects.filter(pk=post.pk).update(not_before=None)
    assert waits[0] < waits[3] < waits[6]
    assert 3500 < max(waits) <= 3600
    assert len(platform.published) == post.attempts == 14


def test_every_attempt_uses_the_posts_one_key(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    platform.answers = [FaceError("Not now.", permanent=False)]
    post = make_post(bot, "queued")
    delivery.deliver_post(post.pk)
    Post.objects.filter(pk=post.pk).update(not_before=None)
    delivery.deliver_post(post.pk)
    assert [key for _, key in platform.published] == [post.platform_key] * 2


def test_a_paused_bot_or_organization_holds_what_is_due(
    committed: World, bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    posts = [make_post(bot, "queued"), make_post(bot, "queued")]
    pause_bot(bot, "too loud")
    assert delivery.deliver_post(posts[0].pk) == PostState.QUEUED
    Bot.objects.update(paused_at=None)
    Organization.objects.filter(pk=committed.acme.pk).update(paused_at=timezone.now())
    assert delivery.deliver_post(posts[1].pk) == PostState.QUEUED
    assert platform.published == []
    held = Post.objects.filter(state="queued", not_before__gt=Now(), attempts=0).values_list("last_error", flat=True)
    assert sorted(held) == ["The bot is paused.", "The organization is paused."]

    Organization.objects.update(paused_at=None)
    Post.objects.update(not_before=None)
    assert [delivery.deliver_post(post.pk) for post in posts] == [PostState.PUBLISHED] * 2


def test_broken_credentials_hold_their_own_bots_and_lose_nothing(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    other = make_post(make_bot(make_connection("fake", name="Another"), name="Other"), "queued")
    posts = [make_post(bot, "queued"), make_post(bot, "queued")]
    platform.answers = [FaceError("The token was revoked.", permanent=True, credentials=True)]
    assert [delivery.deliver_post(post.pk) for post in posts] == [PostState.QUEUED] * 2
    assert delivery.deliver_post(other.pk) == PostState.PUBLISHED
    assert len(platform.published) == 2  # the refused one and the other bot's: the second post was held back
    bot.connection.refresh_from_db()
    assert (bot.connection.state, bot.connection.problem) == ("broken", "The token was revoked.")

    reconnect(bot.connection_id, {})
    Post.objects.update(not_before=None)
    assert [delivery.deliver_post(post.pk) for post in posts] == [PostState.PUBLISHED] * 2


def test_a_platforms_post_is_bound_to_one_row(bot: Bot, platform: FakePlatform, without_keys: type[Face]) -> None:
    make_post(bot, "published", remote_id="fake-1")
    post = make_post(bot, "queued")
    assert delivery.deliver_post(post.pk) == PostState.UNKNOWN
    assert _state(post) == "unknown"


def test_an_image_that_cannot_be_read_holds_the_post_and_says_so(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, max_images=4)))
    post = make_post(bot, "queued")
    image = make_image(post)
    content = Path(image.file.path).read_bytes()
    Path(image.file.path).unlink()
    assert delivery.deliver_post(post.pk) == PostState.QUEUED
    post.refresh_from_db()
    assert (post.attempts, platform.published) == (0, [])
    assert "image could not be read" in post.last_error
    Path(image.file.path).write_bytes(content)
    Post.objects.update(not_before=None)
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED


# Taking down


@pytest.mark.usefixtures("without_keys")
def test_taking_down_deletes_on_the_platform_and_stops_the_readings(bot: Bot, platform: FakePlatform) -> None:
    post = make_post(bot, "published", next_reading_at=timezone.now())
    taken = delivery.take_down_post(post.pk)
    post.refresh_from_db()
    assert (platform.deleted, taken.state, post.state, post.next_reading_at) == (
        [post.remote_id],
        "deleted",
        "deleted",
        None,
    )


@pytest.mark.usefixtures("without_keys")
def test_a_platform_that_refuses_to_delete_keeps_the_post(bot: Bot, platform: FakePlatform) -> None:
    platform.answers = [FaceError("Not yours.", permanent=True)]
    post = make_post(bot, "published")
    with pytest.raises(FaceError):
        delivery.take_down_post(post.pk)
    assert _state(post) == "published"
