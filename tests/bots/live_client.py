"""A client of the live protocol, over the whole application as uvicorn serves it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction

from accounts.models import User
from accounts.tenancy import tenant
from bots import live, live_hub
from bots.models import Bot
from kilroy_site.asgi import application
from tests.factories import client_of

PATIENCE = 20.0


class Socket:
    """The server's side of one websocket. While `reads` is not set, the client takes nothing, as one behind a slow
    line whose buffers are full.
    """

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        self.reads = asyncio.Event()
        self.reads.set()
        self.position: dict[str, str] = {}
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def connect(self) -> dict[str, Any]:
        self.task = asyncio.create_task(application(self.scope, self._to_server.get, self._take))
        await self._to_server.put({"type": "websocket.connect"})
        return await self.raw()

    async def _take(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        await self._from_server.put(message)
        if message["type"] == "websocket.close":
            await self._to_server.put({"type": "websocket.disconnect", "code": message.get("code", 1000)})

    async def raw(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._from_server.get(), PATIENCE)

    async def hear(self) -> dict[str, Any]:
        """The next message. A closed socket is {"close": code}."""
        message = await self.raw()
        if message["type"] == "websocket.close":
            return {"close": message["code"]}
        heard: dict[str, Any] = json.loads(message["text"])
        for event in heard.get("events", [heard] if "sequence" in heard else []):
            self.position[event["topic"]] = event["sequence"]
        return heard

    async def hear_data(self) -> list[dict[str, Any]]:
        """The next events, without what surrounds them."""
        heard = await self.hear()
        assert heard["type"] == "events", heard
        return [event["data"] for event in heard["events"]]

    async def say(self, message: Any) -> None:
        await self.say_text(json.dumps(message))

    async def say_text(self, text: str) -> None:
        await self._to_server.put({"type": "websocket.receive", "text": text})

    async def say_bytes(self, content: bytes) -> None:
        await self._to_server.put({"type": "websocket.receive", "bytes": content})

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        await self.say(message)
        return await self.hear()

    async def subscribe(self, topic: str, after: str | None = None) -> dict[str, Any]:
        return await self.ask({"type": "subscribe", "id": 7, "topic": topic, "after": after})

    async def leave(self) -> None:
        await self._to_server.put({"type": "websocket.disconnect", "code": 1005})
        if self.task is not None:
            await asyncio.wait_for(self.task, PATIENCE)


@dataclass
class Who:
    """How somebody comes: by a session, a token in the header, or by nothing."""

    user: User | None = None
    token: str = ""
    origin: bytes | None = b"http://localhost"

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"host", b"localhost")]
        if self.origin is not None:
            headers.append((b"origin", self.origin))
        if self.user is not None:
            cookie = client_of(self.user).cookies[settings.SESSION_COOKIE_NAME].value
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
        if self.token:
            headers.append((b"authorization", f"Bearer {self.token}".encode()))
        return headers


@asynccontextmanager
async def socket_of(who: Who, slug: str = "acme") -> AsyncIterator[Socket]:
    """A socket that is open, or was refused; tidied up in the end."""
    socket = Socket(f"/ws/o/{slug}/", await sync_to_async(who.headers)())
    answer = await socket.connect()
    assert answer["type"] == "websocket.accept", answer
    try:
        yield socket
    finally:
        socket.reads.set()
        await socket.leave()
        await asyncio.wrap_future(live_hub.hub()._thread.submit(connections.close_all))
        await sync_to_async(connections.close_all)()  # of the thread that asgiref keeps for synchronous code


@asynccontextmanager
async def watching(user: User, topic: str, after: str | None = None) -> AsyncIterator[Socket]:
    """A member's socket that is subscribed to one topic."""
    async with socket_of(Who(user)) as socket:
        assert await socket.hear() == {"type": "hello", "protocol": 1, "authenticated": True}
        assert (await socket.subscribe(topic, after))["type"] == "subscribed"
        yield socket


def tell(bot: Bot, *messages: dict[str, Any]) -> None:
    """As a service does it; returns once it is written."""
    with tenant(bot.organization_id), transaction.atomic():
        for message in messages:
            live.tell(bot.pk, message)
    live.flush()


def post(number: int) -> dict[str, Any]:
    return {"type": "post", "post": str(number), "state": "published"}


async def heard(socket: Socket, last: int) -> list[int]:
    """The numbers of the posts that a socket hears of, until the last one."""
    numbers: list[int] = []
    while not numbers or numbers[-1] != last:
        numbers += [int(data["post"]) for data in await socket.hear_data()]
    return numbers


async def caught_up(socket: Socket) -> dict[str, Any]:
    """The next catch-up; events before it are of no interest."""
    while (message := await socket.hear())["type"] != "catch_up":
        assert message["type"] == "events"
    return message
