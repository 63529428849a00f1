"""Texts on their way from the training worker to whoever reads them as they are drawn: a Redis stream per request.

The row is the truth, and what stands here may be lost or come twice: each piece says where in its text it begins, and
the last event is read from the row.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.utils.encoders import JSONEncoder

from accounts.tenancy import tenant
from training.models import Generation

log = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows proxies and readers that the stream lives."""
LOOK = 5.0
"""Seconds after which the row is asked, should its news be lost."""
LONGEST = 600.0
"""Seconds after which a stream ends, whether its texts are there or not."""
KEPT = 900
"""Seconds for which Redis keeps what belongs to a stream."""
ENDED = "ended"


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, decode_responses=True)


def _watch_key(generation_id: UUID | str) -> str:
    return f"kilroy:generation:{generation_id}:watched"


def _stream_key(generation_id: UUID | str) -> str:
    return f"kilroy:generation:{generation_id}:texts"


def watch(generation_id: UUID | str) -> None:
    """Ask the worker to send this request's texts while it draws them."""
    _redis().set(_watch_key(generation_id), "1", ex=KEPT)


def watched(generation_ids: Iterable[str]) -> set[str]:
    """Those of the requests that somebody reads; none while Redis is down."""
    asked = list(generation_ids)
    try:
        found = _redis().mget([_watch_key(each) for each in asked]) if asked else []
    except redis.RedisError as error:
        log.warning("nobody can be asked what is read: %s", error)
        return set()
    return {each for each, value in zip(asked, found, strict=True) if value}


def send(generation_id: str, before: Sequence[str], texts: Sequence[str]) -> None:
    """Send what is new in a request's texts since they were `before`."""
    news = []
    for index, text in enumerate(texts):
        at = _shared(before[index] if index < len(before) else "", text)
        if text[at:]:
            news.append({"index": index, "at": at, "text": text[at:]})
    if news:
        _add(generation_id, {"texts": json.dumps(news)})


def end(generation_id: UUID | str) -> None:
    """Say that the request's row holds its answer, if somebody waits for it."""
    if watched([str(generation_id)]):
        _add(str(generation_id), {ENDED: "1"})


def _add(generation_id: str, fields: dict[str, str]) -> None:
    key = _stream_key(generation_id)
    try:
        with _redis().pipeline(transaction=False) as steps:
            steps.xadd(key, fields)  # type: ignore[arg-type]
            steps.expire(key, KEPT)
            steps.execute()
    except redis.RedisError as error:
        log.warning("texts of %s were not sent on: %s", generation_id, error)


def _shared(before: str, after: str) -> int:
    """Characters that both begin with: a tokenizer may take back what it has shown."""
    if after.startswith(before):
        return len(before)
    pairs = zip(before, after, strict=False)
    return next((at for at, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after)))


def response(generation: Generation, shown: Callable[[Generation], dict[str, Any]]) -> StreamingHttpResponse:
    """The answer that sends a request's texts as they are drawn; see `events`."""
    watch(generation.pk)
    found = events(generation.pk, generation.organization_id, shown)
    answer = StreamingHttpResponse(found, content_type="text/event-stream")
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"  # a proxy that collects would show nothing until the end
    return answer


async def events(
    generation_id: UUID, organization_id: UUID, shown: Callable[[Generation], dict[str, Any]]
) -> AsyncIterator[bytes]:
    """The server-sent events of one request: `text` for each new piece, and at last `done` with the row as `shown`
    shows it. Ends after `LONGEST` seconds in any case.
    """
    begun = spoke = time.monotonic()
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    read = sync_to_async(_row)
    last, ended = "0", False
    try:
        row = await read(generation_id, organization_id)
        yield b": texts follow\n\n"
        while not ended and time.monotonic() - begun < LONGEST:
            answered = row.state != Generation.State.QUEUED
            found = await _next(client, generation_id, last, None if answered else LOOK)
            for place, fields in found:
                last, ended = place, ENDED in fields
                for piece in json.loads(fields.get("texts", "[]")):
                    yield _event("text", piece)
                    spoke = time.monotonic()
            if answered and not found:
                break
            if ended or not found:
                row = await read(generation_id, organization_id)
            if time.monotonic() - spoke >= HEARTBEAT:
                yield b": still here\n\n"
                spoke = time.monotonic()
        yield _event("done", shown(row))
    finally:
        await client.aclose()


async def _next(client: Any, generation_id: UUID, last: str, wait: float | None) -> list[tuple[str, dict[str, str]]]:
    """The entries after `last`; when there are none, those that come within `wait` seconds."""
    try:
        block = None if wait is None else max(1, int(wait * 1000))
        found = await client.xread({_stream_key(generation_id): last}, block=block)
    except redis.RedisError as error:
        log.warning("texts of %s cannot be read: %s", generation_id, error)
        await asyncio.sleep(wait or 0)
        return []
    return list(found[0][1]) if found else []


def _row(generation_id: UUID, organization_id: UUID) -> Generation:
    """The row as it is now. Gives the connection to the database back: a stream lives long, and needs it seldom."""
    with tenant(organization_id):
        row: Generation = Generation.objects.get(pk=generation_id)
    if not connection.in_atomic_block:
        connection.close()
    return row


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, cls=JSONEncoder)}\n\n".encode()
