"""Schedules over a whole year in six zones with their clock changes; jitter, quiet hours and the daily cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from accounts import clock
from accounts.clock import SimulatedClock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots import slots
from bots.models import Bot, Post, Schedule
from bots.services import bots as services
from bots.services import delivery, scheduling
from faces.contract import Face
from tests.factories import World, client_of, make_bot, make_connection, make_post
from tests.fake_platform import FakePlatform

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ID = UUID("00000000-0000-4000-8000-000000000001")

# zone; the year; the two changes of the clock in it, in UTC; by how much
ZONES = [
    ("Europe/Warsaw", 2026, ("2026-03-29T01:00", "2026-10-25T01:00"), 60),
    ("America/New_York", 2026, ("2026-03-08T07:00", "2026-11-01T06:00"), 60),
    ("Australia/Lord_Howe", 2026, ("2026-10-03T15:30", "2026-04-04T15:00"), 30),
    ("America/Sao_Paulo", 2018, ("2018-11-04T03:00", "2018-02-18T02:00"), 60),  # at midnight; none any more since 2019
    ("Pacific/Apia", 2019, ("2019-09-28T14:00", "2019-04-06T14:00"), 60),  # none any more since 2021
    ("Asia/Kolkata", 2026, (), 0),
]
CHANGES = [
    (zone, datetime.fromisoformat(change).replace(tzinfo=UTC), minutes * (1, -1)[number])
    for zone, _, changes, minutes in ZONES
    for number, change in enumerate(changes)
]


def _schedule(**rule: Any) -> Schedule:
    kind = "cron" if "cron" in rule else "timetable" if "timetable" in rule else "interval"
    return Schedule(**{"id": ID, "kind": kind, "created_at": datetime(2018, 1, 1, tzinfo=UTC), "zone": "UTC"} | rule)


def _within(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    found = []
    for slot in slots.slots_after(schedule, start - timedelta(seconds=1)):
        if slot >= end:
            return found
        found.append(slot)
    return found


def _daily(kind: str, at: str, zone: str) -> Schedule:
    hour, minute = at.split(":")
    if kind == "cron":
        return _schedule(cron=f"{int(minute)} {int(hour)} * * *", zone=zone)
    return _schedule(timetable=[f"{day} {at}" for day in slots.DAYS], zone=zone)


@pytest.mark.parametrize(("zone", "change", "minutes"), CHANGES)
def test_these_are_the_changes_of_the_clock(zone: str, change: datetime, minutes: int) -> None:
    offsets = [(change + step).astimezone(ZoneInfo(zone)).utcoffset() for step in (-timedelta(seconds=1), timedelta())]
    assert None not in offsets
    assert offsets[1] - offsets[0] == timedelta(minutes=minutes)  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["cron", "timetable"])
@pytest.mark.parametrize(("zone", "year", "changes", "minutes"), ZONES)
@pytest.mark.parametrize("at", ["00:00", "00:30", "01:45", "02:15", "03:00", "12:00"])
def test_a_daily_time_comes_once_on_every_local_day_of_the_year(
    kind: str, zone: str, year: int, changes: tuple[str, ...], minutes: int, at: str
) -> None:
    here, local = ZoneInfo(zone), time.fromisoformat(at)
    start, end = (datetime(year + n, 1, 1, tzinfo=here) for n in (0, 1))
    found = [slot.astimezone(here) for slot in _within(_daily(kind, at, zone), start, end)]
    days = Counter(slot.date() for slot in found)
    assert (len(days), set(days.values())) == ((end.date() - start.date()).days, {1})
    moved = [slot for slot in found if slot.time() != local]
    gaps = [change for _, change, by in CHANGES if (_ == zone) and by > 0]
    assert all(slot.astimezone(UTC) in gaps for slot in moved)  # only where the local time did not exist
    assert all(slot.fold == 0 for slot in found)


@pytest.mark.parametrize(("zone", "change", "minutes"), CHANGES)
def test_every_half_hour_by_cron_follows_the_local_clock_across_a_change(
    zone: str, change: datetime, minutes: int
) -> None:
    here = ZoneInfo(zone)
    found = _within(_schedule(cron="*/30 * * * *", zone=zone), change - 3 * HOUR, change + 3 * HOUR)
    steps = Counter(later - earlier for earlier, later in pairwise(found))
    half, gap = timedelta(minutes=30), timedelta(minutes=30 + abs(minutes))
    # Forward: no local half hour is skipped in real time. Back: the hour that comes twice is used once.
    assert steps == (Counter({half: len(found) - 1}) if minutes > 0 else Counter({half: len(found) - 2, gap: 1}))
    assert len({slot.astimezone(here).replace(tzinfo=None) for slot in found}) == len(found)


@pytest.mark.parametrize(("zone", "change", "minutes"), CHANGES)
def test_an_interval_is_the_same_across_a_change(zone: str, change: datetime, minutes: int) -> None:
    found = _within(_schedule(interval_seconds=1800, zone=zone), change - DAY, change + DAY)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=30)}
    assert len(found) == 96


# Jitter

JITTERED = ["00:07:29", "00:13:13", "00:25:29", "00:37:20", "00:46:06"]


def test_jitter_moves_each_slot_by_its_own_part_and_never_earlier() -> None:
    plain, jittered = (_schedule(cron="0 * * * *", jitter_minutes=minutes) for minutes in (0, 30))
    start = datetime(2026, 5, 4, tzinfo=UTC)
    moved = [
        later - slot
        for slot, later in zip(
            _within(plain, start, start + 40 * DAY), slots.slots_after(jittered, start), strict=False
        )
    ][1:]
    assert min(moved) >= timedelta(0)
    assert max(moved) < timedelta(minutes=30)
    assert len(set(moved)) > 500
    mean = sum(moved, timedelta()) / len(moved)
    assert timedelta(minutes=13) < mean < timedelta(minutes=17)


def test_jitter_is_the_same_for_every_process_and_wherever_one_begins_to_count() -> None:
    schedule = _schedule(cron="*/10 * * * *", jitter_minutes=45)
    start = datetime(2026, 5, 4, tzinfo=UTC)
    whole = list(islice(slots.slots_after(schedule, start), 200))
    assert whole == sorted(set(whole))
    for later in (whole[3], whole[50], whole[120] + timedelta(seconds=1)):
        rest = [slot for slot in whole if slot > later]
        assert list(islice(slots.slots_after(schedule, later), len(rest))) == rest
    assert [f"{slot:%H:%M:%S}" for slot in whole[:5]] == JITTERED  # drawn by another process


def test_schedules_of_different_bots_do_not_move_together() -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    one, other = (_schedule(id=UUID(int=n), cron="0 9 * * *", jitter_minutes=60) for n in (1, 2))
    assert slots.upcoming(one, start, 5) != slots.upcoming(other, start, 5)


# Quiet hours


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        ((time(12), time(15)), [*range(12), *range(15, 24)]),
        ((time(22), time(7)), list(range(7, 22))),
        ((time(0), time(23)), [23]),
        ((time(0, 1), time(0)), [0]),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_slots_in_quiet_hours_are_left_out(quiet: tuple[time, time], expected: list[int], zone: str) -> None:
    schedule = _schedule(cron="0 * * * *", zone=zone, quiet_from=quiet[0], quiet_until=quiet[1])
    start = datetime(2026, 5, 4, tzinfo=ZoneInfo(zone))
    found = _within(schedule, start, start + DAY)
    assert [slot.astimezone(ZoneInfo(zone)).hour for slot in found] == expected


def test_jitter_does_not_move_a_slot_into_quiet_hours() -> None:
    schedule = _schedule(cron="0 21 * * *", jitter_minutes=120, quiet_from=time(22), quiet_until=time(6))
    found = _within(schedule, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 11, tzinfo=UTC))
    assert {slot.hour for slot in found} == {21}
    assert 30 < len(found) < 70  # half of a hundred


@pytest.mark.parametrize(
    ("zone", "now", "end"),
    [
        ("UTC", "2026-05-04T23:30", "2026-05-05T07:00"),
        ("UTC", "2026-05-04T03:00", "2026-05-04T07:00"),
        ("UTC", "2026-05-04T07:00", None),
        ("UTC", "2026-05-04T21:59", None),
        ("Europe/Warsaw", "2026-03-28T22:00", "2026-03-29T05:00"),  # that night is an hour shorter
        ("Europe/Warsaw", "2026-10-24T22:00", "2026-10-25T06:00"),  # and that one longer
    ],
)
def test_quiet_hours_end(zone: str, now: str, end: str | None) -> None:
    schedule = _schedule(cron="0 * * * *", zone=zone, quiet_from=time(22), quiet_until=time(7))
    found = slots.quiet_until(schedule, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(end).replace(tzinfo=UTC) if end else None)


START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)  # a Monday


@pytest.fixture
def running() -> Iterator[SimulatedClock]:
    with clock.simulated(START) as simulated:
        yield simulated


@pytest.fixture
def bot(world: World, running: SimulatedClock, without_keys: type[Face]) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"))


def _approved(bot: Bot, count: int) -> list[Post]:
    return [make_post(bot, "approved", approved_at=START - timedelta(hours=count - n)) for n in range(count)]


def _states(posts: list[Post]) -> list[str]:
    return [Post.objects.values_list("state", flat=True).get(pk=post.pk) for post in posts]


@pytest.mark.parametrize(
    ("quiet_from", "now", "queued"),
    [
        (time(10), "09:59:50", 1),
        (time(10), "10:00:10", 0),  # late, and the misfire policy would send it
        (time(9, 59, 30), "09:59:40", 0),  # still punctual
    ],
)
def test_a_post_is_not_sent_late_into_quiet_hours(
    bot: Bot, running: SimulatedClock, quiet_from: time, now: str, queued: int
) -> None:
    posts = _approved(bot, 1)
    services.set_schedule(
        bot, kind="cron", cron="59 9 * * *", quiet_from=quiet_from, quiet_until=time(18), misfire="late"
    )
    scheduling.fill_slots(bot)
    running.current = datetime.combine(START.date(), time.fromisoformat(now), UTC)
    assert scheduling.queue_due() == queued
    assert _states(posts) == (["queued"] if queued else ["approved"])


def test_a_post_that_was_due_before_quiet_hours_waits_until_their_end(
    bot: Bot, running: SimulatedClock, platform: FakePlatform
) -> None:
    """A retry, a reconnected account or a resumed bot: what is due already does not go out at night either."""
    schedule = services.set_schedule(
        bot, kind="cron", cron="0 9 * * *", quiet_from=time(10), quiet_until=time(18), zone="Europe/Warsaw"
    )
    post = make_post(bot, "queued", schedule=schedule)
    running.advance(HOUR)
    assert delivery.deliver_post(post.pk) == "queued"
    post.refresh_from_db()
    assert (post.not_before, post.last_error) == (START.replace(hour=16), "These are the schedule's quiet hours.")
    running.advance(7 * HOUR)
    Post.objects.update(not_before=None)
    assert delivery.deliver_post(post.pk) == "published"


def test_what_a_person_publishes_now_goes_out_in_quiet_hours(
    bot: Bot, running: SimulatedClock, platform: FakePlatform
) -> None:
    services.set_schedule(bot, kind="cron", cron="0 20 * * *", quiet_from=time(7), quiet_until=time(18))
    (post,) = _approved(bot, 1)
    scheduling.publish_now(str(post.pk))
    scheduling.queue_due()
    assert delivery.deliver_post(post.pk) == "published"


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ({"quiet_from": time(8)}, "quiet_until", "both times"),
        ({"quiet_until": time(8)}, "quiet_until", "both times"),
        ({"quiet_from": time(8), "quiet_until": time(8)}, "cron", "end where they begin"),
        ({"quiet_from": time(8), "quiet_until": time(10)}, "cron", "outside its quiet hours"),
        ({"jitter_minutes": 721}, "jitter_minutes", "720"),
    ],
)
def test_hours_that_cannot_be_are_refused(bot: Bot, rule: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        services.set_schedule(bot, kind="cron", cron="0 9 * * *", **rule)
    assert words in refused.value.message_dict[field][0]


def test_an_interval_that_is_always_in_quiet_hours_is_refused(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="never fires"):
        services.set_schedule(bot, kind="interval", interval_seconds=86_400, quiet_from=time(7), quiet_until=time(9))


def test_the_jittered_slot_is_stored_and_the_cap_counts_it(bot: Bot) -> None:
    services.change_bot(bot, posts_per_day=3)
    posts = _approved(bot, 9)
    schedule = services.set_schedule(bot, kind="cron", cron="0 * * * *", jitter_minutes=50)
    scheduling.fill_slots(bot)
    given = list(Post.objects.exclude(slot_utc=None).order_by("slot_utc").values_list("slot_utc", flat=True))
    assert set(given) <= set(slots.upcoming(schedule, START, 100))
    assert Counter(slot.date().day for slot in given) == {4: 3, 5: 3, 6: 3}
    assert any(slot.minute for slot in given)
    assert len(posts) == 9


RULE = {"kind": "cron", "cron": "0 9 * * *", "zone": "UTC", "misfire": "late", "misfire_minutes": "60"}


def test_the_page_has_them(world: World, bot: Bot) -> None:
    alice, page = client_of(world.alice), f"/o/acme/bots/{bot.pk}/schedule/"
    told = RULE | {"jitter_minutes": "20", "quiet_from": "22:00", "quiet_until": "06:30"}
    assert alice.post(page, told).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.jitter_minutes, schedule.quiet_from, schedule.quiet_until) == (20, time(22), time(6, 30))
    shown = alice.get(page).text
    assert 'value="22:00"' in shown
    assert alice.post(page, told | {"preview": "1"}).text.count("<li><span>") == shown.count("<li><span>") == 10
    assert slots.upcoming(schedule, datetime.now(UTC), 1)[0].strftime("%H:%M") in shown
    half = alice.post(page, told | {"quiet_until": ""})
    assert (half.status_code, "Quiet hours need both times" in half.text) == (400, True)
    line = AuditEntry.objects.filter(action="schedule.set").latest("pk").after
    assert (line["jitter_minutes"], line["quiet_from"], line["quiet_until"]) == (20, "22:00:00", "06:30:00")


def test_the_api_has_them(world: World, bot: Bot) -> None:
    body = {"bot": str(bot.pk), "kind": "cron", "cron": "0 9 * * *", "jitter_minutes": 5, "quiet_from": "22:00:00"}
    alice, address = client_of(world.alice), "/api/v1/organizations/acme/schedules/"
    assert alice.post(address, body, content_type="application/json").status_code == 400
    made = alice.post(address, body | {"quiet_until": "06:00:00"}, content_type="application/json")
    assert (made.status_code, made.json()["jitter_minutes"], made.json()["quiet_until"]) == (201, 5, "06:00:00")
