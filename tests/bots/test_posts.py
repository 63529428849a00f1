"""From a text to an approved post."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from accounts import audit
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Post, PostImage
from bots.services import delivery, posts
from bots.services.posts import Draft
from bots.states import PostState
from faces.contract import OutgoingImage, OutgoingPost
from faces.registry import FACES
from tests.factories import PNG, World, client_of, make_bot, make_connection, make_image, make_post
from tests.fake_platform import FakePlatform, StubKind, fake_face

PICTURE = OutgoingImage(PNG, "image/png", "A red pixel")


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(blocklist=["forbidden"])


@pytest.fixture
def trusting(world: World) -> Any:
    """A bot whose posts are approved by themselves unless a rule objects."""
    with tenant(world.acme.pk):
        yield make_bot(blocklist=["forbidden"], approval=Bot.Approval.AUTO)


def test_a_bot_under_review_asks_a_person(bot: Bot) -> None:
    (post,) = posts.propose_posts(bot, [Draft("A new text")])
    assert (post.state, post.approved_sha256, post.arm) == (PostState.PENDING_REVIEW, "", Post.Arm.HUMAN)


def test_a_trusted_bots_post_is_approved_as_it_stands(trusting: Bot) -> None:
    (post,) = posts.propose_posts(trusting, [Draft("A new text")])
    assert (post.state, post.approved_by) == (PostState.APPROVED, "approval policy")
    assert post.approved_sha256 == post.payload_sha256 == posts.payload_sha256(OutgoingPost("A new text"))


def test_the_blocklist_blocks_whoever_approves(trusting: Bot) -> None:
    (post,) = posts.propose_posts(trusting, [Draft("This is FORBIDDEN here")])
    assert post.state == PostState.BLOCKED
    assert "forbidden" in post.verdicts.get(value="block").reason.lower()


def test_a_text_that_repeats_an_earlier_one_is_not_approved_by_itself(trusting: Bot) -> None:
    text = "A text that is quite long enough to be recognised when it comes around again"
    first, second = posts.propose_posts(trusting, [Draft(text), Draft(text)])
    assert first.state == PostState.APPROVED
    assert second.state != PostState.APPROVED


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (Draft(""), "text"),
        (Draft("  \n "), "text"),
        (Draft("a\0b"), "text"),
        (Draft("x" * 100_001), "text"),
        (Draft("x", images=(OutgoingImage(PNG, "image/png", " "),)), "images"),
        (Draft("x", images=(OutgoingImage(PNG, "image/svg+xml", "A picture"),)), "images"),
    ],
)
def test_what_could_never_be_a_post_is_refused(bot: Bot, draft: Draft, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        posts.propose_posts(bot, [Draft("A good one"), draft])
    assert list(refused.value.message_dict) == [field]
    assert not Post.objects.exists()  # all or none


@pytest.mark.parametrize(
    ("draft", "field"),
    [(Draft("x", images=(PICTURE,)), "images"), (Draft("x", reply_to="17"), "reply_to"), (Draft("x" * 11), "text")],
)
def test_a_platforms_limits_are_asked_for_by_capability(
    world: World, monkeypatch: pytest.MonkeyPatch, draft: Draft, field: str
) -> None:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(FakePlatform(), max_length=10)))
    with tenant(world.acme.pk), pytest.raises(ValidationError) as refused:
        posts.propose_posts(make_bot(make_connection("fake")), [draft])
    assert list(refused.value.message_dict) == [field]


def test_images_keep_their_bytes_and_their_words(bot: Bot) -> None:
    (post,) = posts.propose_posts(bot, [Draft("With a picture", images=(PICTURE,))])
    assert posts.outgoing(Post.objects.get(pk=post.pk)) == OutgoingPost("With a picture", (PICTURE,))
    assert post.payload_sha256 == posts.payload_sha256(OutgoingPost("With a picture", (PICTURE,)))


def test_a_picture_alone_is_a_post(bot: Bot) -> None:
    (post,) = posts.propose_posts(bot, [Draft("", images=(PICTURE,))])
    assert post.state == PostState.PENDING_REVIEW


def test_the_database_wants_words_for_every_image(bot: Bot) -> None:
    image = make_image(make_post(bot))
    with pytest.raises(DatabaseError, match="post_image_has_alt_text"), transaction.atomic():
        PostImage.objects.filter(pk=image.pk).update(alt_text="")


@pytest.mark.parametrize(
    "other",
    [
        OutgoingPost("Text!", (PICTURE,), "1"),
        OutgoingPost("Text", (), "1"),
        OutgoingPost("Text", (PICTURE,), "2"),
        OutgoingPost("Text", (OutgoingImage(PNG + b"\0", "image/png", "A red pixel"),), "1"),
        OutgoingPost("Text", (OutgoingImage(PNG, "image/gif", "A red pixel"),), "1"),
        OutgoingPost("Text", (OutgoingImage(PNG, "image/png", "A blue pixel"),), "1"),
        OutgoingPost("Text", (PICTURE, PICTURE), "1"),
    ],
)
def test_the_hash_covers_everything_that_would_be_sent(other: OutgoingPost) -> None:
    assert posts.payload_sha256(other) != posts.payload_sha256(OutgoingPost("Text", (PICTURE,), "1"))


def test_approving_signs_what_was_seen_with_who_did_it(bot: Bot) -> None:
    post = make_post(bot)
    with audit.acting(audit.Actor("alice@kilroy.example")):
        approved = posts.approve_post(post.pk, seen_sha256=post.payload_sha256)
    assert (approved.state, approved.approved_by) == (PostState.APPROVED, "alice@kilroy.example")
    assert approved.approved_sha256 == post.payload_sha256


def test_approving_what_has_changed_since_is_refused(bot: Bot) -> None:
    post = make_post(bot)
    posts.edit_post(post.pk, "Something quite different")
    with pytest.raises(ValidationError, match="edited after you opened it"):
        posts.approve_post(post.pk, seen_sha256=post.payload_sha256)
    assert Post.objects.get(pk=post.pk).state == PostState.PENDING_REVIEW


@pytest.mark.parametrize("state", ["approved", "scheduled", "rejected"])
def test_an_edited_post_needs_approval_again(trusting: Bot, state: str) -> None:
    """Even where posts are approved by themselves: a person has had a hand in it."""
    post = posts.edit_post(make_post(trusting, state).pk, "Something quite different")
    post.refresh_from_db()
    assert (post.state, post.text) == (PostState.PENDING_REVIEW, "Something quite different")
    assert (post.approved_sha256, post.approved_by, post.slot_utc, post.schedule) == ("", "", None, None)
    assert post.payload_sha256 == posts.payload_sha256(OutgoingPost("Something quite different"))


def test_editing_asks_the_rules_again(bot: Bot) -> None:
    post = make_post(bot, "approved")
    assert posts.edit_post(post.pk, "This is forbidden here").state == PostState.BLOCKED
    assert posts.edit_post(post.pk, "This is fine").state == PostState.PENDING_REVIEW
    assert not Post.objects.get(pk=post.pk).verdicts.filter(value="block").exists()


def test_editing_keeps_the_images_in_the_hash(bot: Bot) -> None:
    post = make_post(bot)
    make_image(post)
    edited = posts.edit_post(post.pk, "Another text")
    assert edited.payload_sha256 == posts.payload_sha256(OutgoingPost("Another text", (PICTURE,)))


def test_an_edit_that_is_refused_changes_nothing(bot: Bot) -> None:
    post = make_post(bot, "approved", "The old text")
    with pytest.raises(ValidationError):
        posts.edit_post(post.pk, "")
    post.refresh_from_db()
    assert (post.state, post.text) == (PostState.APPROVED, "The old text")


def test_declining_keeps_the_reason(bot: Bot) -> None:
    post = posts.decline_post(make_post(bot).pk, "not our tone")
    assert (post.state, post.decline_reason) == (PostState.DECLINED, "not our tone")


def test_cancelling_gives_the_slot_back(bot: Bot) -> None:
    post = posts.cancel_post(make_post(bot, "scheduled").pk)
    assert (post.state, post.slot_utc) == (PostState.CANCELLED, None)


def test_every_step_leaves_a_line(bot: Bot) -> None:
    (post,) = posts.propose_posts(bot, [Draft("A new text")])
    posts.edit_post(post.pk, "A better text")
    posts.approve_post(post.pk)
    posts.cancel_post(post.pk)
    found = AuditEntry.objects.filter(object_id=str(post.pk)).order_by("id").values_list("action", flat=True)
    assert list(found) == ["post.propose", "post.edit", "post.approve", "post.cancel"]


def test_what_was_not_approved_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone changes the text behind every service's back: the last check before sending finds it."""
    platform = FakePlatform()
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform)))
    with tenant(world.acme.pk):
        post = make_post(make_bot(make_connection("fake")), "queued")
        Post.objects.filter(pk=post.pk).update(text="Buy now!")
        assert delivery.deliver_post(post.pk) == PostState.CANCELLED
        post.refresh_from_db()
    assert (post.state, platform.published) == (PostState.CANCELLED, [])


