"""Threads: one part after the other, each a reply to the one before, and none without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import clock
from accounts.clock import SimulatedClock
from accounts.tenancy import tenant
from bots import queries
from bots.models import Bot, Post
from bots.services import bots as services
from bots.services import delivery, needs_human, posts, recovery, scheduling, threads
from bots.services.posts import Draft
from faces.contract import FaceError, Published
from faces.registry import FACES
from tests.factories import World, client_of, make_bot, make_connection
from tests.fake_platform import FakePlatform, StubKind, fake_face

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
TEXTS = ("First things first", "Then the second", "And the third")


@pytest.fixture
def time() -> Iterator[SimulatedClock]:
    with clock.simulated(START) as running:
        yield running


@pytest.fixture
def bot(world: World, time: SimulatedClock, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, can_thread=True, can_reply=True)))
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"), approval="auto")


def _thread(bot: Bot, texts: tuple[str, ...] = TEXTS) -> list[Post]:
    return threads.propose_thread(bot, [Draft(text) for text in texts])


def _states(parts: list[Post]) -> list[str]:
    for part in parts:
        part.refresh_from_db()
    return [part.state for part in parts]


def _tick() -> None:
    scheduling.fill_all_slots()
    scheduling.queue_due()
    for pk in Post.objects.filter(state="queued").values_list("pk", flat=True):
        delivery.deliver_post(pk)


def test_the_first_part_takes_a_slot_and_the_others_follow_at_once(
    bot: Bot, time: SimulatedClock, platform: FakePlatform
) -> None:
    parts = _thread(bot)
    services.set_schedule(bot, kind="interval", interval_seconds=3600)
    _tick()
    assert _states(parts) == ["scheduled", "approved", "approved"]
    time.advance(timedelta(hours=1))
    seen = []
    for _ in range(3):
        _tick()
        seen.append(_states(parts))
    assert seen == [
        ["published", "approved", "approved"],
        ["published", "published", "approved"],
        ["published", "published", "published"],
    ]
    sent = [(content.text, content.reply_to) for content, _ in platform.published]
    assert sent == [(TEXTS[0], ""), (TEXTS[1], "fake-1"), (TEXTS[2], "fake-2")]
    hour = START + timedelta(hours=1)
    assert [part.slot_utc for part in parts] == [hour - n * timedelta(microseconds=1) for n in range(3)]


def test_a_thread_takes_one_slot_and_counts_once(bot: Bot, time: SimulatedClock) -> None:
    services.change_bot(bot, posts_per_day=2)
    parts, (other,) = _thread(bot), posts.propose_posts(bot, [Draft("Another one")])
    services.set_schedule(bot, kind="interval", interval_seconds=3600)
    for _ in range(8):
        _tick()
        time.advance(timedelta(minutes=30))
    assert _states([*parts, other]) == ["published"] * 4


@pytest.mark.parametrize("state", ["declined", "cancelled", "rejected", "needs_human", "deleted", "blocked"])
def test_a_part_whose_predecessor_came_to_nothing_waits_and_says_so(bot: Bot, state: str) -> None:
    first, second = _thread(bot, TEXTS[:2])
    _force(first, state)
    _tick()
    assert _states([second]) == ["approved"]
    card = queries.post_card(bot, queries.posts_of(bot).get(pk=second.pk), "acme")
    assert str(Post(state=state).get_state_display()).lower() in card["waits_for"]
    assert "settle that one, or cancel this one" in card["waits_for"]
    assert [act["verb"] for act in card["acts"]["write"]] == ["cancel"]
    assert "publish" not in [act["verb"] for act in card["acts"]["approve"]]
    with pytest.raises(ValidationError, match="follows a part"):
        scheduling.publish_now(str(second.pk))


WAYS = {
    "declined": ["pending_review", "declined"],
    "blocked": ["pending_review", "blocked"],
    "cancelled": ["cancelled"],
    "rejected": ["scheduled", "queued", "leased", "sending", "rejected"],
    "needs_human": ["scheduled", "queued", "leased", "sending", "unknown", "needs_human"],
    "deleted": ["scheduled", "queued", "leased", "sending", "published", "deleted"],
}


def _force(post: Post, state: str) -> None:
    """Take a post the whole way that the database demands."""
    for step in WAYS[state]:
        Post.objects.filter(pk=post.pk).update(
            state=step, slot_utc=START - timedelta(hours=9), remote_id="gone", published_at=START
        )


def test_a_thread_goes_on_once_a_person_has_settled_its_part(bot: Bot, platform: FakePlatform) -> None:
    first, second = _thread(bot, TEXTS[:2])
    _force(first, "needs_human")
    Post.objects.filter(pk=first.pk).update(remote_id=None, published_at=None)
    needs_human.confirm_published(first.pk, "by-hand")
    _tick()
    assert _states([second]) == ["published"]
    assert [content.reply_to for content, _ in platform.published] == ["by-hand"]


def test_a_part_is_not_sent_when_its_predecessor_vanished_after_it_was_queued(bot: Bot, platform: FakePlatform) -> None:
    first, second = _thread(bot, TEXTS[:2])
    scheduling.publish_now(str(first.pk))
    _tick()
    scheduling.queue_due()
    assert _states([first, second]) == ["published", "queued"]
    delivery.take_down_post(first.pk)
    assert delivery.deliver_post(second.pk) == "queued"
    assert len(platform.published) == 1
    second.refresh_from_db()
    assert "taken down" in second.last_error


def test_approval_holds_the_text_and_the_place_and_not_the_later_id(bot: Bot, platform: FakePlatform) -> None:
    first, second, third = _thread(bot)
    alone = posts.propose_posts(bot, [Draft(TEXTS[1])])[0]
    assert second.payload_sha256 != alone.payload_sha256
    scheduling.publish_now(str(first.pk))
    _tick()
    Post.objects.filter(pk=third.pk).update(continues=None)
    Post.objects.filter(pk=second.pk).update(continues=None)
    scheduling.publish_now(str(second.pk))
    _tick()
    assert _states([first, second]) == ["published", "cancelled"]  # moved behind the approval's back
    assert len(platform.published) == 1


def test_an_edited_part_needs_approval_again_and_keeps_its_place(bot: Bot, platform: FakePlatform) -> None:
    first, second = _thread(bot, TEXTS[:2])
    posts.edit_post(second.pk, "A better second")
    scheduling.publish_now(str(first.pk))
    _tick()
    _tick()
    assert _states([first, second]) == ["published", "pending_review"]
    posts.approve_post(second.pk)
    _tick()
    assert [(content.text, content.reply_to) for content, _ in platform.published][1:] == [
        ("A better second", "fake-1")
    ]


def test_an_unknown_part_is_looked_for_as_the_reply_that_it_was(
    bot: Bot, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _thread(bot, TEXTS[:2])
    scheduling.publish_now(str(first.pk))
    _tick()
    platform.answers = [FaceError("the line went dead", permanent=False, sent=True)]
    _tick()
    assert _states([second]) == ["unknown"]
    asked: list[str] = []

    def find(self: Any, key: str, content: Any, since: datetime) -> list[Published]:
        asked.append(content.reply_to)
        return [Published("found", "", START)]

    monkeypatch.setattr(FACES["fake"].load(), "find", find)
    Post.objects.filter(pk=second.pk).update(not_before=None)  # it has rested
    assert recovery.reconcile(Post.objects.get(pk=second.pk)) is True
    assert asked == ["fake-1"]


def test_a_pause_holds_the_parts_too(bot: Bot) -> None:
    first, second = _thread(bot, TEXTS[:2])
    scheduling.publish_now(str(first.pk))
    _tick()
    services.pause_bot(bot)
    _tick()
    assert _states([second]) == ["approved"]


def test_a_platform_without_threads_takes_none(world: World, without_keys: Any) -> None:
    with tenant(world.acme.pk):
        bot = make_bot(make_connection("fake"))
        with pytest.raises(ValidationError, match="takes no threads"):
            _thread(bot)
        assert not Post.objects.exists()
        assert len(_thread(bot, TEXTS[:1])) == 1


def test_a_part_that_could_never_be_a_post_refuses_the_whole_thread(bot: Bot) -> None:
    with pytest.raises(ValidationError) as refused:
        _thread(bot, (TEXTS[0], "x" * 281))
    assert "Part 2: " in refused.value.message_dict["thread"][0]
    assert not Post.objects.exists()


def test_a_thread_over_the_api(world: World, bot: Bot) -> None:
    body = {"bot": str(bot.pk), "text": TEXTS[0], "thread": list(TEXTS[1:])}
    alice = client_of(world.alice)
    first = alice.post("/api/v1/organizations/acme/posts/", body, content_type="application/json")
    assert (first.status_code, first.json()["text"], first.json()["continues"]) == (201, TEXTS[0], None)
    made = list(Post.objects.order_by("created_at"))
    assert [post.text for post in made] == list(TEXTS)
    assert [post.continues for post in made] == [None, *made[:2]]


def test_a_thread_is_written_on_the_page(world: World, bot: Bot, without_keys: Any) -> None:
    alice, page = client_of(world.alice), f"/o/acme/bots/{bot.pk}/posts/"
    assert "data-add-part" not in alice.get(page).text  # without_keys: a platform without threads


def test_the_page_takes_as_many_parts_as_were_filled_in(world: World, bot: Bot) -> None:
    alice, page = client_of(world.alice), f"/o/acme/bots/{bot.pk}/posts/"
    assert "data-add-part" in alice.get(page).text
    long = alice.post(f"{page}new/", {"text": TEXTS[0], "thread": [TEXTS[1], "x" * 281]})
    assert (long.status_code, "Part 3: " in long.text, TEXTS[1] in long.text) == (400, True, True)
    alice.post(f"{page}new/", {"text": TEXTS[0], "thread": [TEXTS[1], "  ", TEXTS[2]]})
    assert list(Post.objects.order_by("created_at").values_list("text", flat=True)) == list(TEXTS)
    shown = alice.get(page).text
    assert "the part before" in shown
    assert "is sent once that is published" in shown
