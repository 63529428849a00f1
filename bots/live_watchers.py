"""One client of the live protocol: what it subscribed to, and what waits to be sent to it, within bounds."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bots.live_rights import Identity, Refusal
from bots.live_streams import Position, State

WAITING = 2000
"""Messages that may wait for one client, and …"""
WAITING_BYTES = 1024 * 1024
"""… how long they may be together. One more, and the client loses what waits and is told to catch up."""
REPLIES = 200
"""Replies among them. A client that asks on without reading is let go."""
FRAME_BYTES = 128 * 1024
STUCK = 30.0
"""Seconds that one frame may take to be sent."""

NOWHERE = Position(0, 0)
DEAF = Refusal("too_slow", "This connection takes nothing: connect again and go on from the last sequence.", close=4408)


@dataclass(eq=False)
class Subscription:
    """One topic of one client. `topic` is the stream, `name` what the client calls it; it begins after the sequence
    `after`, or `since` so many seconds.

    Everything up to `position` was sent, waits to be sent, or is covered by a catch-up. While `behind`, events are
    left out: the catch-up that is to come covers them, too.
    """

    topic: str
    name: str
    request: Any = None
    after: str | None = None
    since: float | None = None
    position: Position = NOWHERE
    answered: bool = False
    behind: bool = False


@dataclass(frozen=True)
class Waiting:
    text: str
    is_event: bool = False
    may_be_lost: bool = False


@dataclass(eq=False)
class Watcher:
    """A connected client. `send` takes a text frame and returns once the client's side takes more; `end` closes the
    connection for a reason.
    """

    identity: Identity
    permissions: frozenset[str]
    send: Callable[[str], Awaitable[None]]
    end: Callable[[Refusal], None]
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    state: State | None = None
    size: int = 0
    sending_since: float | None = None
    _waiting: deque[Waiting] = field(default_factory=deque)
    _replies: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    def offer(self, subscription: Subscription, text: str) -> None:
        """An event for this client; without room for it, everything that waits makes way for catch-ups."""
        if subscription.behind:
            return
        if len(self._waiting) >= WAITING or self.size + len(text) > WAITING_BYTES:
            self.drop()
        else:
            self._append(Waiting(text, is_event=True, may_be_lost=True))

    def reply(self, message: dict[str, Any], *, may_be_lost: bool = False) -> None:
        """An answer to what the client asked. `may_be_lost`: along with events that make way."""
        if self._replies >= REPLIES:
            self.end(DEAF)
            return
        self._replies += 1
        self._append(Waiting(json.dumps(message, separators=(",", ":")), may_be_lost=may_be_lost))

    def fall_behind(self, subscription: Subscription) -> None:
        """Events of this topic are lost: the client is to catch up."""
        subscription.behind = True
        self._wake.set()

    def sequences(self) -> dict[str, str]:
        """How far each topic is once everything that waits now is sent."""
        if self.state is None:
            return {}
        subscriptions = [each for each in self.subscriptions.values() if each.answered and not each.behind]
        return {each.name: self.state.sequence(each.position) for each in subscriptions}

    def is_stuck(self) -> bool:
        return self.sending_since is not None and time.monotonic() - self.sending_since > STUCK

    async def run(self) -> None:
        """Send what waits, as it comes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while frame := self._next_frame():
                self.sending_since = time.monotonic()
                await self.send(frame)
                self.sending_since = None

    def _append(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)
        self.size += len(waiting.text)
        self._wake.set()

    def drop(self) -> None:
        """Give up the events that wait, for catch-ups."""
        self._waiting = deque(each for each in self._waiting if not each.may_be_lost)
        self.size = sum(len(each.text) for each in self._waiting)
        self._replies = len(self._waiting)
        for subscription in self.subscriptions.values():
            self.fall_behind(subscription)

    def _pop(self) -> Waiting:
        waiting = self._waiting.popleft()
        self.size -= len(waiting.text)
        self._replies -= not waiting.is_event
        return waiting

    def _next_frame(self) -> str:
        """The next reply, or the events up to it in one frame; then catch-ups; "" when there is nothing."""
        if not self._waiting:
            return self._catch_up()
        if not self._waiting[0].is_event:
            return self._pop().text
        events, size = [], 0
        while self._waiting and self._waiting[0].is_event and size < FRAME_BYTES:
            events.append(self._pop().text)
            size += len(events[-1])
        return f'{{"type":"events","events":[{",".join(events)}]}}'

    def _catch_up(self) -> str:
        for each in self.subscriptions.values():
            if each.behind and each.answered and self.state is not None:
                each.behind = False
                sequence = self.state.sequence(each.position)
                return json.dumps({"type": "catch_up", "topic": each.name, "sequence": sequence})
        return ""
