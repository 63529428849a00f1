from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.kinds.x.face import XFace
from faces.models import Connection
from faces.oauth import expiry
from faces.services import store_connection
from tests.faces.loopback import Loopback, serve
from tests.faces.x.fake import FakeX
from tests.faces.x.rules import SCOPES
from tests.factories import World


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve() as loopback:
        yield loopback


@pytest.fixture
def x(server: Loopback, settings: Settings) -> FakeX:
    """X, with an account “kilroy” of ours and one of alice's."""
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    settings.API_BASES = {"x": server.url}
    x = FakeX()
    x.add_account("kilroy")
    x.add_account("alice", followers=7)
    server.answer = x.answer
    return x


@pytest.fixture
def secrets() -> dict[str, Any]:
    """Credentials as the flow leaves them."""
    return {
        "client_secret": "",
        "access_token": "token-of-kilroy",
        "refresh_token": "refresh-1",
        "expires_at": expiry(7200),
        "scope": SCOPES,
    }


@pytest.fixture
def connection(world: World, x: FakeX, secrets: dict[str, Any]) -> Iterator[Connection]:
    with tenant(world.acme.pk):
        yield store_connection("x", "Our account", {"client_id": "app", "automated": True}, secrets)


@pytest.fixture
def face(connection: Connection) -> XFace:
    return XFace(connection)
