"""The live protocol, as docs/live.md describes it: one socket for everything that a member or a program watches."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from bots import live_rights
from bots.live_hub import hub, look, refusal_of
from bots.live_rights import ORGANIZATION, UNAUTHENTICATED, Identity, Refusal
from bots.live_watchers import Subscription, Watcher

log = logging.getLogger(__name__)

PROTOCOL = 1
SUBSCRIPTIONS = 100
"""Topics of one connection."""
LARGEST = 16 * 1024
"""Characters of a message from a client."""
LONGEST = 300
"""Seconds that `since` may go back."""
SECONDS_TO_AUTHENTICATE = 10.0
CLOSING = 1.0
"""Seconds in which a client may take the reason why it is closed."""
AT_ONCE, PER_SECOND = 200, 20
"""Messages that are heard at once; more are heard at this rate, and wait meanwhile."""

TOO_LARGE = Refusal("too_large", f"Send at most {LARGEST} characters in one message.", close=1009)
LATE = Refusal(
    "unauthenticated", f"Authenticate within {SECONDS_TO_AUTHENTICATE:.0f} seconds of connecting.", close=4401
)
Message = dict[str, Any]


class Wrong(Exception):
    """A message that is answered by an error; the connection goes on."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class TooLarge(Exception):
    """A message that no client needs to send."""


