"""The notebook keeps the contract that Kilroy's own faces keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from faces.contract import FaceError, OutgoingPost
from faces.models import Connection
from tests.contracts.face import FaceContract
from tests.factories import make_connection


class TestNotebook(FaceContract):
    @pytest.fixture
    def connection(self, organization: None, tmp_path: Path) -> Connection:
        return make_connection("notebook", settings={"path": str(tmp_path / "posts.jsonl")})


def test_a_file_that_cannot_be_opened_proves_that_nothing_was_sent(db: None, tmp_path: Path) -> None:
    connection = Connection(kind="notebook", settings={"path": str(tmp_path / "gone" / "posts.jsonl")})
    assert "There is no folder" in connection.face.verify().missing[0]
    with pytest.raises(FaceError, match="cannot be opened") as caught:
        connection.face.publish(OutgoingPost("A post"), "key")
    assert (caught.value.sent, caught.value.permanent) == (False, False)
