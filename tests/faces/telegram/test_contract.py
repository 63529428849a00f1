"""The Telegram face keeps the contract of faces, but for what Telegram tells no bot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from pytest_django import Settings

from accounts import clock
from faces.contract import Face, OutgoingPost
from faces.models import Connection
from faces.services import create_connection
from tests.contracts.face import POST, FaceContract
from tests.faces.loopback import serve
from tests.faces.telegram.fake import CHANNEL, TOKEN, FakeTelegram


class TestTelegramFace(FaceContract):
    @pytest.fixture
    def telegram(self) -> FakeTelegram:
        self.platform = FakeTelegram()
        return self.platform

    @pytest.fixture
    def connection(self, organization: None, settings: Settings, telegram: FakeTelegram) -> Iterator[Connection]:
        with serve() as server:
            server.answer = telegram.answer
            settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
            settings.API_BASES = {"telegram": server.url}
            yield create_connection("telegram", "Our bot", {"token": TOKEN, "chat": "@kilroy_news"})

    def test_what_was_published_is_found_read_and_deleted(self, face: Face) -> None:
        """A bot sees neither its own messages nor that one is gone."""
        published, key = self._publish(face)
        assert abs(published.at - clock.now()) < timedelta(minutes=5)
        assert list(face.find(key, POST, clock.now() - timedelta(minutes=5))) == []
        assert face.metrics([published.remote_id])[published.remote_id] is not None
        face.delete(published.remote_id)
        face.delete(published.remote_id)  # deleting what is gone is not an error

    def shown_thread(self, face: Face, ids: list[str]) -> list[str]:
        """As the chat shows it: a bot is not told of its own messages."""
        by_number = {int(remote_id.split(":")[1]): remote_id for remote_id in ids}
        messages = [self.platform.messages[CHANNEL][number] for number in by_number]
        answered = [message.get("reply_to_message", {}).get("message_id") for message in messages]
        return [by_number.get(number, "") for number in answered]

    def test_history_is_the_own_posts_oldest_first(  # type: ignore[override]
        self, face: Face, telegram: FakeTelegram
    ) -> None:
        """The channel's, as far as people wrote them while the bot was there."""
        assert face.verify().ok
        self._publish(face, OutgoingPost("By the bot"))
        texts = [f"Post number {number}" for number in range(3)]
        for text in texts:
            telegram.write(CHANNEL, text)
        assert [post.text for post in face.history(None)] == texts
        assert list(face.history(clock.now() + timedelta(days=1))) == []
