"""How often one may ask: counters in Redis of what each caller and each organization asked within a minute.

A window opens with its first request and closes a minute later. One script counts a request against every limit that
it falls under, or against none when one of them is used up, so that the counters are right whatever number of
processes counts, and a caller who is refused takes nothing from the rest of the organization. Limits keep the machine
usable; they guard nothing. So when Redis does not answer, requests pass and a line is logged.

The headers follow draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import redis
from django.conf import settings
from django.http import HttpResponseBase

from accounts import clock
from accounts.problems import Problem

WINDOW = 60
"""Seconds."""
PATIENCE = 0.5
"""Seconds to wait for Redis before a request passes uncounted."""
logger = logging.getLogger(__name__)

_COUNT = """
local refused, answer = 0, {}
for i, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[i + 1]) then refused = 1 end
end
for i, key in ipairs(KEYS) do
    if refused == 0 and redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[1]) end
    answer[#answer + 1] = tonumber(redis.call('GET', key) or '0')
    answer[#answer + 1] = redis.call('TTL', key)
end
answer[#answer + 1] = refused
return answer
"""
"""KEYS: counters; ARGV: the window, then each counter's limit. → count and seconds left of each, then 1 if refused."""


@dataclass(frozen=True)
class Limit:
    """A limit of the settings, on one caller's or organization's requests."""

    name: str
    whose: str

    @property
    def most(self) -> int:
        most: int = settings.API_LIMITS[self.name]
        return most


@dataclass(frozen=True)
class Used:
    """A limit after a request was counted: how many are left in this window, and for how many seconds it goes on."""

    limit: Limit
    left: int
    seconds: int


class Throttled(Problem):
    status_code = 429
    kind, title = "throttled", "Too many requests"
    meaning = (
        "A token, a person or an organization asked more often than the limits in `RateLimit-Policy` allow. "
        "Wait for the seconds that `Retry-After` gives; `RateLimit` on every answer says how much is left."
    )

    def __init__(self, used: Sequence[Used]) -> None:
        full = [each for each in used if not each.left]
        wait = max(1, *(each.seconds for each in full))
        again = clock.now() + timedelta(seconds=wait)
        names = [each.limit.name for each in full]
        words = " and ".join(f"{each.limit.most} a minute ({each.limit.name})" for each in full)
        super().__init__(
            f"Too many requests: {words} are allowed. Ask again in {wait} seconds, at {again:%H:%M:%S} UTC.",
            wait=wait,
            **{"retry_at": again.isoformat(timespec="seconds"), "violated-policies": names},
        )
        self.used = used


def count(*limits: Limit) -> list[Used]:
    """Count a request. [] when Redis does not answer. Raises Throttled, with what is `used`."""
    try:
        answer = _script()(
            keys=[f"api-limit:{limit.name}:{limit.whose}" for limit in limits],
            args=[WINDOW, *(limit.most for limit in limits)],
        )
    except redis.RedisError as error:
        logger.warning("Requests pass uncounted: Redis does not answer (%s).", type(error).__name__)
        return []
    *numbers, refused = answer
    used = [
        Used(limit, max(0, limit.most - number), max(seconds, 0))
        for limit, number, seconds in zip(limits, numbers[::2], numbers[1::2], strict=True)
    ]
    if refused:
        raise Throttled(used)
    return used


def tell(response: HttpResponseBase, used: Sequence[Used]) -> None:
    """Say the limits, and what is left of them, in the answer's headers."""
    response["RateLimit-Policy"] = ", ".join(
        f'"{name}";q={most};w={WINDOW}' for name, most in settings.API_LIMITS.items()
    )
    if used:
        response["RateLimit"] = ", ".join(f'"{each.limit.name}";r={each.left};t={each.seconds}' for each in used)


@cache
def _script() -> redis.commands.core.Script:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    return client.register_script(_COUNT)
