"""What a calendar of a bot shows: the days of one time zone, each with what was published, what is planned, and which
slots of the schedules are free.

A day is read through the indexes on (bot, published_at) and (bot, slot_utc) and no further than `MOST`, so that a page
costs the same however many posts there are.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import QuerySet

from accounts import clock
from bots import slots
from bots.models import Bot, Post, Schedule
from bots.states import PostState

MOST = 200
"""Posts of one day that are counted; a day with more says “200+”."""
MOST_SLOTS = 5000
"""Planned posts that are read to tell which slots are free; after the last of them none is called free."""
STEPS = 300
"""Slots of one day that are looked at to find free ones."""
EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
PLANNED = (PostState.SCHEDULED, PostState.QUEUED, PostState.LEASED, PostState.SENDING)
STUCK = (*PLANNED, PostState.UNKNOWN, PostState.NEEDS_HUMAN)
"""States in which a post stands at a slot that has passed."""

_DAYS = """
SELECT day.number, count(*), (array_agg(found.id ORDER BY found.at, found.id))[:%(shown)s]
FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS day(begins, ends, number)
CROSS JOIN LATERAL (
    (SELECT id, published_at AS at FROM bots_post
      WHERE bot_id = %(bot)s AND published_at >= day.begins AND published_at < day.ends
      ORDER BY published_at LIMIT %(most)s)
    UNION ALL
    (SELECT id, slot_utc AS at FROM bots_post
      WHERE day.ends > %(now)s AND bot_id = %(bot)s AND slot_utc >= day.begins AND slot_utc < day.ends
        AND state = ANY(%(states)s) AND published_at IS NULL
      ORDER BY slot_utc LIMIT %(most)s)
) found
GROUP BY day.number
"""


@dataclass(frozen=True)
class Entry:
    """A post at its moment, in the calendar's zone."""

    post: Post
    at: datetime

    @property
    def movable(self) -> bool:
        """Whether a person may choose another moment for it."""
        follows = self.post.kind == Post.Kind.REPLY or self.post.continues_id is not None
        return self.post.state == PostState.SCHEDULED and not follows


@dataclass
class Day:
    """A day of the zone, from `begins` until `ends` (UTC): 23, 24 or 25 hours. `more`: posts that are not in `entries`;
    with `capped` at least so many.
    """

    date: date
    begins: datetime
    ends: datetime
    entries: list[Entry] = field(default_factory=list)
    free: list[datetime] = field(default_factory=list)
    more: int = 0
    capped: bool = False


def zone_of(bot: Bot) -> ZoneInfo:
    """The time zone of the bot's schedule: of the oldest active one, UTC without any."""
    schedules = sorted(bot.schedules.all(), key=lambda schedule: (not schedule.active, schedule.created_at))
    return ZoneInfo(schedules[0].zone if schedules else "UTC")


def zone_named(name: str, bot: Bot) -> ZoneInfo:
    """The zone of that name; the schedule's, where there is none of it."""
    return ZoneInfo(name) if name in clock.zones() else zone_of(bot)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins there, in UTC: at the first instant of it, where a clock change leaves midnight out."""
    return slots.to_utc(datetime.combine(day, time.min), zone)


def days_of(bot: Bot, first: date, count: int, zone: ZoneInfo, *, shown: int, free: int) -> list[Day]:
    """`count` days from `first`, each with its first `shown` posts and `free` free slots, in the order of time."""
    dates = [first + timedelta(days=number) for number in range(count)]
    bounds = [midnight(day, zone) for day in [*dates, first + timedelta(days=count)]]
    days = [Day(*each) for each in zip(dates, bounds, bounds[1:], strict=False)]
    _fill(bot, days, zone, shown)
    if free:
        found = free_slots(bot, days, free)
        for day in days:
            day.free = [slot.astimezone(zone) for slot in found[day.date]]
    return days


def _fill(bot: Bot, days: Sequence[Day], zone: ZoneInfo, shown: int) -> None:
    now = clock.now()
    counted = _counted(bot, days, shown, now)
    stuck = list(_stuck(bot, days[0].begins, min(days[-1].ends, now))) if days[0].begins < now else []
    ids = [pk for _, found in counted.values() for pk in found]
    posts = {post.pk: post for post in _drawable().filter(pk__in=ids)}
    late: defaultdict[int, list[Post]] = defaultdict(list)
    for post in stuck:
        assert post.slot_utc is not None
        number = next(n for n, day in enumerate(days) if post.slot_utc < day.ends)
        if days[number].ends <= now:  # the others are among what is planned
            late[number].append(post)
    for number, day in enumerate(days):
        total, found = counted.get(number, (0, []))
        total += len(late[number])
        chosen = [posts[pk] for pk in found if pk in posts] + late[number]
        entries = sorted((_entry(post, zone) for post in chosen), key=lambda entry: entry.at)
        day.entries = entries[:shown]
        day.more, day.capped = max(0, total - len(day.entries)), total >= MOST


def _counted(bot: Bot, days: Sequence[Day], shown: int, now: datetime) -> dict[int, tuple[int, list[UUID]]]:
    """By the day's place: how many posts it has (up to about `MOST`), and the first of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            _DAYS,
            {
                "bot": bot.pk,
                "begins": [day.begins for day in days],
                "ends": [day.ends for day in days],
                "now": now,
                "states": [*map(str, STUCK)],
                "shown": shown,
                "most": MOST,
            },
        )
        return {number - 1: (count, list(ids)) for number, count, ids in cursor.fetchall()}


