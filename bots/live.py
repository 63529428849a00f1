"""What is happening, told to whoever is watching a bot: one group per bot on the channel layer."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from functools import cache
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger(__name__)

SECONDS = 5.0
"""After which a message that Redis did not take is dropped."""


def group(bot_id: UUID | str) -> str:
    return f"bot.{bot_id}"


def tell(bot_id: UUID | str, message: dict[str, Any]) -> None:
    """Send a JSON-able message to the bot's watchers after commit. Live news may be lost; pages read the rows when
    they load.
    """
    transaction.on_commit(lambda: _send(str(bot_id), message), robust=True)


def _send(bot_id: str, message: dict[str, Any]) -> None:
    """Hand the message over and go on: whoever publishes posts must not wait for those who watch."""
    if get_channel_layer() is not None:
        asyncio.run_coroutine_threadsafe(_deliver(group(bot_id), message), _loop(os.getpid()))


async def _deliver(name: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    try:
        await asyncio.wait_for(layer.group_send(name, {"type": "bot.news", "message": message}), SECONDS)
    except Exception as error:  # whatever a broker that is down raises: news may be lost
        log.warning("news for %s were lost: %s", name, error)


@cache
def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """This process's event loop for news, in a thread of its own: one connection to Redis, however much is told. By
    pid, because a thread does not survive a fork.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"live-{pid}", daemon=True).start()
    return loop
