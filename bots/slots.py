"""From a schedule's rule to moments in UTC.

Rules are written in local time and computed with `zoneinfo`. A local time that a clock change leaves out becomes the
first valid instant after it; one that happens twice is its first occurrence only. Each slot may be moved later by a
part of the schedule's jitter, which its schedule and its moment alone decide, so that any number of schedulers agree.
Slots that fall into quiet hours then are left out.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from bots.models import Schedule

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = timedelta(days=366 * 5)
"""How far ahead a rule is searched before it counts as never firing: beyond the longest gap of a real one, a 29
February.
"""
_ENTRY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):([0-5]\d)")


class ScheduleError(ValueError):
    """A rule that cannot be used; the message is for its author."""


def check(schedule: Schedule) -> None:
    """Raises ScheduleError when the rule does not parse or never fires."""
    if schedule.kind == Schedule.Kind.INTERVAL:
        if not schedule.interval_seconds:
            raise ScheduleError("Give the interval: at least one second.")
    elif schedule.kind == Schedule.Kind.CRON:
        _check_cron(schedule.cron)
    else:
        _check_timetable(schedule.timetable)
    if schedule.quiet_from is not None and schedule.quiet_from == schedule.quiet_until:
        raise ScheduleError("The quiet hours end where they begin: leave both empty, or give two different times.")
    if next(slots_after(schedule, datetime.now(UTC)), None) is None:
        raise ScheduleError(
            "This schedule never fires: no moment in the next five years fits it and is outside its quiet hours."
        )


def upcoming(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next `count` slots after that moment, in UTC."""
    return list(islice(slots_after(schedule, after), count))


def slots_after(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All slots after that moment, in UTC, strictly rising."""
    jitter = timedelta(minutes=schedule.jitter_minutes)
    moved = _jittered(schedule, _by_rule(schedule, after - jitter)) if jitter else _by_rule(schedule, after)
    near = takewhile(lambda slot: slot - after <= HORIZON, moved)
    return (slot for slot in _rising(near, after) if not is_quiet(schedule, slot))


def is_quiet(schedule: Schedule, moment: datetime) -> bool:
    """Whether that moment is within the schedule's quiet hours, which may go over midnight."""
    begin, end = schedule.quiet_from, schedule.quiet_until
    if begin is None or end is None:
        return False
    local = moment.astimezone(ZoneInfo(schedule.zone)).time()
    return begin <= local < end if begin < end else local >= begin or local < end


def quiet_until(schedule: Schedule, moment: datetime) -> datetime | None:
    """When the quiet hours end in which that moment is; None outside of them."""
    if schedule.quiet_until is None or not is_quiet(schedule, moment):
        return None
    zone = ZoneInfo(schedule.zone)
    day = moment.astimezone(zone).date()
    end = to_utc(datetime.combine(day, schedule.quiet_until), zone)
    return end if end > moment else to_utc(datetime.combine(day + timedelta(days=1), schedule.quiet_until), zone)


def _jittered(schedule: Schedule, slots: Iterator[datetime]) -> Iterator[datetime]:
    """The slots, each moved by its own part of the jitter, in order again."""
    moved: list[datetime] = []
    for slot in slots:
        while moved and moved[0] <= slot:  # whatever comes later is moved later than this
            yield heapq.heappop(moved)
        heapq.heappush(moved, slot + _jitter(schedule, slot))
    yield from sorted(moved)


def _jitter(schedule: Schedule, slot: datetime) -> timedelta:
    drawn = hashlib.sha256(f"{schedule.pk}:{slot.astimezone(UTC).isoformat()}".encode()).digest()
    return timedelta(seconds=int.from_bytes(drawn[:8]) * schedule.jitter_minutes * 60 >> 64)


def _by_rule(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The rule's own slots after that moment, in UTC, strictly rising."""
    if schedule.kind == Schedule.Kind.INTERVAL:
        return _interval(schedule, after)
    zone = ZoneInfo(schedule.zone)
    start = after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)  # wider than any clock change
    local = (
        _cron(schedule.cron, start) if schedule.kind == Schedule.Kind.CRON else _timetable(schedule.timetable, start)
    )
    return _rising((to_utc(moment, zone) for moment in local), after)


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """A naive local time as an instant: the first occurrence of one that happens twice, the first valid instant after
    one that does not happen.
    """
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local:
        return instant
    before = local.replace(tzinfo=zone, fold=0).utcoffset()
    after = local.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None
    assert after is not None
    # In a gap, fold=0 means the offset before the change. Walk to the change itself: the last instant of the old
    # offset.
    low, high = instant - abs(before - after) - timedelta(seconds=1), instant
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (
            (middle, high) if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset() else (low, middle)
        )
    return high.replace(microsecond=0)


def _interval(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    step = timedelta(seconds=schedule.interval_seconds or 0)
    anchor = schedule.created_at.replace(microsecond=0)
    slot = anchor + ((after - anchor) // step + 1) * step
    while True:
        yield slot
        slot += step


def _cron(expression: str, start: datetime) -> Iterator[datetime]:
    steps = croniter(expression, start)
    while True:
        try:
            moment = steps.get_next(datetime)
        except CroniterError:  # nothing within croniter's own horizon
            return
        if moment - start > HORIZON:
            return
        yield moment


def _timetable(entries: list[str], start: datetime) -> Iterator[datetime]:
    week = sorted((DAYS.index(entry[:3]), int(entry[4:6]), int(entry[7:9])) for entry in set(entries))
    monday = (start - timedelta(days=start.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    while week and monday - start < HORIZON:
        for day, hour, minute in week:
            moment = monday + timedelta(days=day, hours=hour, minutes=minute)
            if moment > start:
                yield moment
        monday += timedelta(days=7)


def _rising(instants: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    """Only what comes after the last: a clock change can map two local times to one instant, or before an earlier
    one.
    """
    last = after
    for instant in instants:
        if instant > last:
            last = instant
            yield instant


def _check_cron(expression: str) -> None:
    if len(expression.split()) != 5:
        raise ScheduleError(f"“{expression}” is no cron expression: it needs five fields, like “0 9 * * mon-fri”.")
    if not croniter.is_valid(expression):
        raise ScheduleError(
            f"“{expression}” does not parse as a cron expression. An example: “0 9 * * mon-fri” (weekdays at nine)."
        )


def _check_timetable(entries: object) -> None:
    if not isinstance(entries, list) or not entries:
        raise ScheduleError("Give at least one time of the week, like “mon 09:00”.")
    for entry in entries:
        if not isinstance(entry, str) or not _ENTRY.fullmatch(entry):
            raise ScheduleError(f"“{entry}” is no time of the week. Write it like “mon 09:00”.")
