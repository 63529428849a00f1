"""The one clock of the domain: real, unless a rehearsal has put a simulated one in its place.

Slots, ages of posts and readings follow this clock. Leases do not: they are a matter between processes and follow the
database's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

from django.utils import timezone


class SimulatedClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, start: datetime) -> None:
        self.current = start

    def advance(self, by: timedelta) -> None:
        if by < timedelta(0):
            raise ValueError("A clock cannot run backwards.")
        self.current += by


_simulated: ContextVar[SimulatedClock | None] = ContextVar("simulated_clock", default=None)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    clock = _simulated.get()
    return clock.current if clock else timezone.now()


@cache
def zones() -> frozenset[str]:
    """The names of all time zones. The file system is walked for them, so once."""
    return frozenset(available_timezones())


@contextmanager
def simulated(start: datetime) -> Iterator[SimulatedClock]:
    """Within the block, `now()` is what the yielded clock says."""
    clock = SimulatedClock(start)
    token = _simulated.set(clock)
    try:
        yield clock
    finally:
        _simulated.reset(token)
