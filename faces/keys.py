"""Keys of posts: who publishes twice with the same key leaves one post where the platform knows keys.

A key is a version 7 UUID (RFC 9562) in 32 hexadecimal digits, so that it carries the moment it was made, for platforms
whose own ids begin with a time.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta

from accounts import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_key() -> str:
    """A key that nobody else has, made now."""
    milliseconds = (clock.now() - _EPOCH) // timedelta(milliseconds=1)
    random = secrets.randbits(74)
    number = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{number:032x}"


def made_at(key: str) -> datetime | None:
    """When a key was made, to the millisecond; None for one that does not tell."""
    try:
        known = uuid.UUID(hex=key)
    except ValueError:
        return None
    return _EPOCH + timedelta(milliseconds=known.int >> 80) if known.version == 7 else None
