"""The websocket of a bot's page: news of its posts, runs and metrics, to members who may see the bot."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from accounts.access import membership_in
from accounts.models import User
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot

RECHECK_SECONDS = 5.0
"""How soon somebody who lost the right to watch is cut off."""
FORBIDDEN = 4403


class BotConsumer(AsyncJsonWebsocketConsumer):
    """One watcher of one bot. The right to watch is asked when connecting and again every few seconds."""

    bot_id: str
    _watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        self.bot_id = str(self.scope["url_route"]["kwargs"]["bot_id"])
        if not await self._may_watch():
            await self.close(FORBIDDEN)
            return
        await self.channel_layer.group_add(live.group(self.bot_id), self.channel_name)
        await self.accept()
        self._watch = asyncio.create_task(self._recheck())

    async def disconnect(self, code: int) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await self.channel_layer.group_discard(live.group(self.bot_id), self.channel_name)

    async def bot_news(self, event: dict[str, Any]) -> None:
        await self.send_json(event["message"])

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await self._may_watch():
                await self.close(FORBIDDEN)
                return

    @database_sync_to_async
    def _may_watch(self) -> bool:
        user = self.scope.get("user")
        if not isinstance(user, User):  # anonymous
            return False
        membership = membership_in(user, self.scope["url_route"]["kwargs"]["slug"])
        if membership is None or not membership.allows("bot_view"):
            return False
        with tenant(membership.organization_id):
            return Bot.objects.filter(pk=self.bot_id).exists()