def test_an_image_that_was_swapped_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = FakePlatform()
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, max_images=4)))
    with tenant(world.acme.pk):
        post = make_post(make_bot(make_connection("fake")), "queued")
        image = make_image(post)
        with open(image.file.path, "wb") as file:
            file.write(PNG + b"\0")
        assert delivery.deliver_post(post.pk) == PostState.CANCELLED
    assert platform.published == []


@pytest.mark.parametrize(
    ("kind", "settings", "text", "told"),
    [
        ("mastodon", {"max_characters": 60, "link_weight": 20}, " see https://example.org/a ", (24, 60, 0)),
        ("bluesky", {}, "👩‍👩‍👧‍👦" * 121, (121, 300, 25)),
        ("reddit", {}, "x" * 301, (301, 40_302, 1)),
        ("telegram", {}, "👍" * 2049, (4098, 4096, 2)),
        ("x", {}, "日本 example.com", (28, 280, 0)),
        ("discord", {}, "x" * 2001, (2001, 2000, 1)),
    ],
)
def test_the_composer_counts_by_the_platforms_own_counter(
    world: World, kind: str, settings: dict[str, Any], text: str, told: tuple[int, int, int]
) -> None:
    with tenant(world.acme.pk):
        bot = make_bot(make_connection(kind, settings=settings))
    answer = client_of(world.alice).post(f"/o/acme/bots/{bot.pk}/posts/count/", {"text": text})
    assert tuple(answer.json().values()) == told
