"""Which requests a worker has begun and never ended: what kills its process must not be tried for ever.

Counted in Redis, for each machine: it has one training worker, so what its last one left behind was begun by a process
that is no more. While Redis is down nothing is counted, and no bell rings either.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from functools import cache
from typing import Any

import redis
from django.conf import settings

log = logging.getLogger(__name__)

KEPT = 24 * 3600
"""Seconds for which a count is kept."""


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, decode_responses=True)


def _key(request: str) -> str:
    return f"kilroy:generation:{request}:begun:{socket.gethostname()}"


def of(requests: Sequence[str]) -> dict[str, int]:
    """For each request how many workers of this machine began it and died."""
    found: Sequence[Any] = [None] * len(requests)
    try:
        if requests:
            found = _redis().mget(list(map(_key, requests)))
    except redis.RedisError as error:
        log.warning("nobody knows with which requests a worker died: %s", error)
    return {request: int(count or 0) for request, count in zip(requests, found, strict=True)}


def begun(request: str) -> None:
    """Note that work on a request begins."""
    try:
        with _redis().pipeline(transaction=False) as steps:
            steps.incr(_key(request))
            steps.expire(_key(request), KEPT)
            steps.execute()
    except redis.RedisError as error:
        log.warning("the beginning of request %s was not noted: %s", request, error)


def ended(requests: Sequence[str]) -> None:
    """Forget these: however it came out, the process lives."""
    try:
        if requests:
            _redis().delete(*map(_key, requests))
    except redis.RedisError as error:
        log.warning("the end of %d requests was not noted: %s", len(requests), error)
