"""The Mastodon face against what a real Mastodon 4.7.3 said, as Mastodon.py 2.3.3's tests recorded it.

Answers are the recorded bytes. That library sends `sensitive`, and shorter lists; so a recorded request fits when the
face asks for at least what it asked for. Where the face asks at an address that was not recorded, the test says which
recorded answer stands in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pytest_django import Settings

from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost
from faces.kinds.mastodon.face import MastodonFace
from faces.services import create_connection
from tests.faces.loopback import Loopback, Reply, Request
from tests.faces.recorded import Interaction, Recorded, cassettes, load
from tests.factories import PNG, World

TOKEN = "__MASTODON_PY_TEST_ACCESS_TOKEN"
ONLY_THEIRS = {"sensitive", "spoiler_text"}


@dataclass
class AtLeast(Interaction):
    """Fits a request that asks for what was recorded, or for more of it."""

    def fits(self, request: Request) -> bool:
        sent = json.loads(request.body) if request.body.startswith(b"{") else {}
        return (
            (self.method, self.path.rstrip("/")) == (request.method, request.path)
            and self.query.items() <= request.query.items()
            and all(sent.get(name) == value for name, value in self.fields.items())
        )  # fmt: skip


def at_least(recorded: Interaction) -> AtLeast:
    """A form's fields under the names and types of the JSON that the face sends."""
    fields = {
        name.removesuffix("[]"): values if name.endswith("[]") else values[0]
        for name, values in recorded.fields.items()
        if name not in ONLY_THEIRS
    }
    return AtLeast(recorded.method, recorded.path, recorded.query, fields, recorded.reply)


class Instance(Recorded):
    """The recorded instance, which knows neither a second page nor (it was not asked) a list of statuses by id."""

    def play(self, *names: str) -> list[Interaction]:
        """Add what these cassettes hold. Returns it."""
        folder = cassettes("mastodon_py-2.3.3") / "tests" / "cassettes"
        added: list[Interaction] = [
            at_least(entry) for name in names for entry in load(folder / f"test_{name}.yaml", {})
        ]
        self.interactions += added
        return added

    def answer(self, request: Request) -> Reply:
        if "max_id" in request.query:
            return Reply(data=[])
        if (request.method, request.path) == ("GET", "/api/v1/statuses"):
            return Reply(404, {"error": "Not Found"})
        return super().answer(request)


@pytest.fixture
def instance(server: Loopback) -> Instance:
    instance = Instance()
    server.answer = instance.answer
    return instance


@pytest.fixture
def face(world: World, server: Loopback, instance: Instance, settings: Settings) -> Iterator[MastodonFace]:
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", server.port)})
    with tenant(world.acme.pk):
        made = create_connection("mastodon", "Recorded", {"instance": server.url, "access_token": TOKEN})
        yield MastodonFace(made)


def told(interactions: list[Interaction], method: str, path: str) -> Any:
    """The data of the recorded answer."""
    found = next(each for each in interactions if (each.method, each.path.rstrip("/")) == (method, path))
    return json.loads(found.reply.raw or b"")


def test_a_post_is_published_looked_up_and_deleted(face: MastodonFace, instance: Instance) -> None:
    held = instance.play("status", "verify_credentials")
    status = told(held, "POST", "/api/v1/statuses")
    published = face.publish(OutgoingPost("Toot!"), "key")
    assert (published.remote_id, published.url) == (status["id"], status["url"])
    assert published.at.isoformat() == "2026-10-14T19:06:41.274000+00:00"
    found = face.look_up(published.remote_id)
    assert found is not None
    assert (found.text, found.author, found.language, found.author_is_bot, found.depth) == (
        "Toot!",
        "mastodonpy_test",
        "ja",
        False,
        0,
    )
    face.delete(published.remote_id)
    assert instance.unmatched == []


def test_favourites_are_counted(face: MastodonFace, instance: Instance) -> None:
    """The status as it stands after a favourite, and after it was taken back, is what these calls answered."""
    held = instance.play("status_fav_unfav", "verify_credentials")
    published = face.publish(OutgoingPost("Toot!"), "key")
    for step, likes in (("favourite", 1), ("unfavourite", 0)):
        stands_in = next(each for each in held if each.path.endswith(f"/{step}"))
        instance.interactions.insert(0, replace(stands_in, method="GET", path=stands_in.path.removesuffix(f"/{step}")))
        reading = face.metrics([published.remote_id])[published.remote_id]
        assert reading is not None
        assert (reading.metrics, reading.followers) == ({"likes": likes, "shares": 0, "comments": 0}, 0)
    assert instance.unmatched == []


