"""Events from publisher to client: in order, once, and never missed unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from accounts.tenancy import tenant
from bots import live, live_hub, live_streams
from bots.live_streams import stream
from bots.models import Bot
from kilroy_site.embedded import redis as embedded
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


class OwnRedis:
    """A server that a test may break."""

    def __init__(self, folder: Path) -> None:
        self.server = embedded.Redis(folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "redis.log"
        self.start()

    def start(self) -> None:
        self.process = self.server.start(self.log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(settings.LIVE_REDIS_URL)


@pytest.fixture
def own_redis(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnRedis]:
    monkeypatch.setattr(live, "PAUSE", 0.05)
    monkeypatch.setattr(live_hub, "PAUSE", 0.05)
    settings.LIVE_REDIS_URL = embedded.redis_url(tmp_path)
    live._outbox.cache_clear()
    server = OwnRedis(tmp_path)
    yield server
    live._outbox.cache_clear()
    server.kill()


async def test_a_client_that_comes_and_goes_misses_nothing(committed: World, bot: Bot) -> None:
    """It connects twenty times while somebody publishes: it hears every event once, in order."""
    told: list[int] = []
    halt = threading.Event()

    def publish() -> None:
        while not halt.is_set():
            with tenant(bot.organization_id):
                live.tell(bot.pk, post(len(told)))
            told.append(len(told))
            time.sleep(0.003)
        connections.close_all()

    topic, numbers, after = f"bot:{bot.pk}", [], None
    publisher = threading.Thread(target=publish)
    try:
        for connection in range(20):
            async with socket_of(Who(committed.bob)) as socket:
                await socket.hear()
                answer = await socket.subscribe(topic, after)
                assert (answer["type"], answer["sequence"]) == ("subscribed", after or answer["sequence"])
                if connection == 0:
                    publisher.start()
                numbers += [int(data["post"]) for data in await socket.hear_data()]
                after = socket.position[topic]
    finally:
        halt.set()
        await sync_to_async(publisher.join)()
    async with watching(committed.bob, topic, after) as socket:
        numbers += await heard(socket, told[-1])
    assert numbers == told
    assert len(told) > 100


def test_threads_that_begin_to_tell_at_once_share_one_outbox(
    bot: Bot, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, both = [], threading.Barrier(2)

    class SlowlyMade(live.Outbox):
        def __init__(self, url: str) -> None:
            made.append(url)
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.5)  # for the other to come here, too
            super().__init__(url)

    def begin(number: int) -> None:
        tell(bot, post(number))
        connections.close_all()

    monkeypatch.setattr(live, "Outbox", SlowlyMade)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(begin, (1, 2)))

    assert made == [settings.LIVE_REDIS_URL]
    assert own_redis.client.xlen(stream(f"bot:{bot.pk}")) == 2


async def test_two_clients_of_one_topic_resume_where_each_of_them_was(committed: World, bot: Bot) -> None:
    topic = f"bot:{bot.pk}"
    async with watching(committed.alice, topic) as first:
        await sync_to_async(tell)(bot, post(1))
        assert await heard(first, 1) == [1]
        early = first.position[topic]
        await sync_to_async(tell)(bot, post(2), post(3))
        assert await heard(first, 3) == [2, 3]
        async with watching(committed.bob, topic, after=early) as second:
            assert await heard(second, 3) == [2, 3]
            await sync_to_async(tell)(bot, post(4))
            assert (await heard(first, 4), await heard(second, 4)) == ([4], [4])


async def test_what_happened_since_a_page_was_asked_for_is_heard(
    committed: World, bot: Bot, own_redis: OwnRedis
) -> None:
    subscribe = {"type": "subscribe", "topic": f"bot:{bot.pk}"}
    await sync_to_async(tell)(bot, post(1))
    epoch = own_redis.client.hget(live_streams.STATE, "epoch").decode()
    began = int(epoch[8:], 16) - 60_000  # as if Redis had been there for a while
    own_redis.client.hset(live_streams.STATE, "epoch", f"{epoch[:8]}{began:x}")
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        assert (await socket.ask({**subscribe, "since": 30}))["type"] == "subscribed"
        assert await heard(socket, 1) == [1]


async def test_what_happened_before_redis_forgot_cannot_be_heard(
    committed: World, bot: Bot, own_redis: OwnRedis
) -> None:
    subscribe = {"type": "subscribe", "topic": f"bot:{bot.pk}"}
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        assert (await socket.ask({**subscribe, "since": 30}))["type"] == "subscribed"
        assert (await socket.hear())["type"] == "catch_up"


async def test_a_pong_says_how_far_each_topic_is(committed: World, bot: Bot) -> None:
    topic = f"bot:{bot.pk}"
    async with watching(committed.bob, topic) as socket:
        await sync_to_async(tell)(bot, post(1))
        await heard(socket, 1)
        pong = await socket.ask({"type": "ping", "id": 3})
        assert (pong["type"], pong["id"], list(pong["sequences"])) == ("pong", 3, [topic])
    await sync_to_async(tell)(bot, post(2))
    async with watching(committed.bob, topic, after=pong["sequences"][topic]) as socket:
        assert await heard(socket, 2) == [2]


def trim(bot: Bot) -> None:
    import redis

    redis.Redis.from_url(settings.LIVE_REDIS_URL).xtrim(stream(f"bot:{bot.pk}"), maxlen=1, approximate=False)


async def test_whoever_was_away_for_too_long_is_told_to_catch_up(committed: World, bot: Bot) -> None:
    topic = f"bot:{bot.pk}"
    async with watching(committed.bob, topic) as socket:
        await sync_to_async(tell)(bot, post(1))
        await heard(socket, 1)
    await sync_to_async(tell)(bot, post(2), post(3))
    await sync_to_async(trim)(bot)
    async with watching(committed.bob, topic, after=socket.position[topic]) as back:
        message = await back.hear()
        assert (message["type"], message["topic"]) == ("catch_up", topic)
    async with watching(committed.bob, topic, after=message["sequence"]) as again:
        await sync_to_async(tell)(bot, post(4))
        assert await heard(again, 4) == [4]


async def test_a_sequence_of_another_time_is_answered_by_a_catch_up(committed: World, bot: Bot) -> None:
    topic = f"bot:{bot.pk}"
    async with socket_of(Who(committed.bob)) as socket:
        await socket.hear()
        for number, after in enumerate(["", "x", ".", "0.0-0", "1.2.3", "zz.1-1", "(.(", "*", "0-0", "-1"]):
            assert (await socket.subscribe(topic, after))["type"] == "subscribed"
            assert (await socket.hear())["type"] == "catch_up"
            await sync_to_async(tell)(bot, post(number))
            assert await heard(socket, number) == [number]
            assert (await socket.ask({"type": "unsubscribe", "topic": topic}))["type"] == "unsubscribed"


FORGED = ["9-", "99999999999999999999-1", "1-1 ", "+1-1", "1_0-0", "٣-١", "0-0", "999999999999999-1"]


async def test_a_forged_position_disturbs_nobody(committed: World, bot: Bot) -> None:
    topic = f"bot:{bot.pk}"
    async with watching(committed.alice, topic) as other, socket_of(Who(committed.bob)) as socket:
        await sync_to_async(tell)(bot, post(0))
        await heard(other, 0)
        epoch = other.position[topic].partition(".")[0]
        await socket.hear()
        for number, rest in enumerate(FORGED, start=1):
            answer = await socket.subscribe(topic, after=f"{epoch}.{rest}")
            if answer["type"] == "subscribed":
                assert (await socket.hear())["type"] in ("catch_up", "events")
                await socket.ask({"type": "unsubscribe", "topic": topic})
            else:
                assert answer["code"] == "malformed"
            await sync_to_async(tell)(bot, post(number))
            assert await heard(other, number) == [number]


async def test_a_redis_that_forgot_everything_makes_everybody_catch_up(
    committed: World, bot: Bot, own_redis: OwnRedis
) -> None:
    """Also of what was written just before, which nobody has read; and sequences from before are known as such."""
    topic = f"bot:{bot.pk}"
    async with watching(committed.bob, topic) as socket:
        await sync_to_async(tell)(bot, post(1))
        await heard(socket, 1)
        before = socket.position[topic]
        await sync_to_async(own_redis.client.flushall)()
        await caught_up(socket)
        await sync_to_async(tell)(bot, post(2))
        assert await heard(socket, 2) == [2]
        async with watching(committed.alice, topic, after=before) as other:
            assert (await other.hear())["type"] == "catch_up"


async def test_events_survive_a_redis_that_is_away_for_a_while(committed: World, bot: Bot, own_redis: OwnRedis) -> None:
    """It comes back knowing what it wrote down, perhaps not its last second: watchers catch up. The publisher did not
    wait for it; what it could not write is owed."""
    topic = f"bot:{bot.pk}"
    async with watching(committed.bob, topic) as socket:
        await sync_to_async(tell)(bot, post(1))
        await heard(socket, 1)
        own_redis.kill()
        began = time.monotonic()
        with tenant(bot.organization_id):
            await sync_to_async(live.tell)(bot.pk, post(2))
        assert time.monotonic() - began < 1.0
        await asyncio.sleep(0.2)
        await sync_to_async(own_redis.start)()
        await caught_up(socket)
        await sync_to_async(live.flush)(PATIENCE)
        number, posts = 2, set[str]()
        while not posts:  # one that is told beside the gap is covered by its catch-up
            number += 1
            await sync_to_async(tell)(bot, post(number))
            posts = {event["data"]["post"] for event in (await socket.hear()).get("events", [])}
        assert str(number) in posts


async def test_an_event_that_could_not_be_written_leaves_a_gap(
    committed: World, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis stayed what it is, only this publisher did not reach it: its topics owe a gap."""
    topic, ordinary, failing = f"bot:{bot.pk}", live.Outbox._write, [True]

    def write(self: live.Outbox, batch: Any) -> None:
        if failing:
            failing.clear()
            raise ConnectionError("no route")
        ordinary(self, batch)

    monkeypatch.setattr(live, "PAUSE", 0.01)
    async with watching(committed.bob, topic) as socket:
        pong = await socket.ask({"type": "ping"})
        monkeypatch.setattr(live.Outbox, "_write", write)
        await sync_to_async(tell)(bot, post(1))
        assert (await socket.hear())["type"] == "catch_up"
        await sync_to_async(tell)(bot, post(2))
        assert await heard(socket, 2) == [2]
    async with watching(committed.bob, topic, after=pong["sequences"][topic]) as late:
        assert (await late.hear())["type"] == "catch_up"


