"""From rules to moments: intervals, cron expressions and timetables, in zones with every kind of clock change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bots import slots
from bots.models import Schedule
from bots.slots import ScheduleError


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _schedule(**rule: Any) -> Schedule:
    kind = "cron" if "cron" in rule else "timetable" if "timetable" in rule else "interval"
    return Schedule(**{"kind": kind, "created_at": _at("2026-01-01T00:00"), "zone": "UTC"} | rule)


def _next(schedule: Schedule, after: str, count: int) -> list[str]:
    return [f"{slot:%m-%dT%H:%M}" for slot in slots.upcoming(schedule, _at(after), count)]


def test_an_interval_counts_from_when_the_schedule_was_made() -> None:
    schedule = _schedule(interval_seconds=5400)
    assert _next(schedule, "2026-01-01T00:00", 3) == ["01-01T01:30", "01-01T03:00", "01-01T04:30"]
    assert _next(schedule, "2026-01-01T01:29", 1) == ["01-01T01:30"]
    assert _next(schedule, "2026-01-01T01:30", 1) == ["01-01T03:00"]


def test_an_interval_knows_no_clock_change() -> None:
    schedule = _schedule(interval_seconds=3600, zone="Europe/Warsaw")
    found = slots.upcoming(schedule, _at("2026-03-29T00:00"), 30)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


def test_an_interval_before_the_schedule_was_made_has_slots_too() -> None:
    assert _next(_schedule(interval_seconds=3600), "2025-12-31T22:30", 2) == ["12-31T23:00", "01-01T00:00"]


def test_a_cron_expression_is_in_the_schedules_zone() -> None:
    schedule = _schedule(cron="0 9 * * mon-fri", zone="Europe/Warsaw")
    # Friday before the clocks go forward, then Monday after: nine o'clock is an hour earlier in UTC.
    assert _next(schedule, "2026-03-27T00:00", 2) == ["03-27T08:00", "03-30T07:00"]


def test_a_timetable_is_in_the_schedules_zone_and_in_order() -> None:
    schedule = _schedule(timetable=["fri 17:00", "mon 09:00", "mon 09:00", "mon 08:30"], zone="Asia/Kolkata")
    found = ["11-23T03:00", "11-23T03:30", "11-27T11:30", "11-30T03:00"]
    assert _next(schedule, "2026-11-21T12:00", 4) == found


def test_a_slot_that_is_now_has_passed() -> None:
    assert _next(_schedule(cron="0 9 * * *"), "2026-05-01T09:00", 1) == ["05-02T09:00"]
    assert _next(_schedule(timetable=["fri 09:00"]), "2026-05-01T09:00", 1) == ["05-08T09:00"]


GAPS = [
    # zone, local day of the change, a time within the gap, and the change itself in UTC
    ("Europe/Warsaw", "2026-03-29", "02:30", "03-29T01:00"),
    ("America/New_York", "2026-03-08", "02:30", "03-08T07:00"),
    ("Australia/Lord_Howe", "2026-10-04", "02:15", "10-03T15:30"),  # half an hour only
    ("Pacific/Apia", "2011-12-30", "12:00", "12-30T10:00"),  # a whole day
]


@pytest.mark.parametrize(("zone", "day", "time", "change"), GAPS)
@pytest.mark.parametrize("kind", ["cron", "timetable"])
def test_a_time_that_does_not_happen_becomes_the_first_moment_after_it(
    zone: str, day: str, time: str, change: str, kind: str
) -> None:
    schedule = _rule(kind, day, time, zone)
    start = _at(f"{day}T00:00") - timedelta(days=2)
    found = [f"{slot:%m-%dT%H:%M}" for slot in islice(slots.slots_after(schedule, start), 12)]
    assert found.count(change) == 1


FOLDS = [
    # zone, local day of the change, a time that happens twice, and its first occurrence in UTC
    ("Europe/Warsaw", "2026-10-25", "02:30", "10-25T00:30"),
    ("America/New_York", "2026-11-01", "01:30", "11-01T05:30"),
    ("Australia/Lord_Howe", "2026-04-05", "01:45", "04-04T14:45"),
]


@pytest.mark.parametrize(("zone", "day", "time", "first"), FOLDS)
@pytest.mark.parametrize("kind", ["cron", "timetable"])
def test_a_time_that_happens_twice_is_its_first_occurrence_only(
    zone: str, day: str, time: str, first: str, kind: str
) -> None:
    schedule = _rule(kind, day, time, zone)
    local = ZoneInfo(zone)
    start = _at(f"{day}T00:00") - timedelta(days=2)
    found = list(slots.upcoming(schedule, start, 12))
    on_the_day = [slot for slot in found if f"{slot.astimezone(local):%Y-%m-%dT%H:%M}" == f"{day}T{time}"]
    assert [f"{slot:%m-%dT%H:%M}" for slot in on_the_day] == [first]
    # Asked between the two occurrences, the second one is not offered as the next slot.
    assert slots.upcoming(schedule, on_the_day[0], 1)[0] - on_the_day[0] > timedelta(hours=1)


def _rule(kind: str, day: str, time: str, zone: str) -> Schedule:
    hour, minute = time.split(":")
    if kind == "cron":
        return _schedule(cron=f"{minute} {hour} * * *", zone=zone)
    weekday = slots.DAYS[datetime.fromisoformat(day).weekday()]
    return _schedule(timetable=[f"{weekday} {time}"], zone=zone)


@pytest.mark.parametrize(
    "zone", ["Europe/Warsaw", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
)
def test_a_year_of_daily_slots_rises_and_keeps_the_local_time(zone: str) -> None:
    """Nothing doubles, nothing is left out, and outside of the clock changes the local time is the one asked for."""
    schedule, local = _schedule(cron="30 2 * * *", zone=zone), ZoneInfo(zone)
    found = slots.upcoming(schedule, _at("2026-01-01T00:00"), 365)
    days = [slot.astimezone(local).date() for slot in found]
    assert {later - earlier for earlier, later in pairwise(days)} == {timedelta(days=1)}
    assert sum(f"{slot.astimezone(local):%H:%M}" != "02:30" for slot in found) <= 1
    assert found == sorted(set(found))


@pytest.mark.parametrize("zone", ["Europe/Warsaw", "Australia/Lord_Howe"])
def test_every_quarter_of_an_hour_rises_over_both_changes(zone: str) -> None:
    schedule = _schedule(cron="*/15 * * * *", zone=zone)
    found = slots.upcoming(schedule, _at("2026-01-01T00:00"), 4 * 24 * 365)
    gaps = {later - earlier for earlier, later in pairwise(found)}
    # Through the doubled hour there is nothing: its times were given out at their first occurrence.
    doubled = timedelta(minutes=75 if zone == "Europe/Warsaw" else 45)
    assert gaps == {timedelta(minutes=15), doubled}


def test_asking_from_within_a_gap_or_fold_never_goes_back() -> None:
    schedule = _schedule(cron="*/10 * * * *", zone="Europe/Warsaw")
    for start in ("2026-03-29T00:00", "2026-10-24T23:00"):
        moment = _at(start)
        for _ in range(240):
            moment += timedelta(minutes=1)
            assert slots.upcoming(schedule, moment, 1)[0] > moment


def test_the_29th_of_february_comes_around() -> None:
    assert _next(_schedule(cron="0 0 29 2 *"), "2026-01-01T00:00", 1) == ["02-29T00:00"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"cron": "0 9 * *"}, "five fields"),
        ({"cron": "0 9 * * * *"}, "five fields"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": ""}, "five fields"),
        ({"cron": "61 9 * * *"}, "does not parse"),
        ({"cron": "0 25 * * *"}, "does not parse"),
        ({"cron": "a b c d e"}, "does not parse"),
        ({"cron": "*/0 * * * *"}, "does not parse"),
        ({"cron": "0 9 * * nope"}, "does not parse"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "never fires"),
        ({"timetable": []}, "at least one time"),
        ({"timetable": ["mon 24:00"]}, "no time of the week"),
        ({"timetable": ["monday 09:00"]}, "no time of the week"),
        ({"timetable": ["mon 9:00"]}, "no time of the week"),
        ({"timetable": ["mon 09:00", 7]}, "no time of the week"),
        ({"timetable": "mon 09:00"}, "at least one time"),
        ({"timetable": ["mon 09:00\n"]}, "no time of the week"),
        ({"interval_seconds": None}, "at least one second"),
        ({"interval_seconds": 0}, "at least one second"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_in_words(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        slots.check(_schedule(**rule))


@pytest.mark.parametrize("rule", [{"cron": "0 0 29 2 *"}, {"timetable": ["sun 23:59"]}, {"interval_seconds": 1}])
def test_a_rule_that_fires_is_taken(rule: dict[str, Any]) -> None:
    schedule = _schedule(**rule)
    slots.check(schedule)
    assert len(slots.upcoming(schedule, datetime(2026, 11, 22, tzinfo=UTC), 1)) == 1
