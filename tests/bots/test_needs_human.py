"""Posts whose outcome nobody could find out: shown, told once, and settled by a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import AuditEntry, Notification
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, needs_human
from bots.states import IllegalTransition, PostState
from faces.contract import Face, FaceError, Published, RemotePost
from tests.factories import World, client_of, make_bot, make_connection, make_member, make_post, make_user
from tests.fake_platform import FakePlatform
from tests.telling import mailed

AT = timezone.now() - timedelta(hours=2)
PAGE = "/o/acme/needs-human/"


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"))


@pytest.fixture
def post(bot: Bot, without_keys: type[Face]) -> Post:
    return make_post(bot, "needs_human", "Where am I?", sent_at=AT, absences=1, last_error="Looked for twice.")


def _line(post: Post) -> dict[str, Any]:
    return dict(AuditEntry.objects.filter(object_id=str(post.pk)).latest("pk").after)


@pytest.mark.parametrize("reference", ["id-7", " https://fake.example/posts/7 "])
def test_what_a_person_found_is_checked_with_the_platform(post: Post, platform: FakePlatform, reference: str) -> None:
    platform.found = Published("id-7", "https://fake.example/posts/7", AT)
    needs_human.confirm_published(post.pk, reference)
    post.refresh_from_db()
    assert (post.state, post.remote_id, post.remote_url) == ("published", "id-7", "https://fake.example/posts/7")
    assert (post.published_at, post.last_error) == (AT, "")
    assert post.next_reading_at is not None
    told = {"state": "published", "remote_id": "id-7", "url": "https://fake.example/posts/7", "verified": True}
    assert _line(post) == told


def test_it_may_be_looked_up_by_its_id(post: Post, platform: FakePlatform) -> None:
    platform.found = FaceError("the list is down", permanent=False)
    platform.inbox = [RemotePost("9", "Where am I?", AT, url="https://fake.example/9")]
    needs_human.confirm_published(post.pk, "https://fake.example/9?utm=1")
    post.refresh_from_db()
    assert (post.remote_id, post.remote_url, _line(post)["verified"]) == ("9", "https://fake.example/9", True)


def test_where_the_platform_cannot_say_a_persons_word_is_taken_and_the_log_says_so(post: Post) -> None:
    needs_human.confirm_published(post.pk, "https://fake.example/@bot/11/")
    post.refresh_from_db()
    assert (post.remote_id, post.remote_url, post.published_at) == ("11", "https://fake.example/@bot/11/", AT)
    assert _line(post)["verified"] is False


def test_another_posts_outcome_is_refused(bot: Bot, post: Post) -> None:
    make_post(bot, "published", remote_id="11")
    with pytest.raises(ValidationError, match="Another post"):
        needs_human.confirm_published(post.pk, "11")


@pytest.mark.parametrize("reference", ["", "   ", "https://fake.example", "x" * 301])
def test_a_reference_that_can_be_none_is_refused(post: Post, reference: str) -> None:
    with pytest.raises(ValidationError, match="Paste the link"):
        needs_human.confirm_published(post.pk, reference)


def test_it_is_sent_again_when_a_person_says_so(post: Post, platform: FakePlatform) -> None:
    needs_human.send_again(post.pk)
    post.refresh_from_db()
    assert (post.state, post.absences, post.looked_for_at, post.sent_at) == ("queued", 0, None, None)
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED
    assert [key for _, key in platform.published] == [post.platform_key]
    assert AuditEntry.objects.filter(object_id=str(post.pk), action="post.send_again").count() == 1


def test_what_was_given_up_is_not_sent(post: Post, platform: FakePlatform) -> None:
    needs_human.give_up(post.pk)
    assert delivery.deliver_post(post.pk) is None
    post.refresh_from_db()
    assert (post.state, post.slot_utc, platform.published) == ("cancelled", None, [])


@pytest.mark.parametrize("state", [state for state in PostState if state != PostState.NEEDS_HUMAN])
def test_only_posts_that_need_a_person_are_decided_on(bot: Bot, without_keys: type[Face], state: str) -> None:
    other = make_post(bot, state)
    for verb in (needs_human.send_again, needs_human.give_up, lambda pk: needs_human.confirm_published(pk, "1")):
        with pytest.raises(IllegalTransition):
            verb(other.pk)


def test_the_page_shows_what_is_known_and_the_count_is_everywhere(world: World, post: Post) -> None:
    alice, bob = client_of(world.alice), client_of(world.bob)
    page = alice.get(PAGE).content.decode()
    for shown in ("Where am I?", "Looked for twice.", post.connection.name, f"{AT:%H:%M}"):
        assert shown in page
    home = alice.get("/o/acme/").content.decode()
    assert "1 post needs a person" in home
    assert "needs you" in home
    assert "needs you" not in bob.get("/o/acme/").content.decode()
    assert bob.get(PAGE).status_code == 403
    assert "needs you" in alice.get(f"/o/acme/bots/{post.pk}/").content.decode()  # a 404 page


def test_the_page_decides(world: World, bot: Bot, post: Post) -> None:
    alice = client_of(world.alice)
    others = [make_post(bot, "needs_human"), make_post(bot, "needs_human")]
    assert "Booked as published" in alice.post(f"{PAGE}{post.pk}/confirm/", {"reference": "1"}, follow=True).text
    assert "It is sent again" in alice.post(f"{PAGE}{others[0].pk}/send-again/", follow=True).text
    assert "It is not sent again" in alice.post(f"{PAGE}{others[1].pk}/give-up/", follow=True).text
    assert "cannot become" in alice.post(f"{PAGE}{post.pk}/give-up/", follow=True).text
    states = [Post.objects.values_list("state", flat=True).get(pk=each.pk) for each in (post, *others)]
    assert states == ["published", "queued", "cancelled"]


def test_the_api_decides(world: World, bot: Bot, post: Post) -> None:
    alice, base = client_of(world.alice), "/api/v1/organizations/acme/needs-human/"
    make_post(bot, "queued")
    assert [entry["id"] for entry in alice.get(base).json()["results"]] == [str(post.pk)]
    assert alice.post(f"{base}{post.pk}/confirm/", {}).status_code == 400
    assert alice.post(f"{base}{post.pk}/confirm/", {"reference": "5"}).json()["remote_id"] == "5"
    assert alice.post(f"{base}{post.pk}/send-again/").status_code == 409
    other = make_post(bot, "needs_human")
    assert alice.post(f"{base}{other.pk}/give-up/").json()["state"] == "cancelled"


def _land(bot: Bot) -> Post:
    """A post that nobody could find, from the moment on that this is known."""
    post = make_post(bot, "unknown", sent_at=AT, absences=1, looked_for_at=AT)
    assert delivery.settle(post, PostState.UNKNOWN, PostState.NEEDS_HUMAN, last_error="Looked for twice.")
    return post


def test_those_who_may_decide_are_told_once_of_however_many_there_are(
    world: World, bot: Bot, without_keys: type[Face]
) -> None:
    make_member(world.acme, "moderator", make_user("mo@kilroy.example"))
    first = _land(bot)
    assert mailed() == ["Kilroy: 1 post must be looked at"] * 2
    assert sorted(letter.to[0] for letter in mail.outbox) == ["alice@kilroy.example", "mo@kilroy.example"]
    second = _land(bot)
    assert len(mailed()) == 2
    row = Notification.objects.get(user=world.alice)
    assert (row.title, row.path, row.read_at) == ("2 posts must be looked at", PAGE, None)
    needs_human.give_up(first.pk)
    assert Notification.objects.filter(read_at=None).count() == 2
    needs_human.give_up(second.pk)
    assert not Notification.objects.filter(read_at=None).exists()  # there is nothing left to look at
    _land(bot)
    assert len(mailed()) == 4
