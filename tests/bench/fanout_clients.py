"""Websocket clients of the fan-out benchmark, many in one process: `port slug topic token count`.

Prints "ready" once all are subscribed, and when its standard input ends one JSON object: how many events came with
which delay in milliseconds, how often a client was told to catch up, how many came out of order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

AT_A_TIME = 10


class Tally:
    """What all clients of this process heard."""

    def __init__(self) -> None:
        self.delays: Counter[int] = Counter()
        self.caught_up = 0
        self.out_of_order = 0

    async def listen(self, socket: ClientConnection) -> None:
        last = -1
        async for frame in socket:
            now = time.monotonic()
            message: dict[str, Any] = json.loads(frame)
            self.caught_up += message["type"] == "catch_up"
            for event in message.get("events", []):
                self.delays[round((now - event["data"]["at"]) * 1000)] += 1
                self.out_of_order += event["data"]["number"] != last + 1
                last = event["data"]["number"]


async def subscribed(address: str, token: str, topic: str, gate: asyncio.Semaphore) -> ClientConnection:
    async with gate:
        headers = {"Authorization": f"Bearer {token}"}
        socket = await connect(address, additional_headers=headers, open_timeout=60, proxy=None)
        assert json.loads(await socket.recv())["type"] == "hello"
        await socket.send(json.dumps({"type": "subscribe", "topic": topic}))
        assert json.loads(await socket.recv())["type"] == "subscribed"
        return socket


async def main(port: str, slug: str, topic: str, token: str, count: str) -> None:
    address, gate, tally = f"ws://127.0.0.1:{port}/ws/o/{slug}/", asyncio.Semaphore(AT_A_TIME), Tally()
    sockets = await asyncio.gather(*(subscribed(address, token, topic, gate) for _ in range(int(count))))
    listening = [asyncio.create_task(tally.listen(socket)) for socket in sockets]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in listening:
        task.cancel()
    delays = {str(delay): times for delay, times in tally.delays.items()}
    print(json.dumps({"delays": delays, "caught_up": tally.caught_up, "out_of_order": tally.out_of_order}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