def test_an_answer_goes_below_its_post(face: MastodonFace, instance: Instance) -> None:
    held = instance.play("status_reply")
    root = face.publish(OutgoingPost("Toot, finally!"), "1")
    answer = face.publish(OutgoingPost("@mastodonpy_test_2 same!", reply_to=root.remote_id), "2")
    status = next(
        json.loads(each.reply.raw or b"") for each in held if each.fields.get("in_reply_to_id") == root.remote_id
    )
    assert (answer.remote_id, status["in_reply_to_id"]) == (status["id"], root.remote_id)


def test_an_image_is_uploaded_and_posted(face: MastodonFace, instance: Instance) -> None:
    held = instance.play("media_post[False]")
    published = face.publish(OutgoingPost("LOL check this out", (OutgoingImage(PNG, "image/png", "A pixel"),)), "key")
    assert published.remote_id == told(held, "POST", "/api/v1/statuses")["id"]


def test_a_text_that_is_too_long_or_empty_is_refused_for_good(face: MastodonFace, instance: Instance) -> None:
    instance.play("status_empty", "lang_for_errors")
    for text in ("", "look at me i am funny shark gawr gura: " + "a" * 50_000):
        with pytest.raises(FaceError) as caught:
            face.publish(OutgoingPost(text), "key")
        assert (caught.value.status, caught.value.permanent, caught.value.sent) == (422, True, False)
    assert instance.unmatched == []


def test_what_is_not_there_is_not_there(face: MastodonFace, instance: Instance) -> None:
    instance.play("status_missing")
    assert face.look_up("0") is None
    instance.play("account_lookup")
    with pytest.raises(FaceError, match="knows no account"):
        face.history(None, "kljadklajsdkljlkjlkjlkjasdasd")


@pytest.mark.parametrize(
    ("method", "path", "ask"),
    [
        ("GET", "/api/v1/accounts/verify_credentials", lambda face: face.metrics(["1"])),
        ("POST", "/api/v1/statuses", lambda face: face.publish(OutgoingPost("Toot!"), "key")),
    ],
)
def test_a_token_that_is_not_taken_breaks_the_connection(
    face: MastodonFace, instance: Instance, method: str, path: str, ask: Callable[[MastodonFace], Any]
) -> None:
    """Recorded at /timelines/home."""
    refused = next(each for each in instance.play("unauthed_home_tl_throws") if each.reply.status == 401)
    instance.interactions = [replace(refused, method=method, path=path)]
    with pytest.raises(FaceError, match="The access token is invalid") as caught:
        ask(face)
    assert (caught.value.credentials, caught.value.sent) == (True, False)


def test_a_check_reads_what_the_instance_says_of_itself(face: MastodonFace, instance: Instance) -> None:
    instance.play("instance", "verify_credentials", "app_verify_credentials")
    found = face.verify()
    assert found.account.startswith("@mastodonpy_test@127.0.0.1")
    assert found.settings == {"max_characters": 500, "link_weight": 23, "max_images": 4}
    assert found.present == ("May read (read).", "May post (write:statuses).", "May upload images (write:media).")
    assert [words[:32] for words in found.missing] == ["Mark the account as automated: P"]
    assert instance.unmatched == []


def test_a_mention_and_a_hashtag_are_read(face: MastodonFace, instance: Instance) -> None:
    instance.play("notifications_mentions_only", "verify_credentials")
    (mention,) = face.inbox(None)
    assert (mention.text, mention.author, mention.summoned, mention.closed) == (
        "@mastodonpy_test hello!",
        "admin",
        True,
        "",
    )
    instance.play("hashtag_tl")
    (tagged,) = face.inbox(None, "hoot")
    assert (tagged.text, tagged.author, tagged.community) == ("#hoot (hashtag toot)", "mastodonpy_test_2", "hoot")
    assert instance.unmatched == []
