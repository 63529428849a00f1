from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.kinds.mastodon.face import MastodonFace
from faces.models import Connection
from faces.services import create_connection
from tests.faces.loopback import Loopback, serve
from tests.faces.mastodon.instance import TOKEN, Instance
from tests.factories import World


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve() as loopback:
        yield loopback


@pytest.fixture
def instance(server: Loopback) -> Instance:
    instance = Instance()
    server.answer = instance.answer
    return instance


@pytest.fixture
def connection(world: World, server: Loopback, instance: Instance, settings: Settings) -> Iterator[Connection]:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    with tenant(world.acme.pk):
        yield create_connection("mastodon", "Our account", {"instance": server.url, "access_token": TOKEN})


@pytest.fixture
def face(connection: Connection) -> MastodonFace:
    return MastodonFace(connection)
