"""Takedowns: the evidence first, then the platform, again until it is done; and no way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from accounts import audit, clock
from accounts.models import AuditEntry, Notification
from accounts.tenancy import tenant
from bots.models import Bot, Post, Report, Takedown
from bots.services import delivery, oversight, posts, removal, reports, takedowns
from bots.states import IllegalTransition, PostState
from faces.contract import FaceError
from tests.factories import World, make_bot, make_connection, make_image, make_observation, make_post, make_verdict
from tests.fake_platform import FakePlatform

OPERATOR = audit.Actor("operator olga")


@pytest.fixture
def bot(world: World, without_keys: Any) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"))


@pytest.fixture
def refusing(without_keys: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The platform refuses to delete until it is told not to."""

    def refuse(self: Any, remote_id: str) -> None:
        raise FaceError("the platform is down", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr(without_keys, "delete", refuse)
        yield patch


def _take_down(post: Post, reason: str = "It threatens people.") -> Takedown:
    with audit.acting(OPERATOR):
        return takedowns.attempt(takedowns.take_down(post.pk, reason).pk)


def test_the_evidence_is_kept_and_the_post_is_gone(world: World, bot: Bot) -> None:
    post = make_post(bot, PostState.PUBLISHED, text="You will regret this", remote_url="https://fake.example/1")
    image, reading = make_image(post), make_observation(post)
    make_verdict(post, "links", "flag", reason="A link")
    Report.objects.create(post=post, category="threat", text="He means me.")
    takedown = _take_down(post)
    post.refresh_from_db()
    assert (post.state, takedown.removed_at is not None, takedown.next_attempt_at) == (PostState.DELETED, True, None)
    kept = takedown.evidence
    assert (kept["text"], kept["remote_url"]) == ("You will regret this", "https://fake.example/1")
    assert kept["images"] == [{"sha256": image.sha256, "media_type": "image/png", "alt_text": "A red pixel"}]
    assert kept["reactions"]["metrics"] == reading.metrics
    assert kept["verdicts"] == [{"rule": "links", "value": "flag", "reason": "A link"}]
    assert kept["reports"][0]["text"] == "He means me."


def test_it_is_on_record_its_people_are_told_and_its_reports_are_upheld(world: World, bot: Bot) -> None:
    post = make_post(bot, PostState.PUBLISHED)
    report = Report.objects.create(post=post, category="threat", reporter_email="ann@kilroy.example")
    _take_down(post)
    lines = set(AuditEntry.objects.filter(actor="operator olga").values_list("action", flat=True))
    assert lines == {"takedown.order", "takedown.attempt", "post.take_down", "report.decide"}
    assert Notification.objects.get(user=world.alice, kind="post.taken_down").path == "/o/acme/sanctions/"
    report.refresh_from_db()
    assert (report.state, report.decided_by) == ("upheld", "operator olga")


def test_a_platform_that_refuses_is_asked_again_until_it_obeys(bot: Bot, refusing: Any) -> None:
    post = make_post(bot, PostState.PUBLISHED)
    start = clock.now()
    with clock.simulated(start) as watch:
        takedown = _take_down(post)
        assert (takedown.removed_at, takedown.error) == (None, "The platform refused: the platform is down")
        assert (takedown.next_attempt_at, takedowns.sweep()) == (start + timedelta(minutes=2), 0)
        watch.advance(timedelta(minutes=2))
        assert takedowns.sweep() == 1
        takedown.refresh_from_db()
        assert (takedown.attempts, takedown.next_attempt_at) == (2, clock.now() + timedelta(minutes=4))
        refusing.undo()
        watch.advance(timedelta(minutes=4))
        takedowns.sweep()
    takedown.refresh_from_db()
    assert (takedown.attempts, takedown.removed_at is not None, takedown.error) == (3, True, "")
    assert Post.objects.get(pk=post.pk).state == PostState.DELETED


def test_the_operator_may_give_up_and_try_again(bot: Bot, refusing: Any) -> None:
    takedown = _take_down(make_post(bot, PostState.PUBLISHED))
    assert takedowns.give_up(takedown.pk).next_attempt_at is None
    with pytest.raises(ValidationError):
        takedowns.give_up(takedown.pk)
    refusing.undo()
    assert takedowns.attempt(takedowns.retry(takedown.pk).pk).removed_at is not None
    with pytest.raises(ValidationError):
        takedowns.retry(takedown.pk)


@pytest.mark.parametrize("state", ["pending_review", "approved", "scheduled", "queued", "needs_human", "rejected"])
def test_a_post_that_is_not_out_is_cancelled(bot: Bot, state: str) -> None:
    post = make_post(bot, state)
    assert _take_down(post).removed_at is not None
    assert Post.objects.get(pk=post.pk).state == PostState.CANCELLED


def test_a_post_on_its_way_is_held_and_dealt_with_once_it_is_known_where_it_is(
    bot: Bot, platform: FakePlatform
) -> None:
    post = make_post(bot, PostState.UNKNOWN)
    start = clock.now()
    with clock.simulated(start) as watch:
        assert "being sent" in _take_down(post).error
        Post.objects.filter(pk=post.pk).update(state=PostState.QUEUED, not_before=None)
        assert (delivery.deliver_post(post.pk), platform.published) == (PostState.QUEUED, [])
        watch.advance(timedelta(hours=1))
        takedowns.sweep()
    assert Post.objects.get(pk=post.pk).state == PostState.CANCELLED


def test_a_post_cannot_come_back_nor_be_taken_down_twice(bot: Bot) -> None:
    post = make_post(bot, PostState.PUBLISHED)
    _take_down(post)
    with pytest.raises(ValidationError, match="already"):
        takedowns.take_down(post.pk, "Again")
    with pytest.raises(IllegalTransition):
        posts.edit_post(post.pk, "Another text")
    with pytest.raises(DatabaseError), transaction.atomic():
        Post.objects.filter(pk=post.pk).update(state=PostState.APPROVED)


def test_the_evidence_stays_when_its_bot_is_deleted_and_the_platform_is_still_asked(bot: Bot, refusing: Any) -> None:
    post = make_post(bot, PostState.PUBLISHED, text="You will regret this")
    takedown, deleted = _take_down(post), []
    removal.delete_bot(bot, history=removal.DISCARD)
    takedown.refresh_from_db()
    assert (takedown.evidence["text"], Post.objects.filter(pk=post.pk).exists()) == ("You will regret this", False)
    refusing.setattr(bot.connection.face.__class__, "delete", lambda self, remote_id: deleted.append(remote_id))
    takedowns.retry(takedown.pk)
    assert takedowns.attempt(takedown.pk).removed_at is not None
    assert deleted == [post.remote_id]


def test_blocking_keeps_a_post_from_being_published_and_edited_away(bot: Bot) -> None:
    post = make_post(bot, PostState.SCHEDULED)
    oversight.block(post.pk, "Not this.")
    with pytest.raises(ValidationError, match="operator"):
        posts.edit_post(post.pk, "Something else")
    with pytest.raises(IllegalTransition):
        posts.approve_post(post.pk)
    assert Post.objects.get(pk=post.pk).verdicts.get(rule="operator").reason == "The operator: Not this."
    due = make_post(bot, PostState.QUEUED)
    assert oversight.block(due.pk, "Nor this.").state == PostState.CANCELLED


def test_dismissing_gives_a_blocked_post_back_to_its_people(bot: Bot) -> None:
    post = make_post(bot, PostState.BLOCKED)
    make_verdict(post, "pattern", "block", reason="It matches.")
    oversight.dismiss(post.pk, "A false alarm")
    post.refresh_from_db()
    verdict = post.verdicts.get()
    assert (post.state, verdict.value) == (PostState.PENDING_REVIEW, "pass")
    assert ("A false alarm" in verdict.reason, "It matches." in verdict.reason) == (True, True)
    with pytest.raises(ValidationError):
        oversight.dismiss(post.pk)


# Reports

ADDRESS = "https://fake.example/@bot/1"


def test_anybody_reports_a_post_by_its_link_however_it_is_spelled(bot: Bot) -> None:
    post = make_post(bot, PostState.PUBLISHED, remote_url=ADDRESS)
    for spelled in (ADDRESS, f"{ADDRESS}/", f"{ADDRESS}?from=me#x", ADDRESS.replace("fake", "FAKE")):
        report = reports.report_address(spelled, "spam", "Everywhere")
        assert getattr(report, "post_id", None) == post.pk, spelled
    assert reports.report_address("https://fake.example/@bot/2", "spam", "") is None


def test_a_report_finds_the_posts_organization_and_is_on_record_there(world: World, without_keys: Any) -> None:
    with tenant(world.globex.pk):
        make_post(make_bot(make_connection("fake")), PostState.PUBLISHED, remote_url=ADDRESS)
    reports.report_address(ADDRESS, "hate", "", "ann@kilroy.example")
    with tenant(world.globex.pk):
        line = AuditEntry.objects.get(action="report.create")
        assert (Report.objects.get().category, line.after["by"]) == ("hate", "somebody outside")
        assert "ann@kilroy.example" not in str(line.after)


def test_one_post_has_only_so_many_open_reports(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_OPEN", 2)
    make_post(bot, PostState.PUBLISHED, remote_url=ADDRESS)
    found = [reports.report_address(ADDRESS, "spam", "") for _ in range(3)]
    assert (found[2], Report.objects.count()) == (None, 2)


def test_whoever_left_an_address_is_told_of_the_decision(
    bot: Bot, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    post = make_post(bot, PostState.PUBLISHED)
    report = Report.objects.create(post=post, category="spam", reporter_email="ann@kilroy.example")
    with django_capture_on_commit_callbacks(execute=True):
        reports.decide(report.pk, False, "It is an advertisement that says so.")
    with pytest.raises(ValidationError):
        reports.decide(report.pk, True)
    (mail,) = mailoutbox
    assert (mail.to, "advertisement" in mail.body) == (["ann@kilroy.example"], True)
