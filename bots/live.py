"""What is happening, told to whoever is watching a bot: one group per bot on the channel layer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction


def group(bot_id: UUID | str) -> str:
    return f"bot.{bot_id}"


def tell(bot_id: UUID | str, message: dict[str, Any]) -> None:
    """Send a JSON-able message to the bot's watchers after commit. Live news may be lost; pages read the rows when
    they load.
    """
    transaction.on_commit(lambda: _send(str(bot_id), message), robust=True)


def _send(bot_id: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(group(bot_id), {"type": "bot.news", "message": message})
