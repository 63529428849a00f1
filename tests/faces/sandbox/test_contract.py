"""The sandbox keeps the contract of faces."""

from __future__ import annotations

import pytest

from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import FaceContract


class TestSandboxFace(FaceContract):
    @pytest.fixture
    def connection(self, organization: None) -> Connection:
        return create_connection("sandbox", "Our account", {"clock_speed": 1})
