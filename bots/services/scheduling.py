"""Giving approved posts their slots, and turning slots that have come into work."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, clock, site
from accounts.tenancy import tenant
from bots import live, slots
from bots.faults import point
from bots.models import Bot, Post, Schedule
from bots.services import threads
from bots.services.doorbells import TOGETHER, ring_for
from bots.states import IllegalTransition, PostState, check

AHEAD = timedelta(hours=48)
"""How far ahead slots are given out."""
PUNCTUAL = timedelta(seconds=60)
"""A slot that is later than this was missed, and the schedule's misfire policy decides."""
FURTHEST = timedelta(days=366)
"""How far away the moment may be that a person chooses for a post."""
BATCH = 500
ORDERS = {Bot.QueueOrder.GIVEN: ("position", "approved_at", "created_at"), Bot.QueueOrder.RANDOM: ("?",)}
"""How the posts that wait for a slot are ordered: as the queue has them, or by a draw."""


@transaction.atomic
def fill_slots(bot: Bot) -> int:
    """Give the bot's approved posts the next free slots, in the order of its queue. Returns how many got one."""
    # One scheduler per bot at a time: two of them would choose the same free slots, and draw lots twice.
    order = Bot.objects.select_for_update(of=("self",), no_key=True).get(pk=bot.pk).queue_order
    waiting = list(
        Post.objects.select_for_update(skip_locked=True)
        .filter(bot=bot, state=PostState.APPROVED, continues=None)  # a thread's later parts follow its first
        .exclude(kind=Post.Kind.REPLY)  # sent at once: see reply_sending
        .order_by(*ORDERS[Bot.QueueOrder(order)])[:BATCH]
    )
    if not waiting:
        return 0
    free = _free_slots(bot)
    given = 0
    for post, (slot, schedule) in zip(waiting, free, strict=False):
        post.move(PostState.SCHEDULED)
        post.slot_utc, post.schedule = slot, schedule
        post.save(update_fields=["state", "slot_utc", "schedule", "updated_at"])
        given += 1
    if given:
        transaction.on_commit(partial(point, "after_slot"))
        one = str(waiting[0].pk) if given == 1 else ""
        live.tell(bot.pk, {"type": "post", "post": one, "state": PostState.SCHEDULED})
    return given


def next_free_slot(bot: Bot) -> datetime | None:
    """The slot that the next post would get; None when none is free in the next 48 hours."""
    return next((slot for slot, _ in _free_slots(bot)), None)


def _free_slots(bot: Bot) -> Iterator[tuple[datetime, Schedule]]:
    """The bot's free slots of the next 48 hours, soonest first, within its daily cap."""
    now = clock.now()
    recent = Post.objects.filter(bot=bot, slot_utc__gt=now - timedelta(days=2)).values_list(
        "slot_utc", "continues", "kind"
    )
    taken = {slot for slot, *_ in recent}
    schedules = list(Schedule.objects.filter(bot=bot, active=True))
    merged = heapq.merge(*(_tagged(schedule, now) for schedule in schedules), key=lambda pair: pair[0])
    zone = ZoneInfo(schedules[0].zone) if schedules else ZoneInfo("UTC")
    per_day: dict[object, int] = {}
    # A thread is one post, and replies have caps of their own.
    for slot in (slot for slot, continues, kind in recent if continues is None and kind != Post.Kind.REPLY):
        per_day[slot.astimezone(zone).date()] = per_day.get(slot.astimezone(zone).date(), 0) + 1
    last = None
    for slot, schedule in merged:
        if slot > now + AHEAD:
            return
        day = slot.astimezone(zone).date()
        if slot in taken or slot == last or (bot.posts_per_day and per_day.get(day, 0) >= bot.posts_per_day):
            continue
        last = slot
        per_day[day] = per_day.get(day, 0) + 1
        yield slot, schedule


def _tagged(schedule: Schedule, now: datetime) -> Iterator[tuple[datetime, Schedule]]:
    return ((slot, schedule) for slot in slots.slots_after(schedule, now))


def fill_all_slots() -> int:
    """Fill the slots of every bot that has approved posts waiting and a schedule to take them from."""
    given = 0
    # everyone: beat's sweep finds the bots of all organizations, then enters each one's tenant.
    waiting = (
        Post.everyone.filter(state=PostState.APPROVED, continues=None, bot__schedules__active=True)
        .exclude(kind=Post.Kind.REPLY)
        .order_by("bot_id")  # the default order would make every post distinct
        .values_list("organization_id", "bot_id")
        .distinct()
    )
    for organization_id, bot_id in waiting:
        with tenant(organization_id):
            given += fill_slots(Bot.objects.get(pk=bot_id))
    return given


@transaction.atomic
def publish_now(post_id: str) -> Post:
    """Give an approved post this very moment as its slot. Raises ValidationError for a part of a thread whose turn has
    not come.
    """
    post = Post.locked(post_id)
    if post.state not in (PostState.APPROVED, PostState.SCHEDULED):
        raise IllegalTransition(post.state, PostState.SCHEDULED)
    if told := threads.waiting_for(post):
        raise ValidationError(told)
    moment = threads.free_moment(post)
    before = {"state": post.state, "slot_utc": post.slot_utc}
    post.state, post.slot_utc, post.schedule = PostState.SCHEDULED, moment, None
    post.save(update_fields=["state", "slot_utc", "schedule", "updated_at"])
    audit.record("post.publish_now", post, before=before, after={"state": post.state, "slot_utc": moment})
    return post


