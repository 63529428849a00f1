"""Before a call is made: is it within the platform's limits, the platform's own word, and the owner's budget?

Calls are counted in buckets, ten to a window. A window that slides is covered by eleven whole buckets, so that no
stretch of time of that length ever holds more calls than allowed, wherever the platform's own window begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import Sum

from accounts import audit, clock
from faces.contract import BUCKETS, FaceError, Limit, Operation, OutgoingPost
from faces.models import BilledRead, Connection, Usage

WHOLE_DAY = 0
"""In place of a window's length: the totals of a UTC day."""
MICRO = 1_000_000
"""Millionths of a dollar in a dollar."""
CALLS: dict[Operation, str] = {"publish": "post", "read": "reading"}


@dataclass(frozen=True)
class Wait:
    """Why a call cannot be made now, and the moment to ask again."""

    until: datetime
    reason: str


def admit(connection: Connection, operation: Operation, *, calls: int = 1, microdollars: int = 0) -> Wait | None:
    """Count the calls and their cost, and return None; or count nothing and say how long to wait, because the platform
    asked for it, a limit is used up, or the day's budget is.
    """
    now = clock.now()
    limits = [limit for limit in connection.capabilities.limits if limit.operation == operation]
    if not limits and not microdollars:  # nothing to hold it against but the platform's own word
        wait = _told(connection, operation, now)
        if wait is None:
            _count(connection, operation, WHOLE_DAY, _midnight(now), calls, 0)
        return wait
    return _admit(connection, operation, limits, calls, microdollars, now)


@transaction.atomic
def _admit(
    connection: Connection, operation: Operation, limits: list[Limit], calls: int, microdollars: int, now: datetime
) -> Wait | None:
    held = Connection.locked(connection.pk)  # one caller at a time: two would both see the last place free
    waits = [_told(held, operation, now), _within_budget(held, microdollars, now)]
    waits += [_within(held, limit, calls, now) for limit in limits]
    longest = max((wait for wait in waits if wait), key=lambda wait: wait.until, default=None)
    if longest is None:
        for limit in limits:
            _count(held, operation, limit.seconds, _bucket(limit, now), calls, 0)
        _count(held, operation, WHOLE_DAY, _midnight(now), calls, microdollars)
    return longest


def told_to_wait(connection: Connection, operation: Operation, error: FaceError) -> None:
    """Keep what a platform said in an answer: nothing of this connection is tried before."""
    if not error.retry_after:
        return
    until = clock.now() + timedelta(seconds=error.retry_after)
    Connection.objects.filter(pk=connection.pk).update(**{f"{operation}_after": until})


def affordable(connection: Connection, remote_ids: Sequence[str], reserve: int = 0) -> list[str]:
    """Those of the posts, the first before the others, whose reading the day's budget still pays beside `reserve`
    millionths of a dollar. A post that was billed today is free.
    """
    left = budget_left(connection)
    if left is None:
        return list(remote_ids)
    face, billed = connection.face, set(_billed_today(connection, remote_ids))
    chosen: list[str] = []
    for remote_id in remote_ids:
        price = 0 if remote_id in billed else face.read_price([remote_id])
        if price == 0 or price <= left - reserve:
            chosen.append(remote_id)
            left -= price
    return chosen


def wait_to_read(connection: Connection, posts: int, *, calls: int = 1, reserve: int = 0) -> Wait | None:
    """Count calls that read at most so many posts, which nobody knows yet, and return None; or count nothing and say
    how long to wait. What they cost is booked once they are known (`pay`); `reserve` of the day's budget is kept back.
    """
    price, left = connection.face.read_price([""] * posts), budget_left(connection)
    if price and left is not None and price + reserve > left:
        return _until_tomorrow(price, max(0, left - reserve), clock.now())
    return admit(connection, "read", calls=calls)


@transaction.atomic
def pay(connection: Connection, remote_ids: Sequence[str]) -> None:
    """Book what reading these posts has cost, which were not known before: those billed today are free."""
    Connection.locked(connection.pk)  # one at a time: two would both bill a post
    if price := reading_price(connection, remote_ids):
        _count(connection, "read", WHOLE_DAY, _midnight(clock.now()), 0, price)
        book_reading(connection, remote_ids)


def reading_price(connection: Connection, remote_ids: Sequence[str]) -> int:
    """What reading these posts now costs, in millionths of a dollar: those billed today are free."""
    billed = set(_billed_today(connection, remote_ids))
    return connection.face.read_price([remote_id for remote_id in remote_ids if remote_id not in billed])


def book_reading(connection: Connection, remote_ids: Sequence[str]) -> None:
    """Note that the platform has billed these posts today."""
    if connection.face.read_price(remote_ids):
        day = _midnight(clock.now()).date()
        BilledRead.objects.filter(connection=connection, day__lt=day).delete()
        BilledRead.objects.bulk_create(
            [BilledRead(connection=connection, day=day, remote_id=remote_id) for remote_id in remote_ids],
            ignore_conflicts=True,
        )


