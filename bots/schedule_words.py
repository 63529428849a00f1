"""Schedules in words. The words only describe: which moments a rule means, `bots.slots` decides."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cron_descriptor import FormatException, MissingFieldException, Options, WrongArgumentException, get_description

from bots.models import Schedule
from bots.slots import DAYS

NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
PLAIN = re.compile(r"[\dA-Z*,/?# -]+")
"""Cron expressions that the describer and the scheduler read alike."""
STEPS = (("hour", 60), ("day", 24))
"""What the steps of minutes and of hours begin anew with, and how many there are."""


def in_words(schedule: Schedule) -> str:
    """A sentence without a full stop; "" where the times themselves say it best."""
    if schedule.kind == Schedule.Kind.INTERVAL:
        return every(schedule.interval_seconds or 0)
    if schedule.kind == Schedule.Kind.CRON:
        return cron(schedule.cron)
    return timetable(schedule.timetable)


def every(seconds: int) -> str:
    """An interval in the largest unit that it is a whole number of; "" for none."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds and seconds % size == 0), (0, ""))
    if not unit:
        return ""
    return f"Every {unit}" if seconds == size else f"Every {seconds // size:,} {unit}s"


def cron(expression: str) -> str:
    """A cron expression of five fields; "" for one that would be described wrongly, or cannot be read."""
    upper = " ".join(expression.upper().split())
    fields = upper.split(" ")
    if len(fields) != 5 or not PLAIN.fullmatch(upper) or re.search(r"\bR\b|\bH\b", upper):
        return ""
    options = Options()
    options.use_24hour_time_format = True
    try:
        words = get_description(upper, options)
    except (FormatException, MissingFieldException, WrongArgumentException, ValueError, IndexError, KeyError):
        return ""
    either = all(field not in ("*", "?") for field in (fields[2], fields[4]))
    if either and ", or " not in words:
        return ""  # a day of the month or a day of the week, whichever comes: the describer knows it as “and”
    if fields[2:] == ["*", "*", "*"] and "*" not in fields[1]:
        words += ", every day"
    return words + "".join(_anew(field, *step) for field, step in zip(fields, STEPS, strict=False))


def _anew(field: str, name: str, count: int) -> str:
    """A step that does not fit into its hour or day is shorter at the end of it."""
    found = re.fullmatch(r"\*/(\d+)", field)
    return f", counted anew each {name}" if found and int(found[1]) and count % int(found[1]) else ""


def timetable(entries: Sequence[str]) -> str:
    """Times of the week, the days that share their times together: “Monday and Friday at 09:00 and 18:30”."""
    times: dict[str, list[str]] = {}
    for entry in sorted(set(entries)):
        times.setdefault(entry[:3], []).append(entry[4:])
    days: dict[tuple[str, ...], list[int]] = {}
    for number, day in enumerate(DAYS):
        if day in times:
            days.setdefault(tuple(times[day]), []).append(number)
    parts = [f"{_days(numbers)} at {_and(shared)}" for shared, numbers in days.items()]
    return "; ".join([parts[0][0].upper() + parts[0][1:], *parts[1:]]) if parts else ""


def _days(numbers: list[int]) -> str:
    if numbers == list(range(7)):
        return "every day"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{NAMES[numbers[0]]} to {NAMES[numbers[-1]]}"
    return _and([NAMES[number] for number in numbers])


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
