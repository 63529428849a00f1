"""The one reader of a process: takes what is new from Redis for all topics that somebody here watches, ten times a
second, and hands it to their clients; and asks every few seconds whether they still may watch.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import redis.asyncio
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connections
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bots import live_rights
from bots.live import PERMISSIONS
from bots.live_rights import FORBIDDEN, NOT_FOUND, Identity, Refusal
from bots.live_streams import (
    KEPT_MS,
    READ_STATE,
    STATE,
    Entry,
    Position,
    State,
    complete,
    entries_of,
    state_of,
    stream,
)
from bots.live_watchers import DEAF, WAITING, Subscription, Watcher

log = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two readings: what comes between goes to a client in one frame."""
RECHECK_SECONDS = 3.0
"""Between two looks at everybody's rights; whoever lost the right to watch is cut off within five seconds."""
PAUSE = 1.0
"""Seconds between two tries while Redis or the database does not answer."""
TIMEOUT = 5.0
AT_ONCE = 500
"""Events of a topic in one reading."""


class Topic:
    """A stream that is read for somebody. Everything up to `position` was handed out."""

    def __init__(self, name: str, position: Position) -> None:
        self.name = name
        self.position = position
        self.watching: dict[Watcher, Subscription] = {}


class Hub:
    """Everybody who is connected to this process. It works while there is anybody."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self._topics: dict[str, Topic] = {}
        self._asked: list[tuple[Watcher, Subscription]] = []
        self._state: State | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # A thread of its own: those who connect queue for the common one, and rights must not wait for them.
        self._thread = ThreadPoolExecutor(1, "live-rights")

    def join(self, watcher: Watcher) -> None:
        self.watchers.add(watcher)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._read_on()), asyncio.create_task(self._guard())]

    def leave(self, watcher: Watcher) -> None:
        """From now on the client is given nothing."""
        self.watchers.discard(watcher)
        for topic in list(watcher.subscriptions):
            self.unsubscribe(watcher, topic)
        if not self.watchers:
            for task in self._tasks:
                task.cancel()
            self._tasks, self._state = [], None
            self._thread.submit(connections.close_all)

    def subscribe(self, watcher: Watcher, subscription: Subscription) -> None:
        """Begin; the reader answers with `subscribed` at its next reading, in order with the events."""
        watcher.subscriptions[subscription.topic] = subscription
        self._asked.append((watcher, subscription))

    def unsubscribe(self, watcher: Watcher, name: str) -> None:
        watcher.subscriptions.pop(name, None)
        self._asked = [(who, what) for who, what in self._asked if (who, what.topic) != (watcher, name)]
        if topic := self._topics.get(name):
            topic.watching.pop(watcher, None)
            if not topic.watching:
                del self._topics[name]

    async def _read_on(self) -> None:
        client = redis.asyncio.Redis.from_url(
            settings.LIVE_REDIS_URL, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        try:
            while self._goes_on():
                try:
                    await self._read(client)
                except Exception as error:  # whatever a Redis in trouble raises: everybody waits for this reader
                    log.warning("live events cannot be read: %s", error, exc_info=not isinstance(error, RedisError))
                    await asyncio.sleep(PAUSE)
                self._let_go_of_the_stuck()
                await asyncio.sleep(TICK)
        finally:
            await client.aclose()

    def _goes_on(self) -> bool:
        """Whether this task is still the hub's. Its cancelling alone does not say so: a client library that is waiting
        for an answer may take that for an error of its own.
        """
        return asyncio.current_task() in self._tasks

    async def _read(self, client: Any) -> None:
        """One reading: what is new on every topic, and what new subscriptions ask for, at one moment of Redis."""
        topics, asked = list(self._topics.values()), self._ready()
        async with client.pipeline(transaction=True) as pipe:
            pipe.eval(READ_STATE, 1, STATE)
            for _, subscription in asked:
                key = stream(subscription.topic)
                after = (subscription.after or "").partition(".")[2]
                pipe.exists(key)
                pipe.xrange(key, f"({after}" if _is_id(after) else "+", "+", count=WAITING + 1)
            if topics:
                pipe.xread({stream(topic.name): str(topic.position) for topic in topics}, count=AT_ONCE)
            answers = await pipe.execute()
        state = state_of(answers[0])
        if topics:
            self._hand_out(state, topics, answers[-1])
        for (watcher, subscription), exists, entries in zip(
            asked, answers[1 : 1 + 2 * len(asked) : 2], answers[2 : 2 + 2 * len(asked) : 2], strict=True
        ):
            if watcher.subscriptions.get(subscription.topic) is subscription:  # still wanted
                self._answer(state, watcher, subscription, bool(exists), entries_of(entries))
        self._asked = [each for each in self._asked if each not in asked]
        self._state = state
        for watcher in self.watchers:
            watcher.state = state

    def _ready(self) -> list[tuple[Watcher, Subscription]]:
        """Whose subscriptions can be answered. One that begins some seconds ago needs to know Redis' clock first."""
        for _, subscription in self._asked:
            if subscription.since is not None and self._state is not None:
                subscription.after, subscription.since = self._state.before(subscription.since), None
        return [each for each in self._asked if each[1].since is None]

    def _hand_out(self, state: State, topics: Sequence[Topic], answer: Any) -> None:
        before = self._state or state
        lost = before.epoch != state.epoch or state.now - before.now > KEPT_MS
        found = {} if lost else {key.decode(): entries_of(entries) for key, entries in _streams(answer)}
        for topic in topics:
            entries = found.get(stream(topic.name), [])
            if lost or (entries and not complete(state, topic.position, entries, exists=True, seen=before.now)):
                for watcher, subscription in topic.watching.items():
                    watcher.fall_behind(subscription)
            for entry in entries:
                self._deliver(state, topic, entry)
            topic.position = entries[-1].position if entries else max(topic.position, state.last)
            if lost:
                topic.position = state.last
            for subscription in topic.watching.values():
                subscription.position = topic.position if lost else max(subscription.position, topic.position)

    def _deliver(self, state: State, topic: Topic, entry: Entry) -> None:
        """Give one event to all who watch its topic; it is made into JSON once."""
        text = ""
        for watcher, subscription in topic.watching.items():
            if entry.position > subscription.position:
                text = text or _event(state, subscription.name, entry)
                _give(watcher, subscription, entry, text)

    def _answer(
        self, state: State, watcher: Watcher, subscription: Subscription, exists: bool, entries: list[Entry]
    ) -> None:
        """Begin a subscription: with what was missed since `after`, or with a catch-up where that is not known."""
        topic = self._topics.setdefault(subscription.topic, Topic(subscription.topic, state.last))
        topic.watching[watcher] = subscription
        after = state.position(subscription.after) if subscription.after is not None else None
        resumed = after is not None and len(entries) <= WAITING and complete(state, after, entries, exists=exists)
        start = after if resumed and after is not None else state.last
        message = {"type": "subscribed", "id": subscription.request, "topic": subscription.name}
        watcher.reply({**message, "sequence": state.sequence(start)})
        subscription.answered, subscription.position = True, start
        if resumed:
            for entry in entries:
                _give(watcher, subscription, entry, _event(state, subscription.name, entry))
            subscription.position = state.last
        elif subscription.after is not None:
            watcher.fall_behind(subscription)

    def _let_go_of_the_stuck(self) -> None:
        for watcher in [watcher for watcher in self.watchers if watcher.is_stuck()]:
            watcher.end(DEAF)

    async def _guard(self) -> None:
        while self._goes_on():
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._check()
            except Exception:  # whatever a database that is down raises: ask again
                log.warning("the rights of those who watch could not be asked", exc_info=True)
                await asyncio.sleep(PAUSE)

    async def _check(self) -> None:
        """End what is not allowed any more: connections and single subscriptions."""
        watchers = list(self.watchers)
        wanted = {(each.identity.organization_id, topic) for each in watchers for topic in each.subscriptions}
        ask = database_sync_to_async(look, thread_sensitive=False, executor=self._thread)
        standings, there = await ask({each.identity for each in watchers}, wanted)
        for watcher in watchers:
            standing = standings[watcher.identity]
            if isinstance(standing, Refusal):
                watcher.end(standing)
                continue
            if not watcher.permissions <= standing:
                watcher.drop()  # what waits may be what must not be seen any more
            watcher.permissions = standing
            for name, subscription in list(watcher.subscriptions.items()):
                where = (watcher.identity.organization_id, name)
                refusal = refusal_of(standing, name, where in there)
                if refusal and where in wanted:
                    self.unsubscribe(watcher, name)
                    watcher.drop()
                    reason = {"code": refusal.code, "detail": refusal.detail}
                    watcher.reply({"type": "closed", "topic": subscription.name, **reason})


