"""The Mastodon face keeps the contract of faces."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import FaceContract
from tests.faces.loopback import Loopback
from tests.faces.mastodon.fake import FakeMastodon


class TestMastodonFace(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, server: Loopback, settings: Settings) -> Connection:
        fake = FakeMastodon()
        server.answer = fake.answer
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
        given = {"instance": server.url, "access_token": fake.add_account("kilroy")}
        return create_connection("mastodon", "Our account", given)
