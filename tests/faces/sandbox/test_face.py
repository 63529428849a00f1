"""The sandbox keeps the contract of a face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.clock import SimulatedClock, simulated
from accounts.models import Organization
from accounts.tenancy import NoTenant, no_tenant, tenant
from faces.contract import FaceError, OutgoingImage, OutgoingPost, RemotePost
from faces.kinds.sandbox.audience import Audience
from faces.kinds.sandbox.face import MOST_IMAGES, SandboxFace, true_reward
from faces.kinds.sandbox.forms import SandboxForm
from faces.kinds.sandbox.models import SandboxPost, SandboxWorld, image_name
from faces.models import Connection
from faces.registry import FACES

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
GOOD = OutgoingPost("I have been teaching my father to use Linux and today he helped a friend install it.")
OTHER = OutgoingPost("Scientists found water on the far side of the moon. What happens next?")
IMAGE = OutgoingImage(b"\x89PNG not really", "image/png", "A penguin on a beach")


@pytest.fixture
def clock() -> Iterator[SimulatedClock]:
    with simulated(START) as running:
        yield running


@pytest.fixture(autouse=True)
def alices() -> Iterator[Organization]:
    organization = Organization.objects.create(name="Alice's", slug="alices")
    with tenant(organization.pk):
        yield organization


@pytest.fixture
def face(clock: SimulatedClock) -> SandboxFace:
    return connect("main")


def connect(name: str, **settings: object) -> SandboxFace:
    settings = {"seed": 5, "followers": 4000, "clock_speed": 1.0, **settings}
    face = Connection.objects.create(kind="sandbox", name=name, settings=settings).face
    assert isinstance(face, SandboxFace)
    return face


def likes(face: SandboxFace, remote_id: str) -> int:
    reading = face.metrics([remote_id])[remote_id]
    assert reading is not None
    return reading.metrics["likes"]


def test_it_says_that_its_reactions_are_simulated() -> None:
    capabilities = FACES["sandbox"].load().capabilities
    assert capabilities.simulated
    assert capabilities.idempotency == "key"
    assert capabilities.may_learn


def test_publishing_leaves_a_post_that_can_be_found_and_read(face: SandboxFace) -> None:
    published = face.publish(GOOD, "key 1")
    assert published.at == START
    assert face.find("key 1", GOOD, timezone.now()) == [published]
    assert face.find("key 2", GOOD, timezone.now()) == []
    nothing_yet = dict.fromkeys(face.capabilities.metrics, 0)
    assert list(face.history(None)) == [
        RemotePost(remote_id=published.remote_id, text=GOOD.text, at=START, author="main", metrics=nothing_yet)
    ]


def test_publishing_again_with_the_same_key_changes_nothing(face: SandboxFace, clock: SimulatedClock) -> None:
    first = face.publish(replace(GOOD, images=(IMAGE,)), "key")
    clock.advance(timedelta(minutes=5))
    assert face.publish(replace(GOOD, images=(IMAGE,)), "key") == first
    assert SandboxPost.objects.count() == 1


@pytest.mark.parametrize(
    "changed",
    [OTHER, replace(GOOD, images=(IMAGE,)), replace(GOOD, reply_to="1")],
    ids=["text", "images", "reply_to"],
)
def test_a_key_cannot_be_used_for_other_bytes(face: SandboxFace, changed: OutgoingPost) -> None:
    face.publish(GOOD, "key")
    with pytest.raises(FaceError, match="key was used for another post") as caught:
        face.publish(changed, "key")
    assert caught.value.permanent
    assert not caught.value.sent
    assert SandboxPost.objects.get().text == GOOD.text


@pytest.mark.parametrize(
    ("post", "message"),
    [
        (OutgoingPost(""), "empty"),
        (OutgoingPost(" \n\t"), "empty"),
        (OutgoingPost("x" * 281), "281 characters; at most 280"),
        (OutgoingPost("half \ud83d of a pair"), "no text"),
        (OutgoingPost("nul \x00"), "no text"),
        (replace(GOOD, reply_to="99"), "is gone"),
        (replace(GOOD, reply_to="' OR 1=1"), "is gone"),
        (replace(GOOD, images=(IMAGE,) * (MOST_IMAGES + 1)), "5 images; at most 4"),
        (replace(GOOD, images=(replace(IMAGE, media_type="image/svg+xml"),)), "image/svg"),
        (replace(GOOD, images=(replace(IMAGE, content=b""),)), "An image is empty"),
        (replace(GOOD, images=(replace(IMAGE, alt_text="\x00"),)), "description"),
    ],
)
def test_what_the_platform_does_not_take_is_refused_for_good(
    face: SandboxFace, post: OutgoingPost, message: str
) -> None:
    with pytest.raises(FaceError, match=message) as caught:
        face.publish(post, "key")
    assert caught.value.permanent
    assert not caught.value.sent
    assert SandboxPost.objects.count() == 0


def test_the_longest_post_and_every_script_are_taken_whole(face: SandboxFace) -> None:
    text = ("👩‍👩‍👧 Ünïcode 日本語 עברית " * 20)[:280]
    published = face.publish(OutgoingPost(text), "key")
    assert SandboxPost.objects.get(number=published.remote_id).text == text


def test_an_image_keeps_its_bytes_and_description(face: SandboxFace, settings: object, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = str(tmp_path)  # type: ignore[attr-defined]
    face.publish(OutgoingPost("", images=(IMAGE,)), "key")
    [described] = SandboxPost.objects.get().images
    assert (described["media_type"], described["alt_text"]) == ("image/png", "A penguin on a beach")
    with default_storage.open(image_name(face.connection.pk, described["sha256"])) as stored:
        assert stored.read() == IMAGE.content


def test_posts_of_one_step_are_as_if_each_came_alone(face: SandboxFace) -> None:
    texts = ["One thing that everybody should have heard of.", GOOD.text, OTHER.text, GOOD.text]
    alone = connect("alone")
    for place, text in enumerate(texts):
        alone.publish(OutgoingPost(text), f"key {place}")
    together = face.publish_some([(OutgoingPost(text), f"key {place}") for place, text in enumerate(texts)])
    assert [post.remote_id for post in together] == ["1", "2", "3", "4"]
    columns = ("number", "key", "text", "published_at", "expected", "followers")
    first, second = (
        list(SandboxPost.objects.filter(connection=each.connection).order_by("number").values_list(*columns))
        for each in (alone, face)
    )
    assert first == second
    assert second[3][4] < second[1][4]  # a copy of what came in the same step
    assert face.publish(OutgoingPost(OTHER.text), "key 2") == together[2]


@pytest.mark.parametrize("key", ["new", "used"])
def test_a_step_ends_before_a_post_that_is_refused(face: SandboxFace, key: str) -> None:
    face.publish(GOOD, "used")
    refused = (OTHER, key) if key == "used" else (OutgoingPost("x" * 281), key)
    fine = [(OutgoingPost(f"A post about the number {number}"), str(number)) for number in range(3)]
    assert [post.remote_id for post in face.publish_some([*fine[:2], refused, fine[2]])] == ["2", "3"]
    assert list(SandboxPost.objects.values_list("key", flat=True)) == ["used", "0", "1"]
    with pytest.raises(FaceError):
        face.publish_some([refused, fine[2]])
    assert SandboxPost.objects.count() == 3


def test_reactions_come_with_time_and_never_go(face: SandboxFace, clock: SimulatedClock) -> None:
    remote_id = face.publish(GOOD, "key").remote_id
    counts = [likes(face, remote_id)]
    for minutes in (15, 45, 120, 600, 3000):
        clock.advance(timedelta(minutes=minutes))
        assert likes(face, remote_id) == likes(face, remote_id)
        counts.append(likes(face, remote_id))
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > 10


def test_a_faster_clock_brings_the_same_reactions_sooner(clock: SimulatedClock) -> None:
    slow, fast = connect("slow"), connect("fast", clock_speed=60.0)
    remote_id = slow.publish(GOOD, "key").remote_id
    assert fast.publish(GOOD, "key").remote_id == remote_id
    clock.advance(timedelta(minutes=2))
    fast_likes = likes(fast, remote_id)
    clock.advance(timedelta(minutes=118))
    assert likes(slow, remote_id) == fast_likes > 0
    assert (slow.clock_speed(), fast.clock_speed()) == (1.0, 60.0)


def test_the_same_seed_and_posts_give_the_same_reactions_and_another_seed_others(clock: SimulatedClock) -> None:
    faces = [connect("a"), connect("b"), connect("c", seed=6)]
    for face in faces:
        for number, post in enumerate((GOOD, OTHER)):
            face.publish(post, f"key {number}")
    clock.advance(timedelta(days=2))
    first, same, other = (face.metrics(["1", "2"]) for face in faces)
    assert first == same
    assert first != other


def test_metrics_have_an_entry_for_every_id_asked_for(face: SandboxFace, clock: SimulatedClock) -> None:
    kept, gone = face.publish(GOOD, "1").remote_id, face.publish(OTHER, "2").remote_id
    face.delete(gone)
    clock.advance(timedelta(hours=3))
    readings = face.metrics([kept, gone, "99", "not an id", "9" * 40])
    assert list(readings) == [kept, gone, "99", "not an id", "9" * 40]
    assert [remote_id for remote_id, reading in readings.items() if reading is not None] == [kept]
    reading = readings[kept]
    assert reading is not None
    assert set(reading.metrics) == set(face.capabilities.metrics)
    assert reading.followers == 4000
    assert reading.at == START + timedelta(hours=3)
    assert face.metrics([]) == {}


def test_deleting_twice_or_what_never_was_is_no_error(face: SandboxFace, clock: SimulatedClock) -> None:
    remote_id = face.publish(GOOD, "1").remote_id
    face.delete(remote_id)
    clock.advance(timedelta(hours=1))
    face.delete(remote_id)
    face.delete("99")
    face.delete("nonsense")
    assert SandboxPost.objects.get().deleted_at == START
    assert list(face.history(None)) == []
    assert list(face.find("1", GOOD, timezone.now())), (
        "a key proves that its post was published, even if it is gone now"
    )


def test_history_starts_where_asked_and_runs_forward(face: SandboxFace, clock: SimulatedClock) -> None:
    texts = [f"Number {number} is a post about the weather in the north." for number in range(3)]
    for text in texts:
        face.publish(OutgoingPost(text), text)
        clock.advance(timedelta(hours=1))
    assert [post.text for post in face.history(None)] == texts
    assert [post.text for post in face.history(START + timedelta(hours=1))] == texts[1:]


def test_replies_point_to_a_post(face: SandboxFace) -> None:
    first = face.publish(GOOD, "1").remote_id
    face.publish(replace(OTHER, reply_to=first), "2")
    assert SandboxPost.objects.get(key="2").reply_to == first
    face.delete(first)
    with pytest.raises(FaceError, match="is gone"):
        face.publish(replace(OTHER, reply_to=first), "3")


def test_the_audience_dislikes_a_copy(face: SandboxFace) -> None:
    face.publish(GOOD, "1")
    face.publish(replace(GOOD, text=GOOD.text.upper()), "2")
    face.publish(OTHER, "3")
    [first, copy, other] = SandboxPost.objects.order_by("number")
    expected = Audience.load().expected([GOOD.text, GOOD.text.upper(), OTHER.text])
    assert first.expected == pytest.approx(expected[0])
    assert copy.expected == pytest.approx(expected[1] - 3.5)
    assert other.expected == pytest.approx(expected[2])


def test_good_posts_win_followers_who_see_the_next_post(face: SandboxFace, clock: SimulatedClock) -> None:
    face.publish(GOOD, "1")
    assert face.followers() == pytest.approx(4000)
    clock.advance(timedelta(days=2))
    won = face.followers()
    assert won > 4004
    second = face.publish(OTHER, "2").remote_id
    reading = face.metrics([second])[second]
    assert reading is not None
    assert reading.followers == round(won)


def test_a_world_keeps_the_settings_it_began_with(face: SandboxFace) -> None:
    face.publish(GOOD, "1")
    face.connection.settings = {"seed": 9, "followers": 1, "clock_speed": 50.0}
    face.connection.save()
    again = Connection.objects.get(pk=face.connection.pk).face
    assert again.clock_speed() == 1.0
    assert SandboxWorld.objects.get().seed == 5


def test_wrong_settings_are_told_and_stop_publishing(clock: SimulatedClock) -> None:
    face = connect("broken", clock_speed=-1)
    verification = face.verify()
    assert not verification.ok
    assert "Simulated minutes per real minute" in verification.missing[0]
    with pytest.raises(FaceError, match="settings are not valid") as caught:
        face.publish(GOOD, "1")
    assert caught.value.permanent
    assert connect("fine").verify().ok


def test_the_form_has_a_label_and_help_for_every_setting() -> None:
    form = SandboxForm({"seed": 1, "followers": 10, "clock_speed": 60})
    assert form.is_valid()
    assert form.cleaned_data == {"seed": 1, "followers": 10, "clock_speed": 60.0}
    assert all(field.label and field.help_text for field in form.fields.values())


def test_accounts_do_not_see_each_other(face: SandboxFace) -> None:
    face.publish(GOOD, "1")
    other = connect("other")
    assert list(other.history(None)) == []
    assert other.find("1", GOOD, timezone.now()) == []
    assert other.metrics(["1"]) == {"1": None}


def test_without_an_organization_nothing_is_read(face: SandboxFace) -> None:
    face.publish(GOOD, "1")
    with no_tenant(), pytest.raises(NoTenant):
        face.metrics(["1"])


def test_true_reward_is_the_audiences_expectation(face: SandboxFace) -> None:
    face.publish(GOOD, "1")
    texts = [GOOD.text, OTHER.text]
    assert true_reward(face.connection, texts) == Audience.load().expected(texts).tolist()
    assert true_reward(face.connection, []) == []
    with pytest.raises(ValueError, match="simulated"):
        true_reward(Connection(kind="x", name="real"), texts)