def look(
    identities: set[Identity], topics: set[tuple[UUID, str]]
) -> tuple[dict[Identity, frozenset[str] | Refusal], set[tuple[UUID, str]]]:
    """What each may do, and which of the (organization, topic) are there."""
    return live_rights.standings(identities), live_rights.existing(topics)


def refusal_of(permissions: frozenset[str], topic: str, is_there: bool) -> Refusal | None:
    """Why a topic may not be watched, if so. Whoever lacks the permission learns nothing of what is there."""
    permission = live_rights.permission_of(topic)
    if permission is None:
        return NOT_FOUND
    if permission not in permissions:
        return FORBIDDEN
    return None if is_there else NOT_FOUND


def _give(watcher: Watcher, subscription: Subscription, entry: Entry, text: str) -> None:
    subscription.position = entry.position
    if entry.is_gap:
        watcher.fall_behind(subscription)
    elif PERMISSIONS.get(entry.kind) in watcher.permissions:
        watcher.offer(subscription, text)


def _event(state: State, name: str, entry: Entry) -> str:
    sequence = state.sequence(entry.position)
    return f'{{"topic":{json.dumps(name)},"sequence":"{sequence}","data":{entry.text}}}'


def _streams(answer: Any) -> Any:
    """XREAD's answer as pairs, in either version of Redis' protocol."""
    if isinstance(answer, dict):
        return [(key, [entry for part in parts for entry in part]) for key, parts in answer.items()]
    return answer or []


def _is_id(text: str) -> bool:
    try:
        Position.parse(text)
    except ValueError:
        return False
    return True


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
