"""Dates as exports write them: ISO 8601, Unix time, Twitter's own form, RFC 2822. What has no zone is taken as UTC."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
BASIC_DATE = re.compile(r"(?:19|20|21)\d{6}", re.ASCII)
TWITTER = re.compile(r"[a-z]{3} ([a-z]{3}) (\d{1,2}) (\d\d:\d\d:\d\d) ([+-]\d{4}) (\d{4})", re.ASCII | re.IGNORECASE)
RFC_2822 = re.compile(
    r"(?:[a-z]{3}, ?)?\d{1,2} [a-z]{3} \d{4} \d\d:\d\d(?::\d\d)?(?: (?:[+-]\d{4}|[a-z]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
ZONE = re.compile(r"\s*(?:UTC|GMT)$|\s+(?=[+-]\d\d:?\d\d$)", re.IGNORECASE)
# Unix seconds reach 1e11 in the year 5138, Unix milliseconds passed it in 1973: the magnitude tells the unit.
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))


def parse_date(value: object) -> datetime:
    """The moment in UTC. Raises ValueError with a reason in plain words."""
    try:
        if isinstance(value, bool):
            raise ValueError("not a date")
        moment = _from_number(float(value)) if isinstance(value, int | float) else _from_text(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(
            f"“{str(value)[:60]}” is not a date that can be read; write dates like 2024-08-01T12:30:00Z"
        ) from error


def _from_number(number: float) -> datetime:
    if not math.isfinite(number) or number < 0:
        raise ValueError("not a date")
    unit = next(unit for least, unit in UNITS if number >= least)
    return datetime.fromtimestamp(number / unit, tz=UTC)


def _from_text(text: str) -> datetime:
    if NUMBER.fullmatch(text) and not BASIC_DATE.fullmatch(text):
        return _from_number(float(text))
    if match := TWITTER.fullmatch(text):
        month, day, clock, zone, year = match.groups()
        return datetime.fromisoformat(f"{year}-{MONTHS.index(month.lower()) + 1:02}-{int(day):02}T{clock}{zone}")
    if RFC_2822.fullmatch(text):
        return parsedate_to_datetime(text)
    return datetime.fromisoformat(ZONE.sub("", text))