@transaction.atomic
def schedule_post(post_id: UUID | str, at: datetime) -> Post:
    """Give an approved post a moment that a person chose as its slot: changes of the schedule and moves in the queue
    leave it there. It counts towards its day's cap like every slot, and quiet hours do not hold it back.

    Raises ValidationError for a moment that is past, too far away or another post's slot, and for an answer or a later
    part of a thread, which follow what they answer; IllegalTransition.
    """
    post = Post.locked(post_id)
    if post.state not in (PostState.APPROVED, PostState.SCHEDULED):
        raise IllegalTransition(post.state, PostState.SCHEDULED)
    if post.kind == Post.Kind.REPLY or post.continues_id is not None:
        raise ValidationError("An answer, or a later part of a thread, is sent as soon as what it follows allows.")
    now = clock.now()
    if not now <= at <= now + FURTHEST:
        raise ValidationError({"at": f"Choose a moment between now and {FURTHEST.days} days from now."})
    Bot.objects.select_for_update(of=("self",), no_key=True).get(pk=post.bot_id)  # slots are given out one at a time
    if Post.objects.filter(bot=post.bot_id, slot_utc=at).exclude(pk=post.pk).exists():
        raise ValidationError({"at": f"Another post has the slot {at.isoformat()}: choose another moment."})
    before = {"state": post.state, "slot_utc": post.slot_utc.isoformat() if post.slot_utc else None}
    post.state, post.slot_utc, post.schedule = PostState.SCHEDULED, at, None
    post.save(update_fields=["state", "slot_utc", "schedule", "updated_at"])
    audit.record("post.schedule", post, before=before, after={"slot_utc": at.isoformat()})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post


@transaction.atomic
def unschedule_post(post_id: UUID | str) -> Post:
    """Take a post's slot back: it waits in its queue, approved, for the next free one. Raises IllegalTransition."""
    post = Post.locked(post_id)
    if post.state != PostState.SCHEDULED:
        raise IllegalTransition(post.state, PostState.APPROVED)
    before = post.slot_utc
    post.state, post.slot_utc, post.schedule = PostState.APPROVED, None, None
    post.save(update_fields=["state", "slot_utc", "schedule", "updated_at"])
    audit.record("post.unschedule", post, before={"slot_utc": before.isoformat() if before else None})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post


def queue_due() -> int:
    """Queue every post whose slot has come, unless its bot, organization or the whole site is paused, and ring for a
    publisher.
    """
    if site.paused():
        return 0
    threads.release_parts()
    now = clock.now()
    # everyone: beat's tick finds what is due in all organizations, then enters each one's tenant.
    due = (
        Post.everyone.filter(
            state=PostState.SCHEDULED, slot_utc__lte=now, bot__paused_at=None, organization__paused_at=None
        )
        .order_by("slot_utc")
        .values_list("organization_id", "bot_id", flat=False)[:BATCH]
    )
    bots: dict[UUID, dict[UUID, None]] = {}  # of each organization, in the order of their slots
    for organization_id, bot_id in due:
        bots.setdefault(organization_id, {})[bot_id] = None
    queued = 0
    for organization_id, bot_ids in bots.items():
        with tenant(organization_id):
            queued += _queue_due_in(bot_ids, now)
    return queued


def _queue_due_in(bot_ids: Iterable[UUID], now: datetime) -> int:
    """Queue what is due of the active organization's bots, and ring for what is queued."""
    queued, unheard = 0, list[Post]()
    for bot_id in bot_ids:
        posts = _queue_due_of(bot_id, now)
        queued, unheard = queued + len(posts), unheard + posts
        if len(unheard) >= TOGETHER:
            ring_for(unheard)
            unheard = []
    ring_for(unheard)
    return queued


@transaction.atomic
def _queue_due_of(bot_id: object, now: datetime) -> list[Post]:
    posts = list(
        Post.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("schedule", "connection")
        .filter(bot_id=bot_id, state=PostState.SCHEDULED, slot_utc__lte=now)
        .order_by("slot_utc")[:BATCH]
    )
    missed = [post for post in posts if now - _slot(post) > PUNCTUAL or _is_quiet(post, now)]
    if posts:
        transaction.on_commit(partial(point, "after_queue"))  # before the doorbells
    late = _sent_late(missed, now)
    back = {post.pk for post in missed if post is not late}
    due = [post for post in posts if post.pk not in back]
    _move(back, PostState.APPROVED, slot_utc=None, schedule=None)
    _move([post.pk for post in due], PostState.QUEUED)
    return due


def _move(post_ids: Collection[object], new: PostState, **fields: object) -> None:
    """A step of scheduled posts that are locked."""
    check(PostState.SCHEDULED, new)
    if post_ids:
        Post.objects.filter(pk__in=post_ids).update(state=new, updated_at=clock.now(), **fields)


def _sent_late(missed: list[Post], now: datetime) -> Post | None:
    """The one missed post that may still be sent: the newest slot whose schedule says "late", within its bound and
    outside its quiet hours. Never a burst.
    """
    for post in reversed(missed):
        if post.schedule is None:  # “publish now” was pressed while nothing ran
            return post
        if _is_quiet(post, now):
            continue
        if post.schedule.misfire == Schedule.Misfire.LATE and now - _slot(post) <= timedelta(
            minutes=post.schedule.misfire_minutes
        ):
            return post
    return None


def _is_quiet(post: Post, now: datetime) -> bool:
    return post.schedule is not None and slots.is_quiet(post.schedule, now)


def _slot(post: Post) -> datetime:
    assert post.slot_utc is not None  # the database's check: scheduled posts have a slot
    return post.slot_utc
