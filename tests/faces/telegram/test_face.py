"""The Telegram face against an imitation that keeps to the Bot API's documentation."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.telegram.face import TelegramFace
from faces.kinds.telegram.messages import link
from faces.models import Connection
from faces.services import check_connection, create_connection
from tests.faces.loopback import Loopback, Reply
from tests.faces.telegram.conftest import NOW
from tests.faces.telegram.fake import BOT, CHANNEL, GROUP, TOKEN, FakeTelegram, refusal, too_many
from tests.factories import PNG, World

IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")
GIF = OutgoingImage(b"GIF89a", "image/gif", "A red pixel")


def refused(face: TelegramFace, post: OutgoingPost | None = None) -> FaceError:
    with pytest.raises(FaceError) as caught:
        face.publish(post or OutgoingPost("Hello"), "key")
    return caught.value


def test_checking_names_the_bot_and_its_chat(connection: Connection) -> None:
    found = check_connection(connection.pk)
    row = Connection.objects.get()
    assert (found.ok, row.state, row.account) == (True, "connected", "@kilroy_bot in News")
    assert row.settings == {
        "chat": "@kilroy_news",
        "link_previews": True,
        "home": str(CHANNEL),
        "bot": str(BOT),
        "bot_name": "kilroy_bot",
        "linked": str(GROUP),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"member": {"status": "member"}}, "Make the bot an administrator"),
        (
            {"member": {"status": "administrator", "can_delete_messages": False}},
            "Give the bot these rights as an administrator of the chat: Post messages, Delete messages.",
        ),
        ({"kicked": True}, "The bot was removed from the chat"),
        ({"username": "renamed"}, "There is no such chat"),
        ({"webhook": True}, "use a bot of its own"),
    ],
)
def test_what_is_missing_is_said_in_words(
    face: TelegramFace, telegram: FakeTelegram, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(telegram, name, value)
    (missing,) = face.verify().missing
    assert words in missing


def test_one_bot_cannot_serve_two_connections(connection: Connection) -> None:
    assert check_connection(connection.pk).ok
    twin = create_connection("telegram", "Again", {"token": TOKEN, "chat": str(GROUP)})
    found = check_connection(twin.pk)
    assert found.missing == (
        "“Our bot” has the same bot, and Telegram tells each reaction only once: make a bot for each.",
    )
    assert check_connection(connection.pk).ok


@pytest.mark.parametrize("token", ["revoked", ""])
def test_a_wrong_token_breaks_the_connection(connection: Connection, telegram: FakeTelegram, token: str) -> None:
    telegram.token = token
    with pytest.raises(FaceError, match="does not know the bot's token") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials
    assert Connection.objects.get().state == "broken"


def test_a_malformed_token_is_told_like_a_wrong_one(face: TelegramFace, telegram: FakeTelegram) -> None:
    telegram.fail("sendMessage", refusal(404, "Not Found"))
    error = refused(face)
    assert (error.credentials, error.sent) == (True, False)


def test_a_post_says_where_it_is(face: TelegramFace, telegram: FakeTelegram, server: Loopback) -> None:
    published = face.publish(OutgoingPost("Hello *world* https://example.org"), "key")
    (number,) = telegram.messages[CHANNEL]
    assert published.remote_id == f"{CHANNEL}:{number}:{int(NOW.timestamp())}"
    assert (published.url, published.at) == (f"https://t.me/kilroy_news/{number}", NOW)
    assert server.requests[-1].json == {
        "chat_id": "@kilroy_news",
        "text": "Hello *world* https://example.org",
        "link_preview_options": {"is_disabled": False},
    }


def test_private_chats_have_links_for_their_members() -> None:
    assert link({"id": CHANNEL}, 5) == "https://t.me/c/1234567890/5"
    assert link({"id": -77}, 5) == ""


def test_a_reply_goes_to_the_chat_of_what_it_answers(face: TelegramFace, telegram: FakeTelegram) -> None:
    asked = telegram.write(GROUP, "What?")
    published = face.publish(OutgoingPost("This.", reply_to=f"{GROUP}:{asked['message_id']}:1"), "key")
    assert published.remote_id.startswith(f"{GROUP}:")
    gone = refused(face, OutgoingPost("This.", reply_to=f"{GROUP}:99:1"))
    assert "The message to answer is gone." in str(gone)
    assert (gone.permanent, gone.sent, gone.credentials) == (True, False, False)


@pytest.mark.parametrize(
    ("images", "method", "field"),
    [
        ((IMAGE,), "sendPhoto", "photo"),
        ((GIF,), "sendAnimation", "animation"),
        ((IMAGE,) * 3, "sendMediaGroup", "photo"),
    ],
)
def test_images_carry_the_text_below_them(
    face: TelegramFace, telegram: FakeTelegram, images: tuple[OutgoingImage, ...], method: str, field: str
) -> None:
    above = telegram.write(CHANNEL, "Above")["message_id"]
    published = face.publish(OutgoingPost("Look", images, reply_to=f"{CHANNEL}:{above}:1"), "key")
    sent = [message for number, message in telegram.messages[CHANNEL].items() if number != above]
    assert [message.get("caption") for message in sent] == ["Look"] + [None] * (len(images) - 1)
    assert all(field in message for message in sent)
    assert sent[0]["reply_to_message"]["message_id"] == above
    assert telegram.uploads == [image.content for image in images]
    assert telegram.requests == {method: 1}
    face.delete(published.remote_id)
    assert list(telegram.messages[CHANNEL]) == [above]


FAILURES = [
    (Reply(500, raw=b"oops"), False, True),
    (Reply(502, raw=b"<html>"), False, True),
    (Reply(408), False, True),
    (Reply(cut=True), False, True),
    (Reply(raw=b"<html>Maintenance</html>"), False, True),
    (Reply(data={}), False, True),
    (Reply(data=[1]), False, True),
    (Reply(413, raw=b"<html>"), True, False),
    (Reply(302, headers={"Location": "https://elsewhere.example"}), True, False),
    (refusal(400, "Bad Request: something new"), True, False),
    (too_many(1), False, False),
]


@pytest.mark.parametrize(
    ("post", "method"),
    [
        (OutgoingPost("Hello"), "sendMessage"),
        (OutgoingPost("Hello", (IMAGE,)), "sendPhoto"),
        (OutgoingPost("Hello", (GIF,)), "sendAnimation"),
        (OutgoingPost("Hello", (IMAGE, IMAGE)), "sendMediaGroup"),
    ],
)
def test_one_publish_is_one_request_whatever_the_answer(
    face: TelegramFace, telegram: FakeTelegram, server: Loopback, post: OutgoingPost, method: str
) -> None:
    for reply, permanent, sent in [*FAILURES, (Reply(data={"ok": True, "result": {}}), False, True)]:
        server.requests.clear()
        telegram.fail(method, reply)
        error = refused(face, post)
        assert (error.permanent, error.sent) == (permanent, sent), reply
        assert len(server.requests) == 1, reply


@pytest.mark.parametrize(("messages", "method"), [("5", "deleteMessage"), ("5,6", "deleteMessages")])
def test_one_delete_is_one_request_whatever_the_answer(
    face: TelegramFace, telegram: FakeTelegram, server: Loopback, messages: str, method: str
) -> None:
    for reply, permanent, sent in FAILURES:
        server.requests.clear()
        telegram.fail(method, reply)
        with pytest.raises(FaceError) as caught:
            face.delete(f"{CHANNEL}:{messages}:1")
        assert (caught.value.permanent, caught.value.sent) == (permanent, sent), reply
        assert len(server.requests) == 1, reply


def test_a_lost_answer_is_left_to_a_person(face: TelegramFace, telegram: FakeTelegram, server: Loopback) -> None:
    telegram.fail("sendMessage", Reply(cut=True), acted=True)
    assert refused(face).sent
    assert len(telegram.messages[CHANNEL]) == 1
    assert face.capabilities.idempotency == "none"
    assert list(face.find("key", OutgoingPost("Hello"), NOW)) == []
    assert len(server.requests) == 1


def test_a_rate_limit_of_an_hour_is_handed_on(face: TelegramFace, telegram: FakeTelegram) -> None:
    telegram.fail("sendMessage", too_many(3600))
    error = refused(face)
    assert (error.retry_after, error.permanent, error.sent) == (3600.0, False, False)


def test_what_telegram_never_takes_is_not_sent(face: TelegramFace, server: Loopback) -> None:
    big = OutgoingImage(b"x" * 10_000_001, "image/png", "Big")
    for post, words in [
        (OutgoingPost("x" * 4097), "The text has 4097 characters; Our bot takes at most 4096."),
        (OutgoingPost("🙂" * 2049), "The text has 4098 characters"),
        (
            OutgoingPost("x" * 1025, (IMAGE,)),
            "The text has 1025 characters; below images Telegram takes at most 1,024.",
        ),
        (OutgoingPost(" \n"), "Telegram takes no empty message"),
        (OutgoingPost("half \ud83d"), "half of a character at position 6"),
        (OutgoingPost("bell \x07"), "invisible control character at position 6"),
        (OutgoingPost("x", (IMAGE, GIF)), "animated image only alone"),
        (OutgoingPost("x", (big,)), "larger than Telegram takes"),
    ]:
        error = refused(face, post)
        assert words in str(error)
        assert (error.permanent, error.sent, server.requests) == (True, False, [])


def test_length_is_counted_in_utf16(face: TelegramFace, telegram: FakeTelegram) -> None:
    face.publish(OutgoingPost("🙂" * 2048), "key")
    assert len(telegram.messages[CHANNEL]) == 1


def test_the_imitations_refusals_are_explained(face: TelegramFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TelegramFace, "objection", lambda self, post: "")
    for post, words in [
        (OutgoingPost("x" * 4097), "too long"),
        (OutgoingPost("x" * 1025, (IMAGE,)), "1,024"),
        (OutgoingPost(" "), "empty"),
        (OutgoingPost("half \ud83d"), "half of a character"),
    ]:
        error = refused(face, post)
        assert words in str(error)
        assert (error.status, error.credentials) == (400, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kicked": True}, "removed from the chat"),
        ({"username": "renamed"}, "no such chat"),
        ({"member": {"status": "left"}}, "lacks the right to post"),
        ({"member": {"status": "administrator"}}, "lacks the right to post"),
    ],
)
def test_a_chat_that_is_closed_to_the_bot_makes_its_posts_wait(
    face: TelegramFace, telegram: FakeTelegram, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(telegram, name, value)
    error = refused(face)
    assert (error.credentials, error.sent) == (True, False)
    assert words in str(error)


def test_somebody_elses_closed_chat_breaks_nothing(face: TelegramFace) -> None:
    error = refused(face, OutgoingPost("This.", reply_to="-77:5:1"))
    assert (error.credentials, error.permanent) == (False, True)


def test_deleting_what_is_gone_is_no_error(face: TelegramFace, telegram: FakeTelegram) -> None:
    published = face.publish(OutgoingPost("Hello"), "key")
    face.delete(published.remote_id)
    face.delete(published.remote_id)
    assert telegram.messages[CHANNEL] == {}
    old = telegram.add(CHANNEL, {"text": "Old"})
    telegram.member["can_delete_messages"] = False
    old["date"] -= 3 * 86_400
    with pytest.raises(FaceError, match="delete it by hand"):
        face.delete(f"{CHANNEL}:{old['message_id']}:{old['date']}")


def test_a_private_base_is_refused_unless_it_was_opened(
    connection: Connection, server: Loopback, settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW = frozenset()
    settings.API_BASES = {"telegram": f"https://127.0.0.1:{server.port}"}
    error = refused(TelegramFace(connection))
    assert "no public address" in str(error)
    assert (error.sent, server.requests) == (False, [])


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("@kilroy_news", "@kilroy_news"), (" https://t.me/kilroy_news ", "@kilroy_news"), ("-1001234", "-1001234")],
)
def test_a_chat_is_known_by_its_name_or_number(world: World, typed: str, kept: str) -> None:
    with tenant(world.acme.pk):
        assert create_connection("telegram", "Bot", {"token": TOKEN, "chat": typed}).settings["chat"] == kept


@pytest.mark.parametrize("settings", [{"chat": "two words"}, {"token": "/etc:passwd"}, {"token": f"{TOKEN}/../x"}])
def test_what_is_no_chat_or_token_is_refused(world: World, settings: dict[str, str]) -> None:
    with tenant(world.acme.pk), pytest.raises(ValidationError):
        create_connection("telegram", "Bad", {"token": TOKEN, "chat": "@kilroy_news", **settings})
