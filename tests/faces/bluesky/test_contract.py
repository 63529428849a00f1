"""What every face must do, done by this one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import FaceContract
from tests.faces.bluesky.fake import FakeBluesky
from tests.faces.loopback import serve


class TestBluesky(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, settings: Settings) -> Iterator[Connection]:
        with serve() as server:
            server.answer = FakeBluesky().answer
            settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
            settings.API_BASES = {}
            given = {"identifier": "kilroy.test", "app_password": "right", "host": server.url}
            yield create_connection("bluesky", "Our account", given)
