"""Live news of a bot: to members who may see it, and to nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connections, transaction

from accounts.models import Membership, User
from accounts.tenancy import tenant
from bots import consumers, live
from bots.models import Bot
from kilroy_site.asgi import application
from tests.factories import World, client_of, make_bot, make_world

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20.0


class Socket(ApplicationCommunicator):  # type: ignore[misc]
    """The server's side of a websocket. (Channels' own one wants a web server that is not installed.)"""

    async def news(self) -> Any:
        message = await self.receive_output(PATIENCE)
        assert message["type"] == "websocket.send"
        return json.loads(message["text"])


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Bot:
    with tenant(committed.acme.pk):
        return make_bot()


@asynccontextmanager
async def watching(
    user: User | None, slug: str, bot_id: Any, origin: bytes = b"http://localhost"
) -> AsyncIterator[tuple[Socket, bool]]:
    """A browser's socket, through the whole application as uvicorn serves it, and whether it was let in."""
    headers = [(b"origin", origin), (b"host", b"localhost")]
    if user is not None:
        client = await sync_to_async(client_of)(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    path = f"/ws/o/{slug}/bots/{bot_id}/"
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
    socket = Socket(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    answer = await socket.receive_output(PATIENCE)
    try:
        yield socket, answer["type"] == "websocket.accept"
    finally:
        await socket.send_input({"type": "websocket.disconnect", "code": 1005})
        await socket.wait(PATIENCE)
        await sync_to_async(connections.close_all)()  # of the thread that asgiref keeps for synchronous code


def _tell(bot: Bot, message: dict[str, Any]) -> None:
    with transaction.atomic():
        live.tell(bot.pk, message)


async def test_members_hear_the_news(committed: World, bot: Bot) -> None:
    """The viewer too: looking is what viewers do."""
    for user in (committed.alice, committed.bob):
        async with watching(user, "acme", bot.pk) as (socket, connected):
            assert connected
            await sync_to_async(_tell)(bot, {"type": "post", "state": "published"})
            assert await socket.news() == {"type": "post", "state": "published"}


async def test_a_watcher_hears_only_of_its_bot(committed: World, bot: Bot) -> None:
    def another() -> Bot:
        with tenant(committed.acme.pk):
            return make_bot()

    other = await sync_to_async(another)()
    async with watching(committed.alice, "acme", bot.pk) as (socket, _):
        await sync_to_async(_tell)(other, {"of": "other"})
        await sync_to_async(_tell)(bot, {"of": "this"})
        assert await socket.news() == {"of": "this"}


STRANGERS: dict[str, Callable[[World, Bot], tuple[User | None, str, Any]]] = {
    "nobody": lambda world, bot: (None, "acme", bot.pk),
    "no member": lambda world, bot: (world.charlie, "acme", bot.pk),
    "a member of another organization by its own slug": lambda world, bot: (world.charlie, "globex", bot.pk),
    "a bot that does not exist": lambda world, bot: (world.alice, "acme", "00000000-0000-4000-8000-000000000000"),
    "an organization that does not exist": lambda world, bot: (world.alice, "no-such-place", bot.pk),
}


@pytest.mark.parametrize("who", list(STRANGERS))
async def test_strangers_are_turned_away(committed: World, bot: Bot, who: str) -> None:
    async with watching(*STRANGERS[who](committed, bot)) as (_, connected):
        assert not connected


async def test_a_page_of_another_site_is_turned_away(committed: World, bot: Bot) -> None:
    async with watching(committed.alice, "acme", bot.pk, origin=b"https://evil.example") as (_, connected):
        assert not connected


def _deactivate(world: World) -> None:
    User.objects.filter(pk=world.bob.pk).update(is_active=False)


def _remove(world: World) -> None:
    with tenant(world.acme.pk):
        Membership.objects.get(user=world.bob).delete()


@pytest.mark.parametrize("how", [_remove, _deactivate], ids=["removed", "deactivated"])
async def test_whoever_loses_the_right_to_watch_is_cut_off(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch, how: Callable[[World], None]
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.05)
    async with watching(committed.bob, "acme", bot.pk) as (socket, connected):
        assert connected
        await sync_to_async(how)(committed)
        closed = await socket.receive_output(PATIENCE)
        assert (closed["type"], closed["code"]) == ("websocket.close", consumers.FORBIDDEN)


async def test_members_stay_connected(committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """After several looks at the right to watch, news still come."""
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.01)
    looks, looked = [], asyncio.Event()
    ordinary = consumers.membership_in

    def counting(*arguments: Any) -> Any:
        looks.append(arguments)
        if len(looks) > 5:
            loop.call_soon_threadsafe(looked.set)
        return ordinary(*arguments)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(consumers, "membership_in", counting)
    async with watching(committed.bob, "acme", bot.pk) as (socket, _):
        await asyncio.wait_for(looked.wait(), PATIENCE)
        await sync_to_async(_tell)(bot, {"still": "here"})
        assert await socket.news() == {"still": "here"}


def test_news_of_a_transaction_that_failed_are_never_told(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(live, "_send", lambda *arguments: told.append(arguments))
    with transaction.atomic():
        live.tell(bot.pk, {"type": "post"})
        assert told == []
        transaction.set_rollback(True)
    assert told == []
    live.tell(bot.pk, {"type": "post"})
    assert told == [(str(bot.pk), {"type": "post"})]


def test_a_channel_layer_that_is_down_does_not_undo_the_work(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(live, "_send", down)
    with tenant(bot.organization_id), transaction.atomic():
        Bot.objects.update(name="Renamed")
        live.tell(bot.pk, {"type": "bot"})
    with tenant(bot.organization_id):
        assert Bot.objects.get().name == "Renamed"
