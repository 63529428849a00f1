from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pytest_django import Settings

from accounts import clock
from accounts.tenancy import tenant
from faces.kinds.telegram.face import TelegramFace
from faces.models import Connection
from faces.services import create_connection
from tests.faces.loopback import Loopback, serve
from tests.faces.telegram.fake import TOKEN, FakeTelegram
from tests.factories import World

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Time:
    """The clock of Kilroy and of the imitation."""

    def __init__(self) -> None:
        self.seconds = NOW.timestamp()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "now", time.now)
    return time


@pytest.fixture
def telegram(time: Time) -> FakeTelegram:
    return FakeTelegram(now=lambda: time.seconds)


@pytest.fixture
def server(telegram: FakeTelegram) -> Iterator[Loopback]:
    with serve() as loopback:
        loopback.answer = telegram.answer
        yield loopback


@pytest.fixture
def connection(world: World, server: Loopback, settings: Settings) -> Iterator[Connection]:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    settings.API_BASES = {"telegram": server.url}
    with tenant(world.acme.pk):
        yield create_connection("telegram", "Our bot", {"token": TOKEN, "chat": "@kilroy_news"})


@pytest.fixture
def face(connection: Connection) -> TelegramFace:
    return TelegramFace(connection)
