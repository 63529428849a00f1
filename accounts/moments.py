"""Moments that come from outside, as the database can hold them. (A module of its own: all rooms use it.)"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import fields, filters


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC: PostgreSQL knows no offsets beyond 15:59. Raises ValidationError beyond the calendar."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValidationError("This moment is beyond the calendar.") from None


class _MomentField(fields.IsoDateTimeField):
    def clean(self, value: Any) -> datetime | None:
        found: datetime | None = super().clean(value)
        return in_utc(found) if found else None


class MomentFilter(filters.IsoDateTimeFilter):
    """A moment as ISO 8601 has it."""

    field_class = _MomentField
