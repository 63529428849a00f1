"""What is happening, told to whoever watches: `tell` is for those who publish; docs/live.md is for those who watch.

Telling happens after commit, in a thread of its own, and never keeps the publisher waiting. What Redis does not take is
lost, but not unnoticed: its topics owe a gap, which is written as soon as Redis takes it and makes watchers read the
rows again.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.tenancy import active
from bots.live_streams import GAP, LARGEST, Event, write

log = logging.getLogger(__name__)

PERMISSIONS = {
    "bot": "bot_view",
    "post": "post_view",
    "reply": "post_view",
    "run": "run_view",
    "round": "run_view",
    "metrics": "run_view",
    "samples": "run_view",
    "run_event": "run_view",
    "dataset": "dataset_view",
    "version": "model_view",
    "canary": "model_view",
    "generation": "model_view",
}
"""What a watcher must be allowed to see to hear of it, by type of event. A new type says so here first."""
ONLY_CLOSE_BY = frozenset({"metrics", "samples", "generation"})
"""Types that the organization's topic leaves out: many, and of use to whoever looks at the bot or the run."""

SECONDS = 5.0
"""After which Redis is taken for unreachable."""
PAUSE = 1.0
"""Seconds between two tries while it is."""
LONGEST = 1000
"""Events that wait for Redis in one process; what is told beyond is lost."""
BATCH = 100


def tell(bot_id: UUID | str, message: dict[str, Any]) -> None:
    """Tell a JSON-able message (`type` is one of PERMISSIONS) to the watchers of the bot, of the run that it names as
    `run`, and of the active organization, after commit. Raises KeyError for an unknown type, NoTenant.
    """
    kind = message["type"]
    if kind not in PERMISSIONS:
        raise KeyError(f"{kind}: say in bots.live.PERMISSIONS who may hear of it.")
    topics = [f"bot:{bot_id}"]
    if "run" in message:
        topics.append(f"run:{message['run']}")
    if kind not in ONLY_CLOSE_BY:
        topics.append(f"organization:{active()}")
    event = Event(tuple(topics), kind, _text({"bot": str(bot_id), **message}))
    if settings.LIVE_REDIS_URL:
        transaction.on_commit(lambda: _send(event), robust=True)


def flush(seconds: float = 2.0) -> None:
    """Wait until what this process told is written, at most so long: for a process that is about to end."""
    if _outbox.cache_info().currsize:
        _own_outbox().flush(seconds)


def _text(message: dict[str, Any]) -> str:
    try:
        text = json.dumps(message, allow_nan=False, separators=(",", ":"))
    except ValueError as error:  # NaN: browsers do not read it
        log.error("an event of type %s cannot be told: %s", message["type"], error)
        return GAP
    return text if len(text) <= LARGEST else GAP


def _send(event: Event) -> None:
    _own_outbox().put(event)


class Outbox:
    """What one process tells, on its way to Redis in a thread."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._waiting: deque[Event] = deque()
        self._owed: set[str] = set()
        self._idle = True
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def put(self, event: Event) -> None:
        with self._changed:
            if len(self._waiting) < LONGEST:
                self._waiting.append(event)
            else:
                self._owed.update(event.topics)
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._idle and not (self._waiting or self._owed), seconds)

    def _run(self) -> None:
        while True:
            batch = self._take()
            try:
                self._write(batch)
            except Exception as error:  # whatever a Redis in trouble raises: this thread must go on
                # Perhaps some of it was written: the gap comes after that, which costs a reading and loses nothing.
                log.warning("events of %d topics were lost: %s", len(_topics(batch)), error)
                with self._changed:
                    self._owed |= _topics(batch)
                time.sleep(PAUSE)

    def _take(self) -> list[Event]:
        """What is to be written next, gaps first: they stand for what was before."""
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._owed)
            self._idle = False
            gaps = [Event((topic,), "", GAP) for topic in self._owed]
            self._owed = set()
            return gaps + [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _write(self, batch: list[Event]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for event in batch:
                write(pipe, event)
            pipe.execute()


def _topics(events: Iterable[Event]) -> set[str]:
    return {topic for event in events for topic in event.topics}


@cache
def _outbox(pid: int) -> Outbox:
    """This process's outbox. By pid, because a thread does not survive a fork."""
    outbox = Outbox(settings.LIVE_REDIS_URL)
    atexit.register(outbox.flush, 2.0)
    return outbox


_making = threading.Lock()


def _own_outbox() -> Outbox:
    with _making:  # else two threads that begin to tell at once make two, and order is lost between them
        return _outbox(os.getpid())
