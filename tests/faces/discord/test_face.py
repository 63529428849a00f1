"""The Discord face against an imitation that keeps to Discord's documentation and published schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.discord.face import KEY_WINDOW, DiscordFace
from faces.kinds.discord.forms import channel_id
from faces.kinds.discord.messages import snowflake
from faces.models import Connection
from faces.services import check_connection, create_connection
from tests.faces.discord.conftest import NOW
from tests.faces.discord.fake import CHANNEL, ME, OTHER, SERVER, THREAD, TOKEN, FakeDiscord, schema_error, too_many
from tests.faces.loopback import Loopback, Reply
from tests.factories import PNG, World

LONG_AGO = NOW - timedelta(days=30)
IMAGE = OutgoingImage(PNG, "image/png", "A red pixel")


def refused(face: DiscordFace, post: OutgoingPost | None = None) -> FaceError:
    with pytest.raises(FaceError) as caught:
        face.publish(post or OutgoingPost("Hello"), "key")
    return caught.value


def texts(discord: FakeDiscord, channel: str = CHANNEL) -> list[str]:
    return [message["content"] for message in discord.messages[channel]]


def test_checking_names_the_bot_and_its_channel(connection: Connection) -> None:
    found = check_connection(connection.pk)
    row = Connection.objects.get()
    assert (found.ok, row.state, row.account) == (True, "connected", "kilroy in #bot-posts")
    assert row.settings == {"channel": CHANNEL, "server": SERVER}
    assert row.secrets == {"token": TOKEN}


def test_missing_permissions_are_named(connection: Connection, discord: FakeDiscord) -> None:
    discord.everyone = 1 << 10
    check_connection(connection.pk)
    row = Connection.objects.get()
    assert row.state == "broken"
    assert row.problem == (
        "Give the bot's role these permissions in the channel: Send Messages, Read Message History, Attach Files."
    )


def test_a_channels_overwrites_and_a_servers_owner_decide(face: DiscordFace, discord: FakeDiscord) -> None:
    discord.roles = ["601"]
    overwrites = discord.channels[CHANNEL]["permission_overwrites"]
    overwrites += [
        {"id": SERVER, "deny": str(1 << 11), "allow": "0"},
        {"id": "601", "deny": "0", "allow": str(1 << 11)},
    ]
    assert face.verify().ok
    overwrites += [{"id": ME, "deny": str(1 << 15), "allow": "0"}]
    assert face.verify().missing == ("Give the bot's role these permissions in the channel: Attach Files.",)
    discord.roles = ["600"]
    assert face.verify().ok
    discord.roles, discord.owner = [], ME
    assert face.verify().ok


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"member": False}, "The bot cannot see the channel"),
        ({"channels": {}}, "There is no such channel"),
        ({"timed_out_until": "2999-01-01T00:00:00+00:00"}, "timed out on the server until 01 January 2999"),
        ({"channels": {CHANNEL: {"id": CHANNEL, "type": 4, "guild_id": SERVER}}}, "This is no text channel"),
    ],
)
def test_what_is_missing_is_said_in_words(
    face: DiscordFace, discord: FakeDiscord, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(discord, name, value)
    (missing,) = face.verify().missing
    assert words in missing


def test_a_thread_is_checked_by_its_parents_overwrites(face: DiscordFace, discord: FakeDiscord) -> None:
    face.connection.settings["channel"] = THREAD
    assert face.verify().ok
    discord.channels[OTHER]["permission_overwrites"] = [{"id": SERVER, "deny": str(1 << 38), "allow": "0"}]
    discord.channels[THREAD]["thread_metadata"]["locked"] = True
    lacking, locked = face.verify().missing
    assert "Send Messages in Threads" in lacking
    assert "locked" in locked


def test_a_wrong_token_breaks_the_connection(connection: Connection, discord: FakeDiscord) -> None:
    discord.token = "revoked"
    with pytest.raises(FaceError, match="does not take the bot's token") as caught:
        check_connection(connection.pk)
    assert caught.value.credentials
    assert TOKEN not in str(caught.value)
    assert Connection.objects.get().state == "broken"


def test_a_message_notifies_nobody_and_says_where_it_is(
    face: DiscordFace, discord: FakeDiscord, server: Loopback
) -> None:
    published = face.publish(OutgoingPost("Hello @everyone <@7>"), "key-1")
    (message,) = discord.messages[CHANNEL]
    assert published.remote_id == f"{CHANNEL}-{message['id']}"
    assert published.url == f"https://discord.com/channels/{SERVER}/{CHANNEL}/{message['id']}"
    assert published.at == NOW
    sent = server.requests[-1].json
    assert (sent["allowed_mentions"], sent["enforce_nonce"], len(sent["nonce"])) == ({"parse": []}, True, 25)


def test_one_key_twice_leaves_one_message_as_long_as_discord_remembers(face: DiscordFace, discord: FakeDiscord) -> None:
    first, second = (face.publish(OutgoingPost("Hello"), "key-1") for _ in range(2))
    assert first == second
    discord.now.seconds += KEY_WINDOW - 1  # type: ignore[attr-defined]
    assert face.publish(OutgoingPost("Hello"), "key-1") == first
    face.publish(OutgoingPost("Hello"), "key-2")
    assert texts(discord) == ["Hello", "Hello"]


def test_images_travel_with_their_descriptions(face: DiscordFace, discord: FakeDiscord, server: Loopback) -> None:
    face.publish(OutgoingPost("Look", (IMAGE, IMAGE)), "key")
    assert discord.uploads == [PNG, PNG]
    assert b'"description": "A red pixel"' in server.requests[-1].body
    assert [a["filename"] for a in discord.messages[CHANNEL][0]["attachments"]] == ["image-0.png", "image-1.png"]


def test_a_reply_goes_where_the_message_is(face: DiscordFace, discord: FakeDiscord) -> None:
    asked = discord.write(OTHER, f"<@{ME}> what?")
    published = face.publish(OutgoingPost("This.", reply_to=f"{OTHER}-{asked['id']}"), "key")
    assert published.remote_id.startswith(f"{OTHER}-")
    assert discord.messages[OTHER][-1]["message_reference"]["message_id"] == asked["id"]
    (found,) = face.find("key", OutgoingPost("This.", reply_to=f"{OTHER}-{asked['id']}"), LONG_AGO)
    assert found == published
    assert list(face.find("key", OutgoingPost("This.", reply_to=f"{OTHER}-5"), LONG_AGO)) == []
    gone = refused(face, OutgoingPost("This.", reply_to=f"{OTHER}-5"))
    assert (gone.permanent, gone.sent) == (True, False)
    assert "The message to answer is gone" in str(gone)


FAILURES = [
    (Reply(500, raw=b"oops"), False, True),
    (Reply(502, raw=b"<html>"), False, True),
    (Reply(408), False, True),
    (Reply(cut=True), False, True),
    (Reply(raw=b"<html>Maintenance</html>"), False, True),
    (Reply(400, {"code": 200000, "message": "Message was blocked by automatic moderation"}), True, False),
    (Reply(413, raw=b"<html>"), True, False),
    (Reply(302, headers={"Location": "https://elsewhere.example"}), True, False),
    (too_many(0.5), False, False),
]


@pytest.mark.parametrize("post", [OutgoingPost("Hello"), OutgoingPost("Hello", (IMAGE,))])
def test_one_publish_is_one_request_whatever_the_answer(
    face: DiscordFace, discord: FakeDiscord, server: Loopback, post: OutgoingPost
) -> None:
    for reply, permanent, sent in [*FAILURES, (Reply(data={}), False, True), (Reply(data=[1]), False, True)]:
        server.requests.clear()
        discord.fail("POST messages", reply)
        error = refused(face, post)
        assert (error.permanent, error.sent) == (permanent, sent), reply
        assert [request.method for request in server.requests] == ["POST"], reply


def test_one_delete_is_one_request_whatever_the_answer(
    face: DiscordFace, discord: FakeDiscord, server: Loopback
) -> None:
    for reply, permanent, sent in FAILURES:
        server.requests.clear()
        discord.fail("DELETE messages", reply)
        with pytest.raises(FaceError) as caught:
            face.delete(f"{CHANNEL}-1")
        assert (caught.value.permanent, caught.value.sent) == (permanent, sent), reply
        assert [request.method for request in server.requests] == ["DELETE"], reply


def test_an_answer_that_was_lost_is_found_again(face: DiscordFace, discord: FakeDiscord) -> None:
    discord.write(CHANNEL, "Hello", ME, at=LONG_AGO.timestamp())
    discord.write(CHANNEL, "Hello", author="7")
    discord.fail("POST messages", Reply(cut=True), acted=True)
    assert refused(face, OutgoingPost("Hello ")).sent
    assert texts(discord).count("Hello") == 3
    (found,) = face.find("key", OutgoingPost("Hello "), NOW - timedelta(minutes=1))
    assert found.remote_id.endswith(discord.messages[CHANNEL][-1]["id"])
    assert list(face.find("key", OutgoingPost("Hello ", (IMAGE,)), NOW - timedelta(minutes=1))) == []
    assert list(face.find("key", OutgoingPost("Other"), NOW - timedelta(minutes=1))) == []


def test_a_rate_limit_of_an_hour_is_handed_on(face: DiscordFace, discord: FakeDiscord) -> None:
    discord.fail("POST messages", too_many(3600.0))
    error = refused(face)
    assert (error.retry_after, error.permanent, error.sent) == (3600.0, False, False)


def test_what_discord_never_takes_is_not_sent(face: DiscordFace, server: Loopback) -> None:
    big, wordy = OutgoingImage(b"x" * (10 * 2**20 + 1), "image/png", "Big"), OutgoingImage(PNG, "image/png", "x" * 1025)
    for post, words in [
        (OutgoingPost("x" * 2001), "The text has 2001 characters; Our bot takes at most 2000."),
        (OutgoingPost(" \n"), "Discord takes no empty message"),
        (OutgoingPost("half \ud83d"), "half of a character at position 6"),
        (OutgoingPost("bell \x07"), "invisible control character at position 6"),
        (OutgoingPost("x", (big,)), "10 MiB"),
        (OutgoingPost("x", (wordy,)), "description is longer"),
    ]:
        error = refused(face, post)
        assert words in str(error)
        assert (error.permanent, error.sent, server.requests) == (True, False, [])


def test_length_is_counted_in_code_points(face: DiscordFace, discord: FakeDiscord) -> None:
    face.publish(OutgoingPost("🙂" * 2000), "key")
    assert len(discord.messages[CHANNEL][0]["content"]) == 2000


def test_the_imitation_refuses_what_discord_would(
    face: DiscordFace, discord: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiscordFace, "objection", lambda self, post: "")
    assert "A text in it is too long" in str(refused(face, OutgoingPost("x" * 2001)))
    assert "empty" in str(refused(face, OutgoingPost(" ")))
    assert "well formed" in str(refused(face, OutgoingPost("half \ud83d")))
    assert all(map(schema_error, ({"content": 5}, {"nonce": "x" * 26}, {"contents": "x"})))
    assert discord.messages[CHANNEL] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [({"everyone": 1 << 10}, "lacks a permission"), ({"member": False}, "cannot see"), ({"channels": {}}, "no such")],
)
def test_a_channel_that_is_closed_to_the_bot_makes_its_posts_wait(
    face: DiscordFace, discord: FakeDiscord, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(discord, name, value)
    error = refused(face)
    assert (error.credentials, error.sent) == (True, False)
    assert words in str(error)


def test_somebody_elses_closed_channel_breaks_nothing(face: DiscordFace, discord: FakeDiscord) -> None:
    error = refused(face, OutgoingPost("This.", reply_to="77-5"))
    assert (error.credentials, error.permanent) == (False, True)


def test_deleting_what_is_gone_is_no_error(face: DiscordFace, discord: FakeDiscord) -> None:
    published = face.publish(OutgoingPost("Hello"), "key")
    theirs = discord.write(CHANNEL, "Mine")
    face.delete(published.remote_id)
    face.delete(published.remote_id)
    with pytest.raises(FaceError, match="lacks a permission"):
        face.delete(f"{CHANNEL}-{theirs['id']}")
    assert texts(discord) == ["Mine"]


def test_a_private_base_is_refused_unless_it_was_opened(
    connection: Connection, server: Loopback, settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW = frozenset()
    settings.API_BASES = {"discord": f"https://127.0.0.1:{server.port}"}
    error = refused(DiscordFace(connection))
    assert "no public address" in str(error)
    assert (error.sent, server.requests) == (False, [])


def test_snowflakes_follow_discords_own_example() -> None:
    # 175928847299117063 is the documentation's example, of 2016-04-30 11:18:25.796 UTC
    assert snowflake(datetime(2016, 4, 30, 11, 18, 25, 796_000, tzinfo=UTC)) == (175928847299117063 >> 22) << 22


@pytest.mark.parametrize(
    "typed", ["1001", " 1001 ", "https://discord.com/channels/500/1001", "https://discord.com/channels/500/1001/7"]
)
def test_a_channel_is_known_by_its_id_or_link(typed: str) -> None:
    assert channel_id(typed) == "1001"


@pytest.mark.parametrize("settings", [{"channel": "#general"}, {"token": "two words"}, {"token": "ü" * 30}])
def test_what_is_no_channel_or_token_is_refused(world: World, settings: dict[str, str]) -> None:
    with tenant(world.acme.pk), pytest.raises(ValidationError):
        create_connection("discord", "Bad", {"token": TOKEN, "channel": CHANNEL, **settings})