def _stuck(bot: Bot, begins: datetime, ends: datetime) -> QuerySet[Post]:
    """What still waits at a slot that has passed: paused, being sent, or of unknown outcome."""
    found = _drawable().filter(bot=bot, state__in=STUCK, published_at=None)
    return found.filter(slot_utc__gte=begins, slot_utc__lt=ends).order_by("slot_utc")[:MOST]


def _drawable() -> QuerySet[Post]:
    """Posts, with no more of them than a calendar shows."""
    found: QuerySet[Post] = Post.objects.only("text", "state", "kind", "continues", "published_at", "slot_utc")
    return found


def _entry(post: Post, zone: ZoneInfo) -> Entry:
    at = post.published_at or post.slot_utc
    assert at is not None  # that is how it was found
    return Entry(post, at.astimezone(zone))


def without_slot(bot: Bot, count: int) -> list[Post]:
    """Approved posts that wait for a slot, in the order of the queue."""
    found = _drawable().filter(bot=bot, state=PostState.APPROVED, continues=None)
    return list(found.exclude(kind=Post.Kind.REPLY).order_by("position", "approved_at", "created_at")[:count])


def free_slots(bot: Bot, days: Sequence[Day], most: int) -> dict[date, list[datetime]]:
    """Of each day at most that many slots of the bot's active schedules that no post has, within its cap of a day."""
    found: dict[date, list[datetime]] = {day.date: [] for day in days}
    now = clock.now()
    schedules = [schedule for schedule in bot.schedules.all() if schedule.active]
    if not schedules or days[-1].ends <= now:
        return found
    zone = ZoneInfo(schedules[0].zone)
    taken, per_day, known_until = _taken(bot, max(days[0].begins, now), days[-1].ends, zone)
    for day in days:
        begins, ends = max(day.begins, now), min(day.ends, known_until)
        for slot in islice(_slots(schedules, begins, ends), STEPS):
            if len(found[day.date]) >= most:
                break
            counted = slot.astimezone(zone).date()
            if slot in taken or (bot.posts_per_day and per_day[counted] >= bot.posts_per_day):
                continue
            per_day[counted] += 1
            found[day.date].append(slot)
    return found


def _taken(bot: Bot, begins: datetime, ends: datetime, zone: ZoneInfo) -> tuple[set[datetime], Counter[date], datetime]:
    """The slots that posts have, how many count towards each day's cap, and until when that is known."""
    today = midnight(begins.astimezone(zone).date(), zone)
    rows = list(
        Post.objects.filter(bot=bot, slot_utc__gte=today, slot_utc__lt=ends + timedelta(days=1))
        .order_by("slot_utc")
        .values_list("slot_utc", "continues_id", "kind")[:MOST_SLOTS]
    )
    # A thread is one post, and replies have caps of their own.
    counting = (slot for slot, continues, kind in rows if continues is None and kind != Post.Kind.REPLY)
    per_day = Counter(slot.astimezone(zone).date() for slot in counting)
    return {slot for slot, *_ in rows}, per_day, rows[-1][0] if len(rows) == MOST_SLOTS else ends


def _slots(schedules: Iterable[Schedule], begins: datetime, ends: datetime) -> Iterator[datetime]:
    """The slots of all schedules from `begins` until `ends`, rising, none twice."""
    last = None
    for slot in heapq.merge(*(_slots_of(schedule, begins) for schedule in schedules)):
        if slot >= ends:
            return
        if slot != last:
            last = slot
            yield slot


def _slots_of(schedule: Schedule, begins: datetime) -> Iterator[datetime]:
    # A schedule that fires every second need not be followed through its quiet hours.
    start = slots.quiet_until(schedule, begins) or begins
    return slots.slots_after(schedule, start - timedelta(microseconds=1))


def local_moment(written: str, zone: ZoneInfo) -> datetime:
    """A moment as a person or a script writes it: ISO 8601, local in that zone where it names no offset. Raises
    ValueError.
    """
    moment = datetime.fromisoformat(written)
    try:
        return slots.to_utc(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the calendar") from None