def _billed_today(connection: Connection, remote_ids: Sequence[str]) -> list[str]:
    day = _midnight(clock.now()).date()
    found = BilledRead.objects.filter(connection=connection, day=day, remote_id__in=remote_ids)
    return list(found.values_list("remote_id", flat=True))


def budget_left(connection: Connection) -> int | None:
    """Millionths of a dollar that today's calls may still cost; None without a budget."""
    if connection.daily_budget is None:
        return None
    return max(0, int(connection.daily_budget * MICRO) - spent_today(connection))


def spent_today(connection: Connection) -> int:
    """Millionths of a dollar that the calls of this UTC day cost."""
    rows = Usage.objects.filter(connection=connection, start__gte=_midnight(clock.now()))
    return int(rows.aggregate(total=Sum("microdollars"))["total"] or 0)


def calls_today(connection: Connection) -> dict[str, int]:
    """Operation → calls of this UTC day."""
    rows = Usage.objects.filter(connection=connection, seconds=WHOLE_DAY, start=_midnight(clock.now()))
    return dict(rows.values_list("operation", "calls"))


@transaction.atomic
def set_budget(connection_id: UUID | str, dollars: Decimal | None) -> Connection:
    """Say what calls of a connection may cost per UTC day, in US dollars; None: no bound. Raises ValidationError."""
    connection = Connection.locked(connection_id)
    before = connection.daily_budget
    connection.daily_budget = dollars
    connection.clean_fields(exclude={field.name for field in Connection._meta.fields} - {"daily_budget"})
    connection.save(update_fields=["daily_budget"])
    told = [None if value is None else str(value) for value in (before, dollars)]
    audit.record("connection.budget", connection, before={"daily_budget": told[0]}, after={"daily_budget": told[1]})
    return connection


@dataclass(frozen=True)
class Today:
    """A connection's UTC day so far, in US dollars; `left` is None without a budget. `allows` are its platform's limits
    in words.
    """

    published: int
    read: int
    spent: float
    left: float | None
    allows: tuple[str, ...]
    costs: bool


def today(connection: Connection) -> Today:
    calls, left = calls_today(connection), budget_left(connection)
    face = connection.face
    return Today(
        published=calls.get("publish", 0),
        read=calls.get("read", 0),
        spent=spent_today(connection) / MICRO,
        left=None if left is None else left / MICRO,
        allows=tuple(
            f"{_counted(limit.calls, CALLS[limit.operation])} in {_span(limit.seconds)}"
            for limit in face.capabilities.limits
        ),
        costs=bool(face.price(OutgoingPost("A post.")) or face.read_price(["a post"])),
    )


def _span(seconds: int) -> str:
    unit, length = next(
        (unit, length) for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)) if seconds % length == 0
    )
    return _counted(seconds // length, unit)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def forget_old_usage() -> int:
    """Delete counts that no window and no page asks for any more."""
    # everyone: housekeeping over all organizations; nothing of a row is read.
    deleted, _ = Usage.everyone.filter(start__lt=clock.now() - timedelta(days=32)).delete()
    return deleted


def _told(connection: Connection, operation: Operation, now: datetime) -> Wait | None:
    until = connection.publish_after if operation == "publish" else connection.read_after
    if until is None or until <= now:
        return None
    return Wait(until, f"{connection.label} asked us to wait until {until:%H:%M} UTC.")


def _within_budget(connection: Connection, microdollars: int, now: datetime) -> Wait | None:
    left = budget_left(connection)
    if not microdollars or left is None or microdollars <= left:
        return None
    return _until_tomorrow(microdollars, left, now)


def _until_tomorrow(microdollars: int, left: int, now: datetime) -> Wait:
    return Wait(
        _midnight(now) + timedelta(days=1),
        f"This would cost ${microdollars / MICRO:.3f}, and of today's budget ${left / MICRO:.3f} is left.",
    )


def _within(connection: Connection, limit: Limit, calls: int, now: datetime) -> Wait | None:
    covered = timedelta(seconds=limit.covered)
    used = list(
        Usage.objects.filter(
            connection=connection, operation=limit.operation, seconds=limit.seconds, start__gt=now - covered
        )
        .order_by("start")
        .values_list("start", "calls")
    )
    excess = sum(count for _, count in used) + min(calls, limit.calls) - limit.calls
    freed = 0
    for start, count in used if excess > 0 else ():
        freed += count
        if freed >= excess:
            return Wait(start + covered, f"{connection.label} allows {limit.calls} calls in {limit.seconds} seconds.")
    return None


def _count(
    connection: Connection, operation: Operation, seconds: int, start: datetime, calls: int, microdollars: int
) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO faces_usage (organization_id, connection_id, operation, seconds, start, calls, microdollars) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (connection_id, operation, seconds, start) DO UPDATE "
            "SET calls = faces_usage.calls + EXCLUDED.calls, "
            "microdollars = faces_usage.microdollars + EXCLUDED.microdollars",
            [connection.organization_id, connection.pk, operation, seconds, start, calls, microdollars],
        )


def _bucket(limit: Limit, now: datetime) -> datetime:
    length = limit.seconds / BUCKETS
    return datetime.fromtimestamp(now.timestamp() // length * length, UTC)


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
