"""What the Discord face reads: reactions, the own history, what it could answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from faces.contract import FaceError, OutgoingPost, Parent, Reading, RemotePost
from faces.kinds.discord import face as module
from faces.kinds.discord.face import DiscordFace
from tests.faces.discord.conftest import NOW
from tests.faces.discord.fake import CHANNEL, ME, OTHER, SERVER, THREAD, FakeDiscord, too_many
from tests.faces.loopback import Loopback, Reply

LONG_AGO = NOW - timedelta(days=30)


def test_reactions_of_neighbours_are_read_in_one_page(face: DiscordFace, discord: FakeDiscord) -> None:
    heart = {"emoji": {"name": "❤"}, "count": 3}
    one = discord.write(CHANNEL, "1", ME, reactions=[heart, {**heart, "count": 2}])
    two = discord.write(CHANNEL, "2", ME, thread={"id": "9", "message_count": 4})
    ids = [f"{CHANNEL}-{message['id']}" for message in (one, two)]
    found = face.metrics(ids)
    assert [reading.metrics for reading in found.values() if reading] == [{"likes": 5}, {"likes": 0, "comments": 4}]
    assert discord.requests["GET messages"] == 1


def test_a_message_is_gone_only_when_discord_says_so(face: DiscordFace, discord: FakeDiscord) -> None:
    one, two, three = (discord.write(CHANNEL, str(number), ME) for number in range(3))
    ids = [f"{CHANNEL}-{message['id']}" for message in (one, two, three)]
    discord.messages[CHANNEL].remove(two)
    found = face.metrics(ids)
    assert [found[remote_id] is None for remote_id in ids] == [False, True, False]
    discord.everyone &= ~(1 << 16)  # Discord then shows an empty channel
    assert [reading is None for reading in face.metrics(ids).values()] == [False, True, False]
    discord.member = False
    with pytest.raises(FaceError, match="cannot see"):
        face.metrics(ids)


def test_reactions_of_distant_messages(face: DiscordFace, discord: FakeDiscord) -> None:
    old = discord.write(CHANNEL, "old", ME, at=LONG_AGO.timestamp())
    for number in range(250):
        discord.write(CHANNEL, str(number), at=LONG_AGO.timestamp() + number + 1)
    new = discord.write(CHANNEL, "new", ME)
    found = face.metrics([f"{CHANNEL}-{message['id']}" for message in (old, new)])
    assert None not in found.values()
    assert discord.requests["GET messages"] == 2


def test_history_is_the_bots_own_oldest_first(
    face: DiscordFace, discord: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        discord.write(CHANNEL, f"Mine {number}", ME, at=LONG_AGO.timestamp() + number)
        discord.write(CHANNEL, "Theirs", at=LONG_AGO.timestamp() + number)
    assert [post.text for post in face.history(None)] == [f"Mine {number}" for number in range(5)]
    assert [post.text for post in face.history(LONG_AGO + timedelta(seconds=3))] == ["Mine 3", "Mine 4"]
    with pytest.raises(FaceError, match="own messages"):
        face.history(None, "somebody")


def _answer(discord: FakeDiscord, channel: str, text: str, to: dict[str, Any], **more: Any) -> Any:
    reference = {"message_id": to["id"], "channel_id": channel}
    return discord.write(channel, text, message_reference=reference, referenced_message=to, **more)


def test_the_inbox_holds_what_mentions_or_answers_the_bot(face: DiscordFace, discord: FakeDiscord) -> None:
    mine = discord.write(CHANNEL, "What do you think?", ME)
    discord.write(CHANNEL, "Unrelated")
    answer = _answer(discord, CHANNEL, "Good!", mine)
    mention = discord.write(CHANNEL, f"<@{ME}> and you?")
    _answer(discord, CHANNEL, "My own answer", mention, author=ME)
    found = list(face.inbox(None))
    assert [(post.text, post.summoned, post.depth) for post in found] == [
        ("Good!", True, 1),
        ("@kilroy and you?", True, 0),
    ]
    assert found[0].reply_to == found[0].root_id == f"{CHANNEL}-{mine['id']}"
    assert found[0].parents == (Parent("kilroy", "What do you think?"),)
    assert found[0].remote_id == f"{CHANNEL}-{answer['id']}"
    assert list(face.inbox(NOW + timedelta(seconds=1))) == []


def test_another_channel_is_read_with_its_threads(face: DiscordFace, discord: FakeDiscord) -> None:
    root = discord.write(OTHER, "Root")
    middle = _answer(discord, OTHER, "Middle", root)
    _answer(discord, OTHER, "Leaf", {**middle, "referenced_message": None}, author="8")
    link = f"https://discord.com/channels/{SERVER}/{OTHER}"
    found = list(face.inbox(LONG_AGO, link))
    assert [(post.text, post.depth, post.summoned) for post in found] == [
        ("Root", 0, False),
        ("Middle", 1, False),
        ("Leaf", 2, False),
    ]
    leaf = found[-1]
    assert leaf.root_id == f"{OTHER}-{root['id']}"
    assert leaf.parents == (Parent("user7", "Root"), Parent("user7", "Middle"))
    assert face.look_up(leaf.remote_id) == leaf


def test_hidden_content_is_told_instead_of_read_as_empty(face: DiscordFace, discord: FakeDiscord) -> None:
    discord.write(OTHER, "Secret")
    discord.message_content_intent = False
    with pytest.raises(FaceError, match="Message Content Intent"):
        face.inbox(None, OTHER)
    discord.write(CHANNEL, f"<@{ME}> hello")
    assert [post.text for post in face.inbox(None)] == ["@kilroy hello"]


def test_looking_up_tells_what_is_gone_or_locked(face: DiscordFace, discord: FakeDiscord) -> None:
    message = discord.write(THREAD, "Hello?")
    discord.channels[THREAD]["thread_metadata"]["locked"] = True
    found = face.look_up(f"{THREAD}-{message['id']}")
    assert isinstance(found, RemotePost)
    assert (found.text, found.closed) == ("Hello?", "The thread is locked.")
    assert face.look_up(f"{THREAD}-5") is None
    with pytest.raises(FaceError, match="no message of Discord"):
        face.look_up("nonsense")


def test_whatever_discord_answers_reading_fails_in_words(face: DiscordFace, server: Loopback) -> None:
    verbs: list[Callable[[], Any]] = [
        face.verify,
        lambda: list(face.find("key", OutgoingPost("x"), NOW)),
        lambda: face.metrics([f"{CHANNEL}-1", f"{CHANNEL}-2"]),
        lambda: face.history(None),
        lambda: face.inbox(None),
        lambda: face.look_up(f"{CHANNEL}-1"),
    ]
    for reply in (Reply(raw=b"<html>"), Reply(data={}), Reply(data="x"), Reply(500), Reply(cut=True), too_many(1.0)):
        server.answer = lambda request, reply=reply: reply
        for verb in verbs:
            with pytest.raises(FaceError) as caught:
                verb()
            assert not caught.value.permanent


def test_a_number_that_a_person_took_from_a_link_is_a_message_of_the_channel(
    face: DiscordFace, discord: FakeDiscord
) -> None:
    message = discord.write(CHANNEL, "Mine", ME)
    number = message["id"]
    found = face.look_up(number)
    assert found is not None
    assert found.remote_id == f"{CHANNEL}-{number}"
    assert face.metrics([number, "nonsense"]) == {number: Reading({"likes": 0}), "nonsense": None}
    face.delete(number)
    assert discord.messages[CHANNEL] == []
