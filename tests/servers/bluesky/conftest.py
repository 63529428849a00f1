from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.kinds.bluesky.face import BlueskyFace
from faces.models import Connection
from faces.services import create_connection
from tests.factories import World, make_world
from tests.servers.bluesky.servers import Servers, start, start_network

Connect = Callable[[Servers, str], BlueskyFace]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where PostgreSQL, which is not root, may walk to."""
    made = tmp_path_factory.mktemp("bluesky")
    for parent in (made, *made.parents[:2]):
        parent.chmod(0o755)
    return made


@pytest.fixture(scope="session")
def alone(folder: Path) -> Iterator[Servers]:
    """A PDS without AppView."""
    (folder / "alone").mkdir()
    with start("alone", folder / "alone") as servers:
        yield servers


@pytest.fixture(scope="session")
def network(folder: Path) -> Iterator[Servers]:
    """The whole network."""
    (folder / "network").mkdir(mode=0o755)
    with start_network(folder / "network") as servers:
        yield servers


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def connect(world: World, settings: Settings) -> Iterator[Connect]:
    """Connects Acme with somebody's account."""

    def connect(servers: Servers, handle: str) -> BlueskyFace:
        port = urlsplit(servers.pds).port
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", port), ("localhost", port)})
        settings.API_BASES = {}
        person = servers.person(handle)
        given = {"identifier": handle, "app_password": person.app_password, "host": servers.pds, "languages": "en"}
        face = create_connection("bluesky", handle, given).face
        assert isinstance(face, BlueskyFace)
        return face

    with tenant(world.acme.pk):
        yield connect


def other_process(face: BlueskyFace) -> BlueskyFace:
    """A face as another process would make it: it knows what is stored."""
    return BlueskyFace(Connection.objects.get(pk=face.connection.pk))
