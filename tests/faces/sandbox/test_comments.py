"""The simulated audience writes comments and mentions that can be answered, the same ones whenever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from accounts.clock import SimulatedClock, simulated
from accounts.models import Organization
from accounts.tenancy import tenant
from faces.contract import FaceError, OutgoingPost, Parent, RemotePost
from faces.kinds.sandbox.comments import BOTS, MOST_WRITTEN, VANISH_MINUTES
from faces.kinds.sandbox.face import SandboxFace
from faces.models import Connection

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
TEXT = "Scientists found water on the far side of the moon. What happens next?"
TEXTS = [
    TEXT,
    "I have been teaching my father to use Linux and today he helped a friend install it.",
    "The bakery in our street closes after ninety years, and everybody came to say goodbye.",
    "My neighbour paints every door in her house in another colour. Would you dare?",
    "Nobody tells you how quiet a town becomes when the snow has fallen all night.",
    "A museum has lent its oldest violin to a school, and the children played it for a week.",
    "Why do we still print timetables when every train tells us where it is?",
    "After forty years they found the lost letters of the lighthouse keeper behind a cupboard.",
]
"""All different: the audience dislikes what it has read before."""


@pytest.fixture
def clock() -> Iterator[SimulatedClock]:
    with simulated(START) as running:
        yield running


@pytest.fixture
def face(db: None, clock: SimulatedClock) -> Iterator[SandboxFace]:
    organization = Organization.objects.create(name="Alice's", slug="alices")
    with tenant(organization.pk):
        settings = {"seed": 3, "followers": 4000, "clock_speed": 1.0}
        face = Connection.objects.create(kind="sandbox", name="kilroy", settings=settings).face
        assert isinstance(face, SandboxFace)
        yield face


def comments_on(face: SandboxFace, number: str) -> list[RemotePost]:
    return [post for post in face.inbox(None) if post.reply_to == number]


def publish_some(face: SandboxFace, clock: SimulatedClock, count: int, hours: int = 12) -> None:
    for number, text in enumerate(TEXTS[:count], 1):
        face.publish(OutgoingPost(text), str(number))
    clock.advance(timedelta(hours=hours))


def test_comments_come_as_a_post_ages_and_are_counted_among_its_reactions(
    face: SandboxFace, clock: SimulatedClock
) -> None:
    number = face.publish(OutgoingPost(TEXT), "key").remote_id
    assert comments_on(face, number) == []
    seen = []
    for _ in range(20):
        clock.advance(timedelta(minutes=5))
        written = comments_on(face, number)
        reading = face.metrics([number])[number]
        assert reading is not None
        assert len(written) == min(reading.metrics["comments"], MOST_WRITTEN)
        assert [post.remote_id for post in written[: len(seen)]] == seen
        assert all(START < post.at <= START + timedelta(minutes=100) for post in written)
        seen = [post.remote_id for post in written]
    assert len(seen) == MOST_WRITTEN


def test_what_the_inbox_holds_can_be_looked_up_with_its_thread(face: SandboxFace, clock: SimulatedClock) -> None:
    publish_some(face, clock, 8)
    found = list(face.inbox(None))
    assert found == sorted(found, key=lambda post: post.at)
    assert {face.look_up(post.remote_id) == post for post in found} == {True}
    comment = next(post for post in found if post.reply_to)
    assert (comment.depth, comment.root_id, comment.summoned) == (1, comment.reply_to, True)
    assert comment.parents == (Parent("kilroy", TEXTS[int(comment.reply_to) - 1]),)
    mention = next(post for post in found if not post.reply_to)
    assert "@kilroy" in mention.text
    assert (mention.depth, mention.root_id, mention.parents) == (0, mention.remote_id, ())
    assert {post.author_is_bot for post in found} == {True, False}
    assert all(post.author_is_bot == (post.author in BOTS) for post in found)


def test_only_what_came_since_is_told(face: SandboxFace, clock: SimulatedClock) -> None:
    publish_some(face, clock, 6)
    everything = list(face.inbox(None))
    middle = everything[len(everything) // 2].at
    assert list(face.inbox(middle)) == [post for post in everything if post.at >= middle]
    assert list(face.inbox(None, "a community")) == []


def test_a_conversation_goes_on_below_an_answer(face: SandboxFace, clock: SimulatedClock) -> None:
    number = face.publish(OutgoingPost(TEXT), "key").remote_id
    clock.advance(timedelta(hours=3))
    first = comments_on(face, number)[0]
    answer = face.publish(OutgoingPost("Because of the ice in the craters, I think.", reply_to=first.remote_id), "two")
    clock.advance(timedelta(hours=12))
    again = comments_on(face, answer.remote_id)[0]
    assert (again.author, again.root_id, again.depth) == (first.author, number, 3)
    assert [parent.author for parent in again.parents] == ["kilroy", first.author, "kilroy"]
    own = face.look_up(answer.remote_id)
    assert own is not None
    assert (own.reply_to, own.text) == (first.remote_id, "Because of the ice in the craters, I think.")
    reading = face.metrics([answer.remote_id])[answer.remote_id]
    assert reading is not None
    assert reading.metrics["comments"] > 0


def test_some_comments_vanish_and_cannot_be_answered_then(face: SandboxFace, clock: SimulatedClock) -> None:
    publish_some(face, clock, 8, hours=1)
    before = {post.remote_id: post.at for post in face.inbox(None)}
    clock.advance(timedelta(minutes=VANISH_MINUTES))
    gone = [remote_id for remote_id in before if face.look_up(remote_id) is None]
    assert gone
    assert not set(gone) & {post.remote_id for post in face.inbox(None)}
    with pytest.raises(FaceError, match="is gone"):
        face.publish(OutgoingPost("Hello?", reply_to=gone[0]), "late")


def test_comments_go_with_their_post(face: SandboxFace, clock: SimulatedClock) -> None:
    publish_some(face, clock, 1)
    (comment, *_) = comments_on(face, "1")
    face.delete("1")
    assert face.look_up("1") is None
    assert face.look_up(comment.remote_id) is None
    assert list(face.inbox(None)) == []


@pytest.mark.parametrize("remote_id", ["", "1c9", "99c0", "1x0", "' OR 1=1", "0c0", "1m0x"])
def test_an_id_that_nobody_gave_finds_nothing(face: SandboxFace, clock: SimulatedClock, remote_id: str) -> None:
    publish_some(face, clock, 1)
    assert face.look_up(remote_id) is None


def test_two_worlds_with_one_seed_write_the_same(face: SandboxFace, clock: SimulatedClock) -> None:
    twin = Connection.objects.create(kind="sandbox", name="kilroy 2", settings=face.connection.settings).face
    for each in (face, twin):
        each.publish(OutgoingPost(TEXT), "key")
    clock.advance(timedelta(hours=12))
    told = [[(post.author, post.at) for post in each.inbox(None)] for each in (face, twin)]
    assert told[0] == told[1] != []