@pytest.mark.parametrize("value", [float("nan"), "x" * live_streams.LARGEST], ids=["no JSON", "too large"])
async def test_an_event_that_cannot_be_told_leaves_a_gap(committed: World, bot: Bot, value: Any) -> None:
    async with watching(committed.bob, f"bot:{bot.pk}") as socket:
        await sync_to_async(tell)(bot, {"type": "post", "value": value})
        assert (await socket.hear())["type"] == "catch_up"


def test_what_a_publisher_cannot_hold_is_owed(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[live_streams.Event] = []
    free = threading.Event()

    def write(self: live.Outbox, batch: list[live_streams.Event]) -> None:
        free.wait(PATIENCE)
        written.extend(batch)

    monkeypatch.setattr(live.Outbox, "_write", write)
    monkeypatch.setattr(live, "LONGEST", 10)
    outbox = live.Outbox("redis://127.0.0.1:1/")
    for number in range(50):
        outbox.put(live_streams.Event(("bot:1",), "post", str(number)))
        assert len(outbox._waiting) <= 10
    free.set()
    outbox.flush(PATIENCE)
    gaps = [event for event in written if event.text == live_streams.GAP]
    assert {event.topics for event in gaps} == {("bot:1",)}
    assert len(written) - len(gaps) in (10, 11)  # one may have been on its way already


def test_streams_are_bounded(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    client, key = redis.Redis.from_url(settings.LIVE_REDIS_URL), stream(f"bot:{bot.pk}")
    monkeypatch.setattr(live_streams, "KEPT", 100)
    with tenant(bot.organization_id):
        for number in range(450):
            live.tell(bot.pk, post(number))
    live.flush(PATIENCE)
    assert 100 <= client.xlen(key) <= 300
    assert 0 < client.pttl(key) <= live_streams.KEPT_MS + 60_000


def test_ids_only_grow_when_redis_clock_is_set_back(bot: Bot, own_redis: OwnRedis) -> None:
    future = int(time.time() * 1000) + 3_600_000
    tell(bot, post(1))
    own_redis.client.hset(live_streams.STATE, "ms", future)
    tell(bot, post(2), post(3))
    ids = [key.decode() for key, _ in own_redis.client.xrange(stream(f"bot:{bot.pk}"))]
    assert ids[1:] == [f"{future}-1", f"{future}-2"]
    assert int(ids[0].partition("-")[0]) < future