class LiveConsumer(AsyncWebsocketConsumer):
    """One connection. Its events come from the process's one reader (`bots.live_hub`), so there is no channel layer."""

    _whole: asyncio.Task[Any] | None = None
    _sender: asyncio.Task[None] | None = None
    _closing: asyncio.Task[None] | None = None
    _deadline: asyncio.TimerHandle | None = None
    _watcher: Watcher | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._whole = asyncio.current_task()
        self._credit, self._credited_at = float(AT_ONCE), time.monotonic()
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            if self._closing is None:  # else it was us, letting go of a client that takes nothing
                raise
        finally:
            self._let_go()

    async def connect(self) -> None:
        await self.accept()
        found = await self._identify()
        if isinstance(found, Refusal):
            self._end(found)
            return
        if found is None or await self._admit(found):
            await self._say({"type": "hello", "protocol": PROTOCOL, "authenticated": found is not None})
        if found is None:
            self._deadline = asyncio.get_running_loop().call_later(SECONDS_TO_AUTHENTICATE, self._end, LATE)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._closing is not None:
            return
        await self._wait_for_credit()
        message: Message = {}
        try:
            message = _read(text_data)
            await self._hear(message)
        except Wrong as wrong:
            await self._answer({"type": "error", "code": wrong.code, "detail": str(wrong)}, message)
        except TooLarge:
            self._end(TOO_LARGE)

    async def _hear(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "authenticate":
            await self._authenticate(message)
        elif kind == "ping":
            sequences = self._watcher.sequences() if self._watcher else {}
            await self._answer({"type": "pong", "sequences": sequences}, message)
        elif kind not in ("subscribe", "unsubscribe"):
            raise Wrong("unknown_type", "Send authenticate, subscribe, unsubscribe or ping.")
        elif self._watcher is None:
            raise Wrong(UNAUTHENTICATED.code, UNAUTHENTICATED.detail)
        elif kind == "subscribe":
            await self._subscribe(self._watcher, message)
        else:
            name = _text(message, "topic")
            topic = self._topic(self._watcher, name)
            if topic not in self._watcher.subscriptions:
                raise Wrong("not_subscribed", "This connection is not subscribed to that topic.")
            hub().unsubscribe(self._watcher, topic)
            await self._answer({"type": "unsubscribed", "topic": name}, message)

    async def _authenticate(self, message: Message) -> None:
        if self._watcher is not None:
            raise Wrong(
                "already_authenticated", "This connection is authenticated: open another one for another token."
            )
        slug = self.scope["url_route"]["kwargs"]["slug"]
        found = await database_sync_to_async(live_rights.by_token)(_text(message, "token"), slug)
        if isinstance(found, Refusal):
            self._end(found)
        elif await self._admit(found):
            await self._answer({"type": "authenticated"}, message)

    async def _subscribe(self, watcher: Watcher, message: Message) -> None:
        after, since = message.get("after"), message.get("since")
        if after is not None and not (isinstance(after, str) and after.isascii() and len(after) <= 100):
            raise Wrong("malformed", "`after` is a sequence as this server sent it, or null.")
        if since is not None and (after is not None or type(since) not in (int, float) or not 0 <= since <= LONGEST):
            raise Wrong("malformed", f"`since` is a number of seconds up to {LONGEST}, in place of `after`.")
        name = _text(message, "topic")
        topic = self._topic(watcher, name)
        if topic in watcher.subscriptions:
            raise Wrong("already_subscribed", "This connection is subscribed to that topic.")
        if len(watcher.subscriptions) >= SUBSCRIPTIONS:
            raise Wrong("too_many_subscriptions", f"A connection subscribes to at most {SUBSCRIPTIONS} topics.")
        where = (watcher.identity.organization_id, topic)
        standings, there = await database_sync_to_async(look)({watcher.identity}, {where})
        standing = standings[watcher.identity]
        if isinstance(standing, Refusal):
            self._end(standing)
        elif refusal := refusal_of(standing, topic, where in there):
            raise Wrong(refusal.code, refusal.detail)
        elif self._closing is None:
            name = ORGANIZATION if name == ORGANIZATION else topic
            hub().subscribe(watcher, Subscription(topic, name, request=message.get("id"), after=after, since=since))

    def _topic(self, watcher: Watcher, name: str) -> str:
        """The stream that a client means; one that cannot exist where the name is none."""
        if name == ORGANIZATION:
            return f"{ORGANIZATION}:{watcher.identity.organization_id}"
        kind, _, pk = name.partition(":")
        try:
            return f"{kind}:{UUID(pk)}" if kind in live_rights.KINDS else ""
        except ValueError:
            return ""

    async def _identify(self) -> Identity | Refusal | None:
        """Who connects, by token or by session; None for nobody yet."""
        slug = self.scope["url_route"]["kwargs"]["slug"]
        for name, value in self.scope["headers"]:
            if name == b"authorization":
                scheme, _, secret = value.decode("latin-1").partition(" ")
                if scheme.lower() != "bearer":
                    return UNAUTHENTICATED
                return await database_sync_to_async(live_rights.by_token)(secret.strip(), slug)
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            return None
        return await database_sync_to_async(live_rights.by_session)(user, self.scope["session"].session_key, slug)

    async def _admit(self, identity: Identity) -> bool:
        """Let them in, if they may at all."""
        standings, _ = await database_sync_to_async(look)({identity}, set())
        standing = standings[identity]
        if isinstance(standing, Refusal):
            self._end(standing)
            return False
        if self._deadline is not None:
            self._deadline.cancel()
        if self._closing is not None:  # the time to authenticate has just run out
            return False
        self._watcher = Watcher(identity, standing, send=self._send_text, end=self._end)
        hub().join(self._watcher)
        self._sender = asyncio.create_task(self._send_on(self._watcher))
        return True

    async def _answer(self, answer: Message, message: Message) -> None:
        """Answer a message, with its id; in order with the events, where there are any."""
        if "id" in message:
            answer = {**answer, "id": message["id"]}
        if self._watcher is None:
            await self._say(answer)
        else:
            self._watcher.reply(answer, may_be_lost=answer["type"] == "pong")

    async def _say(self, message: Message) -> None:
        if self._closing is None:
            await self._send_text(json.dumps(message, separators=(",", ":")))

    async def _send_text(self, text: str) -> None:
        await self.send(text_data=text)

    async def _send_on(self, watcher: Watcher) -> None:
        try:
            await watcher.run()
        except OSError:
            pass  # the client is gone, which the consumer hears, too
        except Exception:
            log.exception("a live connection's events could not be sent")
            self._end(Refusal("failed", "Something went wrong here: connect again.", close=1011))

    async def _wait_for_credit(self) -> None:
        now = time.monotonic()
        self._credit = min(AT_ONCE, self._credit + (now - self._credited_at) * PER_SECOND) - 1
        self._credited_at = now
        if self._credit < 0:
            await asyncio.sleep(-self._credit / PER_SECOND)

    def _end(self, refusal: Refusal) -> None:
        """Close the connection; from here on it is given no event."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(refusal))
            self._stop()

    async def _close(self, refusal: Refusal) -> None:
        error = {"type": "error", "code": refusal.code, "detail": refusal.detail}
        try:
            async with asyncio.timeout(CLOSING):
                await self._send_text(json.dumps(error, separators=(",", ":")))
                await self.close(refusal.close, refusal.code)
        except OSError:  # it takes nothing (a TimeoutError is one), or is gone
            if self._whole is not None:
                self._whole.cancel()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._watcher is not None:
            hub().leave(self._watcher)
        if self._sender is not None and self._sender is not asyncio.current_task():
            self._sender.cancel()

    def _let_go(self) -> None:
        """The connection is over."""
        self._stop()
        if self._closing is not None:
            self._closing.cancel()


def _read(text: str | None) -> Message:
    if text is not None and len(text) > LARGEST:
        raise TooLarge
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Wrong("malformed", "Send one JSON object in a text frame.")
    request = message.get("id")
    if request is not None and not (isinstance(request, str | int) and len(str(request)) <= 100):
        raise Wrong("malformed", "`id` is a number or a text of at most 100 characters.")
    return message


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise Wrong("malformed", f"`{name}` is missing, or no such text.")
    return value
