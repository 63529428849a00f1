"""Streams of events in Redis, one per topic, and the positions in them by which nothing is missed unnoticed.

Every event has an id `<milliseconds>-<number>`, drawn by Redis while it is written and larger than every one before, on
whatever topic. An entry names the one before it on its topic, so that a reader sees at once when something between was
trimmed. An event that could not be written leaves a gap in its place (`GAP`).

A sequence is `<epoch>.<id>`. The epoch is a new one whenever Redis may have forgotten something: it was started anew
(its last second may be missing) or emptied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

STATE = "live:state"
KEPT = 1000
"""Events that a topic keeps, at least; Redis trims whole nodes."""
KEPT_MS = 600_000
"""How long it keeps them; a topic where nothing happens is forgotten a minute later."""
LARGEST = 256 * 1024
"""Bytes of an event. A larger one leaves a gap: its rows are read through the API."""
GAP = ""
"""The text of an event that could not be written."""

_MOMENT = """
local function moment()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local known = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'ms', 'number')
  if known[1] ~= run then
    known[2] = string.sub(run, 1, 8) .. string.format('%x', now)
    redis.call('HSET', KEYS[1], 'run', run, 'epoch', known[2])
  end
  return known[2], now, tonumber(known[3] or 0), tonumber(known[4] or 0)
end
"""

WRITE = (
    _MOMENT
    + """
local epoch, now, ms, number = moment()
if now > ms then ms, number = now, 0 else number = number + 1 end
redis.call('HSET', KEYS[1], 'ms', string.format('%.0f', ms), 'number', number)
local id = string.format('%.0f-%d', ms, number)
for i = 2, #KEYS do
  local top = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)[1]
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[1], id, 'p', top and top[1] or '', 't', ARGV[3], 'd', ARGV[4])
  redis.call('XTRIM', KEYS[i], 'MINID', '~', string.format('%.0f', now - ARGV[2]))
  redis.call('PEXPIRE', KEYS[i], ARGV[2] + 60000)
end
return id
"""
)
READ_STATE = (
    _MOMENT
    + """
local epoch, now, ms, number = moment()
return {epoch, string.format('%.0f', now), string.format('%.0f-%d', ms, number)}
"""
)


_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


class Position(NamedTuple):
    """An entry's id."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises ValueError."""
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError(f"“{text}” is no id of an event.")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True)
class Event:
    """Something to tell: its JSON (or GAP) on one or several topics."""

    topics: tuple[str, ...]
    kind: str
    text: str


@dataclass(frozen=True)
class Entry:
    """An event as a topic's stream has it."""

    position: Position
    previous: Position | None
    kind: str
    text: str

    @property
    def is_gap(self) -> bool:
        return self.text == GAP


@dataclass(frozen=True)
class State:
    """`now` is Redis' time in milliseconds, `last` the newest id on any topic."""

    epoch: str
    now: int
    last: Position

    def sequence(self, position: Position) -> str:
        return f"{self.epoch}.{position}"

    def before(self, seconds: float) -> str:
        """The sequence of so long ago; "" when this epoch is younger than that."""
        ms = self.now - int(seconds * 1000)
        return self.sequence(Position(ms, 0)) if ms > int(self.epoch[8:], 16) else ""

    def position(self, sequence: str) -> Position | None:
        """The position that a sequence of this epoch names; None for every other text."""
        epoch, _, rest = sequence.partition(".")
        try:
            return Position.parse(rest) if epoch == self.epoch else None
        except ValueError:
            return None


def stream(topic: str) -> str:
    """The topic's key in Redis."""
    return f"live:{topic}"


def write(pipe: Any, event: Event) -> None:
    """Add the writing of one event to a redis-py pipeline."""
    keys = [STATE, *map(stream, event.topics)]
    pipe.eval(WRITE, len(keys), *keys, KEPT, KEPT_MS, event.kind, event.text)


def state_of(answer: Sequence[bytes]) -> State:
    """What READ_STATE answered."""
    epoch, now, last = (part.decode() for part in answer)
    return State(epoch, int(now), Position.parse(last))


def entries_of(answer: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    """What XREAD and XRANGE answer for one stream."""
    return [
        Entry(
            Position.parse(key.decode()),
            Position.parse(fields[b"p"].decode()) if fields[b"p"] else None,
            fields[b"t"].decode(),
            fields[b"d"].decode(),
        )
        for key, fields in answer
    ]


def complete(state: State, after: Position, entries: Sequence[Entry], *, exists: bool, seen: int = 0) -> bool:
    """Whether `entries`, the stream's first ones beyond `after`, are all that there ever were from there on.

    `seen` is when (in Redis' milliseconds) the reader last found nothing beyond `after`. A stream that does not exist,
    or began with its first entry here, says nothing of what is older than KEPT_MS.
    """
    known_at = max(after.ms, seen)
    if after > state.last:
        return False
    if entries:
        first = entries[0]
        return first.previous <= after if first.previous else known_at >= first.position.ms - KEPT_MS
    return exists or after == state.last or known_at >= state.now - KEPT_MS
