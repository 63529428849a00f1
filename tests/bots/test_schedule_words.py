"""Schedules in words: right, or nothing."""

from __future__ import annotations

import pytest

from bots import schedule_words
from bots.models import Schedule


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 9 * * mon-fri", "At 09:00, Monday through Friday"),
        ("30 8,18 * * *", "At 08:30 and 18:30, every day"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/7 * * * *", "Every 7 minutes, counted anew each hour"),
        ("0 */5 * * *", "Every 5 hours, counted anew each day"),
        ("0 9 * * 0", "At 09:00, only on Sunday"),
        ("0 9 * * 7", "At 09:00, only on Sunday"),
        ("0 9 * * sat-sun", "At 09:00, Saturday through Sunday"),
        ("0 0 29 2 *", "At 00:00, on day 29 of the month, only in February"),
        ("0 9 l * *", "At 09:00, on the last day of the month"),
        ("0 9 * * fri#1", "At 09:00, on the first Friday of the month"),
        # Either day is enough.
        ("0 12 13 * fri", "At 12:00, on day 13 of the month, or on Friday"),
        # Described as if both were needed, or not at all.
        ("0 9 1 * */2", ""),
        ("R * * * *", ""),
        ("@daily", ""),
        ("x y z 1 2", ""),
        ("0 9 * * 99", ""),
        ("", ""),
    ],
)
def test_cron(expression: str, words: str) -> None:
    assert schedule_words.cron(expression) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3600, "Every hour"), (5400, "Every 90 minutes"), (172_800, "Every 2 days"), (61, "Every 61 seconds"), (0, "")],
)
def test_intervals(seconds: int, words: str) -> None:
    assert schedule_words.every(seconds) == words


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["fri 18:30", "mon 09:00", "fri 09:00"], "Monday at 09:00; Friday at 09:00 and 18:30"),
        ([f"{day} 09:00" for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")], "Every day at 09:00"),
        (["mon 09:00", "tue 09:00", "wed 09:00"], "Monday to Wednesday at 09:00"),
        (["mon 09:00", "wed 09:00", "wed 09:00"], "Monday and Wednesday at 09:00"),
        ([], ""),
    ],
)
def test_timetables(entries: list[str], words: str) -> None:
    assert schedule_words.in_words(Schedule(kind="timetable", timetable=entries)) == words
