"""Record keys: Bluesky shows a post only when its key is a TID (atproto.com/specs/tid), a time and a clock's number in
13 characters that sort by time.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from faces import keys

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NETWORK_BEGAN = datetime(2023, 1, 1, tzinfo=UTC)
_YEAR = timedelta(days=365)
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


def tid(key: str) -> str:
    """The TID of a post's key, for ever the same: the milliseconds in which the key was made, microseconds and clock
    number from its SHA-256. A key that carries no time gets one within Bluesky's first year, from its SHA-256 too.
    """
    chance = int.from_bytes(hashlib.sha256(key.encode()).digest())
    at = keys.made_at(key)
    if at is None:
        chance, milliseconds = divmod(chance, _YEAR // timedelta(milliseconds=1))
        at = _NETWORK_BEGAN + timedelta(milliseconds=milliseconds)
    chance, microseconds = divmod(chance, 1000)
    moment = (at - _EPOCH) // timedelta(microseconds=1) + microseconds
    return _sortable((moment & (1 << 53) - 1) << 10 | chance % 1024)


def _sortable(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))
