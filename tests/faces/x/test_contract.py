"""The X face keeps the contract of faces."""

from __future__ import annotations

from typing import Any

import pytest

from faces.models import Connection
from faces.services import store_connection
from tests.contracts.face import FaceContract
from tests.faces.x.fake import FakeX


class TestXFace(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, x: FakeX, secrets: dict[str, Any]) -> Connection:
        return store_connection("x", "Our account", {"client_id": "app", "automated": True}, secrets)
