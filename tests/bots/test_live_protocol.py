"""The live protocol: what a client is told, in which order, and that nothing is missed unnoticed."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from asgiref.sync import sync_to_async

from accounts.tenancy import tenant
from bots import consumers, live_hub, live_watchers
from bots.models import Bot
from tests.bots.live_client import PATIENCE, Who, caught_up, heard, post, socket_of, tell, watching
from tests.factories import World, make_bot, make_world

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Bot:
    with tenant(committed.acme.pk):
        return make_bot()


async def test_a_client_that_reads_too_slowly_loses_what_waits_and_catches_up(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_watchers, "WAITING", 50)
    topic = f"bot:{bot.pk}"
    async with watching(committed.alice, topic) as healthy, watching(committed.bob, topic) as slow:
        slow.reads.clear()
        for number in range(300):
            await sync_to_async(tell)(bot, post(number))
            if number % 20 == 0:
                await asyncio.sleep(live_hub.TICK)
                assert all(each.waiting <= 50 for each in live_hub.hub().watchers)
        assert await heard(healthy, 299) == list(range(300))
        slow.reads.set()
        message = await caught_up(slow)
        await sync_to_async(tell)(bot, post(300))
        assert await heard(slow, 300) == [300]
    async with watching(committed.bob, topic, after=message["sequence"]) as back:
        assert await heard(back, 300) == [300]


async def test_a_client_that_takes_nothing_is_let_go(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_watchers, "STUCK", 0.2)
    monkeypatch.setattr(consumers, "CLOSING", 0.05)
    async with watching(committed.bob, f"bot:{bot.pk}") as socket:
        socket.reads.clear()
        await sync_to_async(tell)(bot, post(1))
        assert socket.task is not None
        await asyncio.wait_for(asyncio.shield(socket.task), PATIENCE)
        assert live_hub.hub().watchers == set()


async def test_a_client_that_asks_without_reading_is_let_go(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_watchers, "REPLIES", 5)
    async with watching(committed.bob, f"bot:{bot.pk}") as socket:
        socket.reads.clear()
        for _ in range(20):
            await socket.say({"type": "nonsense"})
        while live_hub.hub().watchers:
            await asyncio.sleep(0.01)
        socket.reads.set()
        while "close" not in (message := await socket.hear()):
            assert message["type"] == "error"
        assert message == {"close": 4408}


MALFORMED = {
    "nothing": ("", "malformed"),
    "no JSON": ("{", "malformed"),
    "deep": ("[" * 10_000, "malformed"),
    "a list": ("[]", "malformed"),
    "null": ("null", "malformed"),
    "no type": ("{}", "unknown_type"),
    "another type": ('{"type":"events"}', "unknown_type"),
    "a type that is a list": ('{"type":["subscribe"]}', "unknown_type"),
    "no topic": ('{"type":"subscribe"}', "malformed"),
    "a topic that is none": ('{"type":"subscribe","topic":{}}', "malformed"),
    "half a character": ('{"type":"subscribe","topic":"\\ud800"}', "malformed"),
    "after is a number": ('{"type":"subscribe","topic":"organization","after":1}', "malformed"),
    "since forever": ('{"type":"subscribe","topic":"organization","since":1e400}', "malformed"),
    "since is no number": ('{"type":"subscribe","topic":"organization","since":true}', "malformed"),
    "since NaN": ('{"type":"subscribe","topic":"organization","since":NaN}', "malformed"),
    "since and after": ('{"type":"subscribe","topic":"organization","since":1,"after":"x"}', "malformed"),
    "after is half a character": ('{"type":"subscribe","topic":"organization","after":"\\ud800"}', "malformed"),
    "an id that is a list": ('{"type":"ping","id":[]}', "malformed"),
    "a long id": (json.dumps({"type": "ping", "id": "x" * 101}), "malformed"),
    "a huge id": ('{"type":"ping","id":' + "9" * 5000 + "}", "malformed"),
    "not subscribed": ('{"type":"unsubscribe","topic":"organization"}', "not_subscribed"),
    "a second name": ('{"type":"authenticate","token":"klr_x"}', "already_authenticated"),
}


async def test_malformed_messages_are_answered_and_the_connection_goes_on(committed: World) -> None:
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        found = {}
        for name, (text, _) in MALFORMED.items():
            await socket.say_text(text)
            found[name] = (await socket.hear())["code"]
        await socket.say_bytes(b"{}")
        found["bytes"] = (await socket.hear())["code"]
        assert found == {name: code for name, (_, code) in MALFORMED.items()} | {"bytes": "malformed"}
        assert (await socket.ask({"type": "ping"}))["type"] == "pong"


async def test_a_huge_message_ends_the_connection(committed: World) -> None:
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        await socket.say_text(" " * (consumers.LARGEST + 1))
        assert (await socket.hear())["code"] == "too_large"
        assert await socket.hear() == {"close": 1009}


async def test_the_reader_ends_with_the_last_client_even_if_its_cancelling_was_taken_for_an_error(
    committed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = set[asyncio.Task[None] | None]()

    async def swallow(hub: live_hub.Hub, client: object) -> None:
        first = not readers
        readers.add(asyncio.current_task())
        try:
            await asyncio.Event().wait()  # for ever
        except asyncio.CancelledError as cancelled:
            raise ConnectionError if first else cancelled from None

    monkeypatch.setattr(live_hub.Hub, "_read", swallow)
    monkeypatch.setattr(live_hub, "PAUSE", 0.0)
    async with socket_of(Who(committed.bob)):
        while not readers:
            await asyncio.sleep(0.01)
    (reader,) = readers
    assert reader is not None
    assert (await asyncio.wait({reader}, timeout=2 * PATIENCE))[0] == {reader}


async def test_subscriptions_are_limited_and_can_be_given_up(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert consumers.SUBSCRIPTIONS == 100
    monkeypatch.setattr(consumers, "SUBSCRIPTIONS", 1)
    topic = f"bot:{bot.pk}"
    async with watching(committed.bob, topic) as socket:
        assert (await socket.subscribe(topic.upper().replace("BOT", "bot")))["code"] == "already_subscribed"
        assert (await socket.subscribe("organization"))["code"] == "too_many_subscriptions"
        answer = await socket.ask({"type": "unsubscribe", "id": "u", "topic": topic})
        assert answer == {"type": "unsubscribed", "topic": topic, "id": "u"}
        assert (await socket.subscribe("organization"))["type"] == "subscribed"
        await sync_to_async(tell)(bot, post(1))
        heard = await socket.hear()
        assert heard["type"] == "events", heard
        assert heard["events"][0]["topic"] == "organization"


async def test_whoever_talks_without_end_waits(committed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "AT_ONCE", 3)
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        began = time.monotonic()
        for _ in range(8):
            await socket.ask({"type": "ping"})
        assert time.monotonic() - began > 4 / consumers.PER_SECOND
