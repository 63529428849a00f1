"""A connection to Reddit that has been allowed, and a server on loopback in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from accounts import vault
from accounts.tenancy import tenant
from faces.kinds.reddit.face import RedditFace
from faces.models import Connection
from faces.oauth import expiry
from faces.services import create_connection
from tests.faces.loopback import Loopback, serve
from tests.faces.reddit.fake import ME, SCOPES, FakeReddit
from tests.factories import World


@pytest.fixture
def server(settings: Settings) -> Iterator[Loopback]:
    with serve() as loopback:
        settings.API_BASES = {"reddit": loopback.url}
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", loopback.port)})
        yield loopback


@pytest.fixture
def reddit(server: Loopback) -> FakeReddit:
    fake = FakeReddit()
    server.answer = fake.answer
    return fake


def keep(connection: Connection, **secrets: Any) -> None:
    """Seal credentials, as after the account's owner allowed the connection."""
    kept = {"client_id": "app", "client_secret": "app-secret", "refresh_token": "kept", "access_token": "live"}
    kept |= {"scope": SCOPES, "expires_at": expiry(3600.0)}
    connection.credentials = vault.seal(connection, "credentials", kept | secrets)
    connection.settings = connection.settings | {"username": ME}
    connection.save()


@pytest.fixture
def connection(world: World, server: Loopback) -> Iterator[Connection]:
    with tenant(world.acme.pk):
        made = create_connection("reddit", "Our account", {"client_id": "app", "subreddit": "r/kilroytest"})
        keep(made)
        yield made


@pytest.fixture
def face(connection: Connection) -> RedditFace:
    return RedditFace(connection)
