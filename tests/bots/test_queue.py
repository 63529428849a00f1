"""The curated queue: order, moving, drawing lots, files, never the same text twice, and telling that it ran empty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db.models import Q

from accounts import audit, clock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import posts, queue, scheduling
from tests.factories import World, make_bot, make_post, make_schedule
from tests.telling import mailed

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = START + timedelta(days=1)


@pytest.fixture
def now() -> Iterator[clock.SimulatedClock]:
    with clock.simulated(START) as moved:
        yield moved


@pytest.fixture
def bot(world: World, now: clock.SimulatedClock) -> Iterator[Bot]:
    with tenant(world.acme.pk), audit.acting(audit.Actor("alice@kilroy.example", world.alice)):
        yield make_bot(name="Writer")


def waiting(bot: Bot, count: int, **fields: Any) -> list[Post]:
    return [
        make_post(bot, "approved", f"Number {n}", approved_at=START + timedelta(minutes=n), **fields)
        for n in range(count)
    ]


def order(bot: Bot) -> list[str]:
    return [post.text.removeprefix("Number ") for post in queue.waiting(bot)]


def test_posts_wait_in_the_order_of_their_approval(bot: Bot) -> None:
    made = waiting(bot, 3)
    made[0].approved_at = START + timedelta(hours=1)
    made[0].save()
    make_post(bot, "approved", reply_to="x", kind="reply")
    make_post(bot, "approved", continues=made[1])
    make_post(bot, "pending_review")
    assert order(bot) == ["1", "2", "0"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [("up", "01324"), ("down", "01243"), ("top", "30124"), ("bottom", "01243")],
)
def test_a_post_moves(bot: Bot, step: queue.Step, expected: str) -> None:
    made = waiting(bot, 5)
    queue.move_post(made[3].pk, step)
    assert "".join(order(bot)) == expected
    entry = AuditEntry.objects.get(action="queue.move")
    assert (entry.before, entry.after) == ({"place": 4}, {"place": expected.index("3") + 1})


def test_moves_add_up_and_what_is_approved_later_stays_behind(bot: Bot) -> None:
    made = waiting(bot, 4)
    queue.move_post(made[2].pk, "up")
    queue.move_post(made[3].pk, "top")
    queue.move_post(made[3].pk, "up")  # it is the first already
    make_post(bot, "approved", "Number 9", approved_at=START - timedelta(days=9))
    assert order(bot) == ["3", "0", "2", "1", "9"]


def test_moving_gives_the_slots_out_anew_but_leaves_a_moment_that_a_person_chose(bot: Bot) -> None:
    make_schedule(bot, interval_seconds=86_400, created_at=START)
    made = waiting(bot, 4)
    fixed = scheduling.publish_now(str(made[3].pk))
    scheduling.fill_slots(bot)
    before = dict(Post.objects.values_list("text", "slot_utc"))
    queue.move_post(made[2].pk, "top")
    after = dict(Post.objects.values_list("text", "slot_utc"))
    assert after["Number 3"] == before["Number 3"] == fixed.slot_utc
    assert (after["Number 2"], after["Number 0"]) == (before["Number 0"], before["Number 1"])
    assert after["Number 1"] is None
    assert order(bot) == ["3", "2", "0", "1"]


def test_what_does_not_wait_cannot_be_moved(bot: Bot) -> None:
    for post in (make_post(bot, "published"), make_post(bot, "pending_review"), make_post(bot, "queued")):
        with pytest.raises(ValidationError, match="does not wait in the queue"):
            queue.move_post(post.pk, "up")
    with pytest.raises(ValidationError, match="top, up, down, bottom"):
        queue.move_post(post.pk, "sideways")  # type: ignore[arg-type]


def test_a_random_order_is_a_draw_and_every_post_is_drawn_once(bot: Bot) -> None:
    make_schedule(bot, interval_seconds=3600, created_at=START)
    queue.set_order(bot, "random")
    made = waiting(bot, 30)
    scheduling.fill_slots(bot)
    scheduling.fill_slots(bot)  # a second scheduler finds the draw done
    drawn = order(bot)
    assert sorted(drawn, key=int) == [str(n) for n in range(30)]
    assert drawn != sorted(drawn, key=int)
    assert Post.objects.filter(state="scheduled").values("slot_utc").distinct().count() == 30
    with pytest.raises(ValidationError, match="drawn by lot"):
        queue.move_post(made[0].pk, "up")
    queue.set_order(bot, "given")
    assert order(bot) == [str(n) for n in range(30)]
    with pytest.raises(ValidationError, match="given, random"):
        queue.set_order(bot, "backwards")


def test_several_are_removed_at_once_and_what_moved_on_meanwhile_is_left(bot: Bot) -> None:
    first, second, sent = make_post(bot, "approved"), make_post(bot, "scheduled"), make_post(bot, "published")
    stranger = make_post(make_bot(), "approved")
    chosen = [str(post.pk) for post in (first, second, sent, stranger)]
    assert queue.remove(bot, [*chosen, "no id"]) == (2, 3)
    assert queue.remove(bot, chosen[:2]) == (0, 2)
    states = {post.pk: post.state for post in Post.objects.all()}
    assert [states[post.pk] for post in (first, second, sent, stranger)] == [
        "cancelled", "cancelled", "published", "approved",
    ]  # fmt: skip


FILE = (
    "\ufeffThe first lantern is lit at noon\r\n\r\n  A second lantern waits for rain  \rTwo\u2028halves of one post\n"
)


def test_a_file_is_read_line_by_line(bot: Bot) -> None:
    assert queue.lines_of(FILE.encode()) == [
        (1, "The first lantern is lit at noon"),
        (3, "A second lantern waits for rain"),
        (4, "Two\u2028halves of one post"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"fine\n\xff\xfe", "Line 2 is no UTF-8 text"),
        (b"\xef\xbb\xbf \n\r\n", "There is no post in it"),
        (b"x" * 1_000_001, "larger than 1 MB"),
        (b"post\n" * 1001, "It has 1001 posts; at most 1000"),
        ("\ud800", "Line 1 is no UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_words(content: bytes | str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        queue.lines_of(content)


LINES = "\n".join(
    [
        "A heron stood in the canal all morning and nobody asked it why",
        "x" * 281,
        "It says FORBIDDEN here",
        "a heron stood in the canal all morning, and nobody asked it why!",
        "An old heron said nothing about the whole affair, as usual",
        "Write to me at someone@example.org about the lamp",
    ]
)


def test_the_preview_says_what_is_dropped_and_why_and_stores_nothing(bot: Bot) -> None:
    bot.blocklist = ["forbidden"]
    bot.save()
    make_post(bot, "published", "An old heron said nothing about the whole affair, as usual")
    looked = queue.preview_import(bot, LINES)
    assert [line.number for line in looked] == [1, 2, 3, 4, 5, 6]
    assert [bool(line.dropped) for line in looked[:5]] == [False, True, True, True, True]
    assert "at most 280" in looked[1].dropped
    assert "forbidden" in looked[2].dropped.lower()
    assert looked[3].dropped == looked[4].dropped == "The bot has posted this before, all but word for word."
    assert looked[5].dropped or looked[5].flagged
    assert Post.objects.count() == 1


def test_imported_posts_are_a_persons_own_words_and_approved_when_they_say_so(bot: Bot) -> None:
    made = queue.import_lines(bot, "A kettle of fish\nLa la la la la, sang the tram", approve=True)
    assert [(post.arm, post.state, post.approved_by) for post in made] == [
        ("human", "approved", "alice@kilroy.example"),
        ("human", "pending_review", ""),  # a rule wants it looked at
    ]
    assert queue.import_lines(bot, "A kettle of fish") == []  # once more adds nothing
    waits = queue.import_lines(bot, "Some other kettle")
    assert [post.state for post in waits] == ["pending_review"]


def test_no_text_is_queued_twice_however_long_ago_it_was_published(bot: Bot) -> None:
    text = "There was never a slower tram than the one that I missed"
    make_post(bot, "published", text)
    blank = {"bot": bot, "connection": bot.connection, "payload_sha256": ""}
    Post.objects.bulk_create(Post(**blank, text=f"Filler {n}", platform_key=f"key {n}") for n in range(1100))
    (again,) = posts.propose_posts(bot, [posts.Draft(text + "!")])
    assert again.state == "blocked"


def test_the_owner_is_told_once_when_the_queue_ran_empty(bot: Bot, django_capture_on_commit_callbacks: Any) -> None:
    def sweep() -> int:
        with django_capture_on_commit_callbacks(execute=True):
            return queue.notice_empty(Q())

    make_schedule(bot, created_at=START)
    assert sweep() == 0  # it never had anything to say
    make_post(bot, "published")
    post = make_post(bot, "approved")
    assert sweep() == 0
    posts.cancel_post(post.pk)
    make_post(bot, "pending_review")
    assert (sweep(), sweep()) == (1, 0)
    assert mailed() == ["Kilroy: Writer has nothing left to say"]
    assert "1 post waits for somebody to review it." in mail.outbox[0].body
    assert Bot.objects.get(pk=bot.pk).queue_empty_since == START
    refill = make_post(bot, "approved")
    assert sweep() == 0
    assert Bot.objects.get(pk=bot.pk).queue_empty_since is None
    posts.cancel_post(refill.pk)
    assert sweep() == 1
    assert len(mailed()) == 2


@pytest.mark.parametrize("why", ["paused", "no schedule", "schedule off", "somebody fills it"])
def test_nobody_is_told_of_a_queue_that_nothing_waits_for(bot: Bot, why: str) -> None:
    make_post(bot, "published")
    if why != "no schedule":
        make_schedule(bot, active=why != "schedule off")
    if why == "paused":
        Bot.objects.update(paused_at=START)
    assert queue.notice_empty(~Q(pk=bot.pk) if why == "somebody fills it" else Q()) == 0
