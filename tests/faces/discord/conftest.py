from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.kinds.discord.face import DiscordFace
from faces.models import Connection
from faces.services import create_connection
from tests.faces.discord.fake import CHANNEL, SERVER, TOKEN, FakeDiscord
from tests.faces.loopback import Loopback, serve
from tests.factories import World

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW.timestamp()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def discord() -> FakeDiscord:
    return FakeDiscord(now=Clock())


@pytest.fixture
def server(discord: FakeDiscord) -> Iterator[Loopback]:
    with serve() as loopback:
        loopback.answer = discord.answer
        yield loopback


@pytest.fixture
def connection(world: World, server: Loopback, settings: Settings) -> Iterator[Connection]:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    settings.API_BASES = {"discord": server.url}
    with tenant(world.acme.pk):
        made = create_connection("discord", "Our bot", {"token": TOKEN, "channel": CHANNEL})
        made.settings["server"] = SERVER
        yield made


@pytest.fixture
def face(connection: Connection) -> DiscordFace:
    return DiscordFace(connection)
