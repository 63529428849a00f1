from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.kinds.bluesky.face import BlueskyFace
from faces.models import Connection
from faces.services import create_connection
from tests.faces.bluesky.fake import FakeBluesky
from tests.faces.loopback import Loopback, serve
from tests.factories import World


@pytest.fixture
def network() -> FakeBluesky:
    return FakeBluesky("kilroy.test", "bob.test")


@pytest.fixture
def server(network: FakeBluesky) -> Iterator[Loopback]:
    with serve() as loopback:
        loopback.answer = network.answer
        yield loopback


@pytest.fixture
def connection(world: World, server: Loopback, settings: Settings) -> Iterator[Connection]:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    settings.API_BASES = {}
    given = {"identifier": "@Kilroy.test", "app_password": "right", "host": server.url, "languages": "en de"}
    with tenant(world.acme.pk):
        yield create_connection("bluesky", "Our account", given)


@pytest.fixture
def face(connection: Connection) -> BlueskyFace:
    return BlueskyFace(connection)
