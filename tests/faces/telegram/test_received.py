"""What a Telegram bot is told once is kept: reactions, comments, mentions, and what people post to the channel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from faces.contract import FaceError, OutgoingImage, OutgoingPost, Parent, Reading
from faces.kinds.telegram import received
from faces.kinds.telegram.face import TelegramFace
from faces.models import Connection
from faces.services import check_connection, reconnect
from tests.faces.loopback import Loopback, Reply
from tests.faces.telegram.conftest import NOW, Time
from tests.faces.telegram.fake import BOT, CHANNEL, DAY, GROUP, TOKEN, FakeTelegram, refusal
from tests.factories import PNG


@pytest.fixture
def listening(connection: Connection, time: Time) -> TelegramFace:
    """A face whose connection was checked an hour ago."""
    time.seconds -= 3600
    assert check_connection(connection.pk).ok
    time.seconds += 3600
    return face_of(connection)


def face_of(connection: Connection) -> TelegramFace:
    return TelegramFace(Connection.objects.get(pk=connection.pk))


def likes(face: TelegramFace, remote_id: str) -> int | None:
    reading = face_of(face.connection).metrics([remote_id])[remote_id]
    assert reading is not None
    return reading.metrics.get("likes")


def publish(face: TelegramFace, images: int = 0) -> tuple[str, list[int]]:
    post = OutgoingPost("Hello", (OutgoingImage(PNG, "image/png", "A red pixel"),) * images)
    remote_id = face.publish(post, "key").remote_id
    return remote_id, [int(number) for number in remote_id.split(":")[1].split(",")]


def test_reactions_are_those_told_last_and_none_while_nothing_was(
    listening: TelegramFace, telegram: FakeTelegram
) -> None:
    post, (number,) = publish(listening)
    assert listening.metrics([post]) == {post: Reading({"likes": 0}, 250)}
    telegram.react(number, 3)
    assert likes(listening, post) == 3
    telegram.react(number, 5)
    telegram.react(number, 4)
    assert (likes(listening, post), likes(listening, post)) == (4, 4)
    telegram.react(number, 0)
    assert likes(listening, post) == 0


def test_an_albums_reactions_are_added_up(listening: TelegramFace, telegram: FakeTelegram) -> None:
    post, numbers = publish(listening, images=2)
    for number in numbers:
        telegram.react(number, 2)
    assert likes(listening, post) == 4


def test_what_was_never_told_is_unknown_and_not_none(face: TelegramFace, telegram: FakeTelegram, time: Time) -> None:
    post, (number,) = publish(face)
    time.seconds += 60
    assert check_connection(face.connection.pk).ok
    assert likes(face, post) is None  # it was there before anybody listened
    telegram.react(number, 3)
    assert likes(face, post) == 3


def test_after_a_long_silence_only_newer_posts_are_known(
    listening: TelegramFace, telegram: FakeTelegram, time: Time
) -> None:
    old, (number,) = publish(listening)
    telegram.react(number, 3)
    assert likes(listening, old) == 3
    time.seconds += 2 * DAY
    recent, _ = publish(listening)
    time.seconds += 3600
    assert (likes(listening, old), likes(listening, recent)) == (None, 0)
    telegram.react(number, 7)
    assert likes(listening, old) == 7


def test_a_bot_that_was_no_administrator_for_a_while_missed_something(
    listening: TelegramFace, telegram: FakeTelegram, time: Time
) -> None:
    post, _ = publish(listening)
    where = {"chat": telegram.chat(CHANNEL), "date": int(time.seconds) + 60}
    admin, left = {"status": "administrator"}, {"status": "left"}
    telegram.tell("my_chat_member", {**where, "old_chat_member": admin, "new_chat_member": admin})
    assert likes(listening, post) == 0
    telegram.tell("my_chat_member", {**where, "old_chat_member": left, "new_chat_member": admin})
    assert likes(listening, post) is None


def test_reactions_in_groups_are_counted_one_by_one(listening: TelegramFace, telegram: FakeTelegram) -> None:
    message = telegram.write(GROUP, "@kilroy_bot?")
    where = {"chat": telegram.chat(GROUP), "message_id": message["message_id"], "date": message["date"]}
    heart, fire = {"type": "emoji", "emoji": "❤"}, {"type": "emoji", "emoji": "🔥"}
    telegram.tell("message_reaction", {**where, "old_reaction": [], "new_reaction": [heart, fire]})
    telegram.tell("message_reaction", {**where, "old_reaction": [heart, fire], "new_reaction": [fire]})
    (found,) = listening.inbox(None)
    assert found.metrics == {"likes": 1}


def test_updates_are_confirmed_only_after_they_were_stored(
    listening: TelegramFace, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, (number,) = publish(listening)
    telegram.react(number, 3)
    with monkeypatch.context() as broken:
        broken.setattr(received.vault, "seal", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            listening.metrics([post])
    assert len(telegram.updates) == 1
    assert likes(listening, post) == 3
    assert len(telegram.updates) == 1  # seen, stored, and confirmed by the next call only
    assert likes(listening, post) == 3
    assert telegram.updates == []


def test_many_updates_are_read_to_the_end(listening: TelegramFace, telegram: FakeTelegram) -> None:
    post, (number,) = publish(listening)
    for total in range(1, 251):
        telegram.react(number, total)
    telegram.requests.clear()
    assert likes(listening, post) == 250
    assert telegram.requests == {"getUpdates": 3, "getChatMemberCount": 1}


def test_the_same_updates_twice_count_once(connection: Connection, listening: TelegramFace) -> None:
    where = {"chat": {"id": GROUP}, "message_id": 5, "date": 1}
    update = {"update_id": 7, "message_reaction": {**where, "old_reaction": [], "new_reaction": [{}]}}
    for _ in range(2):
        kept = received.store(connection, str(BOT), [update])
    assert (tuple(kept.counts[str(GROUP)]["5"]), kept.offset) == ((1, False), 8)


def test_numbers_of_updates_may_start_anew(connection: Connection, listening: TelegramFace) -> None:
    def count(number: int, total: int) -> dict[str, Any]:
        where = {"chat": {"id": CHANNEL, "username": "kilroy_news"}, "message_id": 5, "date": 1}
        return {"update_id": number, "message_reaction_count": {**where, "reactions": [{"total_count": total}]}}

    received.store(connection, str(BOT), [count(900_000, 1)])
    kept = received.store(connection, str(BOT), [count(40, 2)])
    assert (kept.offset, kept.counts[str(CHANNEL)]["5"]) == (41, (2, True))


def test_what_is_kept_is_sealed_and_bounded(connection: Connection, listening: TelegramFace) -> None:
    chat = {"id": CHANNEL, "type": "channel", "username": "kilroy_news"}
    updates = []
    for number in range(1, 702):
        message = {
            "chat": chat,
            "message_id": number,
            "date": int(NOW.timestamp()),
            "text": f"Post {number}" + "x" * 900,
        }
        updates.append({"update_id": 2 * number, "channel_post": message})
        counted = {"chat": chat, "message_id": number, "date": 1, "reactions": [{"total_count": 1}]}
        updates.append({"update_id": 2 * number + 1, "message_reaction_count": counted})
    kept = received.store(connection, str(BOT), updates)
    assert len(kept.counts[str(CHANNEL)]) == received.MOST
    assert sum(len(entry["text"]) for entry in kept.messages) <= received.MOST_CHARACTERS
    assert kept.messages[-1]["text"].startswith("Post 701")
    assert likes(listening, f"{CHANNEL}:201:{int(NOW.timestamp())}") is None  # dropped is not none
    assert likes(listening, f"{CHANNEL}:202:{int(NOW.timestamp())}") == 1
    row = Connection.objects.get()
    assert "Post" not in row.credentials
    assert row.secrets["token"] == TOKEN
    assert "received" not in row.settings


def test_another_bot_begins_anew(listening: TelegramFace, telegram: FakeTelegram, time: Time) -> None:
    post, (number,) = publish(listening)
    telegram.react(number, 3)
    assert likes(listening, post) == 3
    telegram.token = "987654321:" + "B" * 30
    telegram.updates.clear()  # it has a queue of its own
    time.seconds += 60
    reconnect(listening.connection.pk, {"token": telegram.token})
    late = received.store(listening.connection, str(BOT), [])  # the old bot's reader comes too late
    assert (late.bot, late.offset, late.counts) == ("987654321", 0, {})
    assert likes(listening, post) is None


def test_comments_below_a_post_are_the_inbox(listening: TelegramFace, telegram: FakeTelegram) -> None:
    post, (number,) = publish(listening)
    copy = telegram.forward(number)["message_id"]
    comment = telegram.write(GROUP, "Well said", to=copy, message_thread_id=copy)
    telegram.write(GROUP, "Hm", user=8, to=comment["message_id"], message_thread_id=copy)
    telegram.write(GROUP, "Something else")
    first, second = listening.inbox(None)
    assert (first.text, first.author, first.reply_to, first.root_id) == ("Well said", "user7", post, post)
    assert (first.summoned, first.depth, first.parents) == (True, 1, (Parent("kilroy_news", "Hello"),))
    assert (second.text, second.summoned, second.depth, second.root_id) == ("Hm", False, 2, post)
    assert second.parents == (Parent("kilroy_news", "Hello"), Parent("user7", "Well said"))
    assert second.reply_to == first.remote_id == f"{GROUP}:{comment['message_id']}:{comment['date']}"
    assert list(listening.inbox(NOW + timedelta(seconds=1))) == []
    answer = listening.publish(OutgoingPost("Thanks", reply_to=first.remote_id), "key-2")
    telegram.write(GROUP, "You are welcome", to=int(answer.remote_id.split(":")[1]))
    assert list(listening.inbox(None))[-1].summoned


def test_mentions_are_the_inbox_and_other_talk_is_not_kept(listening: TelegramFace, telegram: FakeTelegram) -> None:
    telegram.write(GROUP, "Ask @Kilroy_Bot, perhaps")
    named = [{"type": "text_mention", "offset": 0, "length": 6, "user": {"id": BOT}}]
    telegram.write(GROUP, "Kilroy, hello", entities=named)
    telegram.write(GROUP, "@kilroy_bottom is somebody else")
    telegram.write(GROUP, "As the channel: @kilroy_bot", sender_chat=telegram.chat(CHANNEL))
    assert [(post.text, post.summoned) for post in listening.inbox(None)] == [
        ("Ask @Kilroy_Bot, perhaps", True),
        ("Kilroy, hello", True),
    ]


def test_an_edit_is_looked_up(listening: TelegramFace, telegram: FakeTelegram) -> None:
    message = telegram.write(GROUP, "@kilroy_bot yes?")
    telegram.tell("edited_message", {**message, "text": "@kilroy_bot no?"})
    (found,) = listening.inbox(None)
    assert found.text == "@kilroy_bot no?"
    assert listening.look_up(found.remote_id) == found
    assert listening.look_up(f"{GROUP}:99:1") is None
    with pytest.raises(FaceError, match="no message of Telegram"):
        listening.look_up("nonsense")


def test_history_is_what_people_posted_to_the_channel(listening: TelegramFace, telegram: FakeTelegram) -> None:
    publish(listening)
    telegram.write(CHANNEL, "By a person")
    telegram.write(CHANNEL, "", photo=[{}], caption="Below a photo")
    assert [post.text for post in listening.history(None)] == ["By a person", "Below a photo"]
    assert list(listening.history(NOW + timedelta(seconds=1))) == []
    for asks in (lambda: listening.history(None, "@other"), lambda: listening.inbox(None, "@other")):
        with pytest.raises(FaceError):
            asks()


def test_somebody_else_who_reads_the_updates_is_told(listening: TelegramFace, telegram: FakeTelegram) -> None:
    other = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    telegram.fail("getUpdates", refusal(409, other))
    with pytest.raises(FaceError, match="Another program reads what this bot receives"):
        listening.metrics([f"{CHANNEL}:1:1"])


def test_a_failed_poll_reads_nothing(listening: TelegramFace, telegram: FakeTelegram, server: Loopback) -> None:
    server.requests.clear()
    telegram.fail("getUpdates", Reply(raw=b"<html>"))
    with pytest.raises(FaceError, match="not JSON"):
        listening.metrics([f"{CHANNEL}:1:1"])
    assert len(server.requests) == 1


def test_reconnecting_with_the_same_token_keeps_what_was_received(
    listening: TelegramFace, telegram: FakeTelegram
) -> None:
    post, (number,) = publish(listening)
    telegram.react(number, 3)
    assert likes(listening, post) == 3
    reconnect(listening.connection.pk, {"token": TOKEN, "link_previews": False})
    assert (likes(listening, post), Connection.objects.get().settings["link_previews"]) == (3, False)


def test_a_number_that_a_person_took_from_a_link_is_a_message_of_the_chat(
    listening: TelegramFace, telegram: FakeTelegram
) -> None:
    _, (number,) = publish(listening)
    face = face_of(listening.connection)
    assert face.metrics([str(number), "nonsense"]) == {str(number): Reading({}, 250), "nonsense": None}
    telegram.react(number, 3)
    assert likes(listening, str(number)) == 3
    written = telegram.write(CHANNEL, "By a person")["message_id"]
    found = face.look_up(str(written))
    assert found is not None
    assert found.text == "By a person"
    face.delete(str(number))
    assert list(telegram.messages[CHANNEL]) == [written]
