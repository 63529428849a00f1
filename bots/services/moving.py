"""Moving a post in the calendar: a person chooses another moment for it, and may take that back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction

from bots import calendar, slots
from bots.models import Bot, Post, Schedule
from bots.services import scheduling


@dataclass(frozen=True)
class Moved:
    """A post that was moved, and where it stood before: no slot, a moment that a person chose, or a schedule's slot."""

    post: Post
    before: datetime | None
    schedule_id: UUID | None


@transaction.atomic
def move_post(bot: Bot, post_id: UUID | str, at: datetime, seen: datetime | None) -> Moved:
    """Give an approved or scheduled post of the bot another moment. `seen` is where the person saw it.

    Raises ValidationError in words when somebody else moved it meanwhile, when `at` is within quiet hours, on a day
    that has as many posts as the bot's cap allows, or refused by `schedule_post`; IllegalTransition as that does.
    """
    post = _locked(bot, post_id, seen)
    before, schedule_id = post.slot_utc, post.schedule_id
    if told := _objection(bot, post, at):
        raise ValidationError({"at": told})
    return Moved(scheduling.schedule_post(post.pk, at), before, schedule_id)


@transaction.atomic
def move_back(bot: Bot, post_id: UUID | str, moved: Moved, seen: datetime | None) -> Post:
    """Undo a move: the post stands where it stood, as the schedule's or as a person's choice. Raises as `move_post`
    does when the place is not free any more, or is past.
    """
    post = _locked(bot, post_id, seen)
    if moved.before is None:
        return scheduling.unschedule_post(post.pk)
    post = scheduling.schedule_post(post.pk, moved.before)
    schedule = Schedule.objects.filter(bot=bot, pk=moved.schedule_id).first() if moved.schedule_id else None
    if schedule and next(slots.slots_after(schedule, moved.before - timedelta(microseconds=1)), None) == moved.before:
        post.schedule = schedule
        post.save(update_fields=["schedule", "updated_at"])
    return post


def _locked(bot: Bot, post_id: UUID | str, seen: datetime | None) -> Post:
    post = Post.locked(post_id)
    if post.bot_id != bot.pk:
        raise ValidationError("This post is another bot's.")
    if post.slot_utc != seen:
        now_at = f"It is planned for {words(post.slot_utc, bot)} now" if post.slot_utc else "It has no slot any more"
        raise ValidationError(f"This post was moved meanwhile. {now_at}: look at it again, then move it.")
    return post


def _objection(bot: Bot, post: Post, at: datetime) -> str:
    """Why the bot's own rules refuse this moment; "" when they do not."""
    for schedule in Schedule.objects.filter(bot=bot, active=True):
        if slots.is_quiet(schedule, at):
            quiet = f"{schedule.quiet_from:%H:%M} to {schedule.quiet_until:%H:%M}, {schedule.zone}"
            return f"{words(at, bot)} is within the schedule's quiet hours ({quiet}): choose a time outside of them."
    planned = Post.objects.filter(bot=bot).exclude(pk=post.pk)
    if planned.filter(slot_utc=at).exists():
        return f"Another post has {words(at, bot)} already: choose another time."
    if bot.posts_per_day:
        zone = calendar.zone_of(bot)
        day = at.astimezone(zone).date()
        begins, ends = calendar.midnight(day, zone), calendar.midnight(day + timedelta(days=1), zone)
        counting = planned.filter(slot_utc__gte=begins, slot_utc__lt=ends, continues=None).exclude(kind=Post.Kind.REPLY)
        if len(counting.order_by().values("pk")[: bot.posts_per_day]) >= bot.posts_per_day:
            most = f"{bot.posts_per_day} post{'s' * (bot.posts_per_day != 1)}"
            return f"{day:%A} {day.day} {day:%B} has {most} already, the most that {bot} sends in a day."
    return ""


def words(at: datetime, bot: Bot, zone: ZoneInfo | None = None) -> str:
    """A moment for people, in that zone or the bot's schedule's: “Tue 24 Nov, 09:00 (Europe/Warsaw)”."""
    zone = zone or calendar.zone_of(bot)
    local = at.astimezone(zone)
    seconds = f":{local:%S}" if local.second else ""
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}{seconds} ({zone.key})"
