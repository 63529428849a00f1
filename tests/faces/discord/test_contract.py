"""The Discord face keeps the contract of faces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import FaceContract
from tests.faces.discord.fake import CHANNEL, TOKEN, FakeDiscord
from tests.faces.loopback import serve


class TestDiscordFace(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, settings: Settings) -> Iterator[Connection]:
        with serve() as server:
            server.answer = FakeDiscord().answer
            settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
            settings.API_BASES = {"discord": server.url}
            yield create_connection("discord", "Our bot", {"token": TOKEN, "channel": CHANNEL})
