"""Sanctions: what each grade does, who can undo it, notice, appeal and end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import audit, clock
from accounts.models import AuditEntry, Notification
from accounts.services import pause_organization, resume_organization
from accounts.tenancy import tenant
from bots.models import Bot, Post, Sanction
from bots.services import bots, delivery, posts, removal, sanctions, scheduling
from bots.services.posts import Draft
from bots.states import PostState
from tests.factories import World, client_of, make_bot, make_connection, make_member, make_post
from tests.fake_platform import FakePlatform

OPERATOR = audit.Actor("operator olga")
SUSPENSION, REVIEW, WARNING = Sanction.Grade.SUSPENSION, Sanction.Grade.REVIEW, Sanction.Grade.WARNING


@pytest.fixture
def bot(world: World, without_keys: Any) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"), approval=Bot.Approval.AUTO)


def _impose(grade: str, bot: Bot | None = None, **more: Any) -> Sanction:
    with audit.acting(OPERATOR):
        return sanctions.impose(grade, "Spam in every thread.", bot=bot, **more)


def _deliver(bot: Bot) -> str | None:
    post = make_post(bot, PostState.QUEUED)
    return delivery.deliver_post(post.pk)


def test_a_suspended_bot_sends_nothing_and_cannot_be_resumed_by_its_people(bot: Bot, platform: FakePlatform) -> None:
    sanction = _impose(SUSPENSION, bot)
    bot.refresh_from_db()
    assert bot.paused_at is not None
    with pytest.raises(ValidationError, match=r"suspended by the operator.*appeal"):
        bots.resume_bot(bot)
    assert (_deliver(bot), platform.published) == (PostState.QUEUED, [])
    sanctions.lift(sanction.pk)
    bots.resume_bot(bot)
    assert _deliver(bot) == PostState.PUBLISHED


def test_the_sending_guard_holds_even_where_the_switch_was_turned_back(bot: Bot, platform: FakePlatform) -> None:
    _impose(SUSPENSION, bot)
    Bot.objects.update(paused_at=None)
    post = make_post(bot, PostState.QUEUED)
    assert (delivery.deliver_post(post.pk), platform.published) == (PostState.QUEUED, [])
    assert "suspended by the operator" in Post.objects.get(pk=post.pk).last_error


def test_a_suspended_organization_is_stopped_as_a_whole(world: World, bot: Bot, platform: FakePlatform) -> None:
    sanction = _impose(SUSPENSION)
    world.acme.refresh_from_db()
    assert world.acme.paused_at is not None
    with pytest.raises(ValidationError, match="suspended by the operator"):
        resume_organization(world.acme)
    with pytest.raises(ValidationError, match="suspended by the operator"):
        bots.resume_bot(bot)
    assert _deliver(bot) == PostState.QUEUED
    sanctions.lift(sanction.pk)
    world.acme.refresh_from_db()
    assert world.acme.paused_at is not None  # nothing is sent before its people say so
    resume_organization(world.acme)
    assert _deliver(bot) == PostState.PUBLISHED


def test_by_page_and_api_a_suspension_stays_too(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        _impose(SUSPENSION)
    alice = client_of(world.alice)
    answer = alice.post("/o/acme/resume/", follow=True)
    assert "suspended by the operator" in answer.content.decode()
    answer = alice.post(f"/o/acme/bots/{bot.pk}/resume/", follow=True)
    assert "suspended by the operator" in answer.content.decode()
    for path in (f"bots/{bot.pk}/resume/", "publishing/resume/", "resume/"):
        assert alice.post(f"/api/v1/organizations/acme/{path}").status_code == 400, path
    world.acme.refresh_from_db()
    assert world.acme.paused_at is not None


def test_under_review_no_post_is_approved_by_policy(bot: Bot, platform: FakePlatform) -> None:
    waiting = make_post(bot, PostState.SCHEDULED, approved_by="approval policy")
    due = make_post(bot, PostState.QUEUED, approved_by="approval policy")
    by_a_person = make_post(bot, PostState.APPROVED)
    sanction = _impose(REVIEW, bot)
    (post,) = posts.propose_posts(bot, [Draft("A new text")])
    states = {each: Post.objects.get(pk=each.pk).state for each in (waiting, by_a_person, post)}
    assert list(states.values()) == [PostState.PENDING_REVIEW, PostState.APPROVED, PostState.PENDING_REVIEW]
    assert (delivery.deliver_post(due.pk), platform.published) == (PostState.QUEUED, [])
    bot.refresh_from_db()
    assert (bot.approval, bot.paused_at) == (Bot.Approval.AUTO, None)  # its own setting is as it was
    sanctions.lift(sanction.pk)
    assert posts.propose_posts(bot, [Draft("One more text")])[0].state == PostState.APPROVED


def test_a_warning_changes_nothing(bot: Bot) -> None:
    _impose(WARNING, bot)
    assert posts.propose_posts(bot, [Draft("A new text")])[0].state == PostState.APPROVED
    assert _deliver(bot) == PostState.PUBLISHED


def test_a_sanction_ends_at_its_moment(bot: Bot) -> None:
    start = clock.now()
    sanction = _impose(SUSPENSION, bot, until=start + timedelta(days=1))
    with clock.simulated(start) as watch:
        assert sanctions.end_expired() == 0
        watch.advance(timedelta(days=1))
        bots.resume_bot(bot)  # at once, whatever beat does
        assert (sanctions.end_expired(), sanctions.end_expired()) == (1, 0)
    sanction.refresh_from_db()
    assert (sanction.lifted_at is not None, sanction.lifted_by) == (True, "its time was over")


def test_an_appeal_can_be_made_once_and_is_answered_by_the_operator(world: World, bot: Bot) -> None:
    sanction = _impose(SUSPENSION, bot)
    with audit.acting(audit.Actor("alice", world.alice)):
        sanctions.appeal(sanction.pk, "It was a mistake.")
        with pytest.raises(ValidationError, match="once"):
            sanctions.appeal(sanction.pk, "Really.")
    with audit.acting(OPERATOR):
        sanctions.decide_appeal(sanction.pk, False, "It was the third time.")
        with pytest.raises(ValidationError, match="no open appeal"):
            sanctions.decide_appeal(sanction.pk, True, "On second thoughts.")
    with pytest.raises(ValidationError, match="once"):
        sanctions.appeal(sanction.pk, "Again.")
    sanction.refresh_from_db()
    assert (sanction.appeal, sanction.appealed_by, sanction.lifted_at) == ("refused", "alice", None)


def test_a_granted_appeal_lifts_the_sanction(bot: Bot) -> None:
    sanction = _impose(SUSPENSION, bot)
    sanctions.appeal(sanction.pk, "It was not us.")
    sanctions.decide_appeal(sanction.pk, True, "Indeed.")
    bots.resume_bot(bot)
    assert Sanction.objects.get(pk=sanction.pk).lifted_at is not None


def test_its_people_are_told_and_it_is_on_record(world: World, bot: Bot) -> None:
    sanction = _impose(WARNING, bot)
    told = Notification.objects.get(user=world.alice, kind="sanction.imposed")
    assert (told.path, told.text) == ("/o/acme/sanctions/", "Spam in every thread.")
    line = AuditEntry.objects.get(action="sanction.impose")
    assert (line.actor, line.object_id, line.after["grade"]) == ("operator olga", str(sanction.pk), "warning")


def test_a_bot_under_a_sanction_cannot_be_deleted_to_begin_anew(bot: Bot) -> None:
    sanction = _impose(SUSPENSION, bot)
    with pytest.raises(ValidationError, match="under a sanction"):
        removal.delete_bot(bot)
    sanctions.lift(sanction.pk)
    removal.delete_bot(bot)


def test_the_page_shows_them_and_takes_appeals_of_those_who_may(world: World, bot: Bot) -> None:
    sanction = _impose(SUSPENSION, bot)
    address = f"/o/acme/sanctions/{sanction.pk}/appeal/"
    editor = make_member(world.acme, "editor").user
    assert client_of(editor).post(address, {"text": "Please"}).status_code == 403
    alice = client_of(world.alice)
    assert "Spam in every thread." in alice.get("/o/acme/sanctions/").content.decode()
    assert alice.post(address, {"text": ""}).status_code == 400
    assert "will appear here" in alice.post(address, {"text": "Please"}, follow=True).content.decode()
    again = alice.post(f"/api/v1/organizations/acme/sanctions/{sanction.pk}/appeal/", {"text": "Please"})
    assert (again.status_code, Sanction.objects.get().appeal_text) == (400, "Please")


def test_what_is_due_waits_where_an_organization_is_suspended(bot: Bot, bells: list[Any]) -> None:
    make_post(bot, PostState.SCHEDULED, slot_utc=clock.now())
    _impose(SUSPENSION)
    assert (scheduling.queue_due(), bells) == (0, [])


def test_a_suspension_of_a_paused_organization_leaves_its_pause_as_it_is(world: World, bot: Bot) -> None:
    pause_organization(world.acme)
    since = world.acme.paused_at
    _impose(SUSPENSION)
    world.acme.refresh_from_db()
    assert world.acme.paused_at == since
