"""The Reddit face keeps the contract of faces."""

from __future__ import annotations

import pytest

from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import FaceContract
from tests.faces.reddit.conftest import keep
from tests.faces.reddit.fake import FakeReddit


class TestRedditFace(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, reddit: FakeReddit) -> Connection:
        made = create_connection("reddit", "Our account", {"client_id": "app", "subreddit": "r/kilroytest"})
        keep(made)
        return made
