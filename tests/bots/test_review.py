"""Review: whose turn it is, decisions on what was seen, and taking them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import audit, clock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Decision, Post
from bots.services import posts, review, scheduling
from tests.factories import World, make_bot, make_post, make_schedule, make_verdict

ALICE, BOB = audit.Actor("alice@kilroy.example"), audit.Actor("bob@kilroy.example")
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk), audit.acting(ALICE):
        yield make_bot()


def made(bot: Bot, text: str, minutes: int = 0, **fields: Any) -> Post:
    post = make_post(bot, text=text, **fields)
    Post.objects.filter(pk=post.pk).update(created_at=START + timedelta(minutes=minutes))
    return post


def texts(bot: Bot, skipped: list[str] | None = None) -> list[str]:
    ids = review.in_order(bot, skipped or [])
    found = Post.objects.in_bulk(ids)
    return [found[pk].text for pk in ids]


def test_answers_come_first_then_what_teaches_most_and_flagged_posts_last(bot: Bot) -> None:
    flagged = made(bot, "flagged", 0, provenance={"predicted_sd": 9})
    make_verdict(flagged, value="flag")
    made(bot, "sure", 1, provenance={"predicted_sd": 0.2})
    made(bot, "a person's, waiting longer", 2)
    unsure = made(bot, "unsure", 3, provenance={"predicted_sd": 0.9})
    made(bot, "a person's", 4)
    made(bot, "an answer", 5, kind="reply", reply_to="remote-1")
    make_verdict(unsure)  # passed
    make_post(bot, "approved")
    make_post(make_bot())
    assert texts(bot) == ["an answer", "unsure", "sure", "a person's, waiting longer", "a person's", "flagged"]
    assert texts(bot, [str(unsure.pk)])[1] == "sure"
    assert review.waiting_count(bot) == 6


def test_of_many_posts_those_that_wait_longest_are_put_in_order(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "WINDOW", 2)
    made(bot, "late and unsure", 3, provenance={"predicted_sd": 5})
    made(bot, "second", 2, provenance={"predicted_sd": 1})
    made(bot, "first", 1)
    assert texts(bot) == ["second", "first"]


def test_whoever_comes_second_decides_nothing_and_hears_who_was_first(bot: Bot) -> None:
    post = make_post(bot, text="The first word counts")
    review.decide(post.pk, "approve", seen_sha256=post.payload_sha256)
    for choice in review.CHOICES:
        with audit.acting(BOB), pytest.raises(review.DecidedMeanwhile, match=r"alice@.* was faster: .*“approved”"):
            review.decide(post.pk, choice, seen_sha256=post.payload_sha256, text="Mine")
    assert list(Decision.objects.values_list("choice", "by")) == [("approved", ALICE.label)]
    assert Post.objects.get(pk=post.pk).text == post.text


def test_what_was_edited_meanwhile_is_looked_at_again(bot: Bot) -> None:
    post = make_post(bot, text="As Bob saw it")
    review.decide(post.pk, "edit", seen_sha256=post.payload_sha256, text="As Alice wrote it")
    with audit.acting(BOB), pytest.raises(review.DecidedMeanwhile, match=r"alice@kilroy\.example edited this post"):
        review.decide(post.pk, "approve", seen_sha256=post.payload_sha256)


def test_a_rewriting_that_a_rule_blocks_is_not_kept(bot: Bot) -> None:
    bot.blocklist = ["forbidden"]
    bot.save()
    post = make_post(bot, text="Harmless")
    with pytest.raises(ValidationError, match=r"A rule blocks this text: .*forbidden"):
        review.decide(post.pk, "edit", text="Quite forbidden")
    post.refresh_from_db()
    assert (post.text, post.state, Decision.objects.count()) == ("Harmless", "pending_review", 0)


def test_an_approval_is_taken_back_with_its_slot_and_leaves_no_lesson(bot: Bot) -> None:
    with clock.simulated(START):
        make_schedule(bot, created_at=START)
        post = make_post(bot)
        review.decide(post.pk, "approve")
        scheduling.fill_slots(bot)
        assert Post.objects.get().state == "scheduled"
        review.undo(post.pk)
        again = Post.objects.get()
    assert (again.state, again.slot_utc, again.schedule) == ("pending_review", None, None)
    assert (again.approved_sha256, again.approved_by, again.approved_at) == ("", "", None)
    assert not Decision.objects.exists()
    line = AuditEntry.objects.filter(action="post.undo").get()
    assert (line.actor, line.before["decision"], line.before["state"], line.after) == (
        ALICE.label, "approved", "scheduled", {"state": "pending_review"},
    )  # fmt: skip
    review.decide(post.pk, "approve")  # and again


def test_declining_and_rewriting_are_taken_back(bot: Bot) -> None:
    declined, edited = make_post(bot, text="Too loud"), make_post(bot, text="As the bot wrote it")
    review.decide(declined.pk, "decline", reason="Dull")
    review.decide(edited.pk, "edit", text="As a person would")
    review.undo(declined.pk)
    review.undo(edited.pk)
    declined.refresh_from_db()
    edited.refresh_from_db()
    assert (declined.state, declined.decline_reason) == ("pending_review", "")
    assert (edited.state, edited.text) == ("pending_review", "As the bot wrote it")
    assert edited.payload_sha256 == make_post(make_bot(), text="As the bot wrote it").payload_sha256
    assert not Decision.objects.exists()


def test_decisions_are_taken_back_one_by_one_the_last_first(bot: Bot) -> None:
    post = make_post(bot, text="One")
    review.decide(post.pk, "edit", text="Two")
    review.decide(post.pk, "approve")
    review.undo(post.pk)
    assert list(Decision.objects.values_list("choice", "original_text", "text")) == [("edited", "One", "Two")]
    assert (review.undo(post.pk).text, Decision.objects.count()) == ("One", 0)
    with pytest.raises(ValidationError, match="no decision on this post"):
        review.undo(post.pk)


@pytest.mark.parametrize("state", ["queued", "leased", "sending", "published", "unknown"])
def test_what_is_on_its_way_stays_on_its_way(bot: Bot, state: str) -> None:
    post = make_post(bot, state)
    decision = Decision.objects.create(post=post, choice="approved", text=post.text, by=ALICE.label, at=clock.now())
    with pytest.raises(
        ValidationError, match=f"too late to take this approval back: the post is “{post.get_state_display().lower()}”"
    ):
        review.undo(post.pk)
    assert Post.objects.get().state == state
    assert Decision.objects.get() == decision


def test_only_who_decided_takes_it_back(bot: Bot) -> None:
    post = make_post(bot)
    review.decide(post.pk, "decline")
    with audit.acting(BOB), pytest.raises(ValidationError, match=r"alice@kilroy\.example decided on this post"):
        review.undo(post.pk)
    assert review.last_decision(post.pk) is not None
    with audit.acting(BOB):
        assert review.last_decision(post.pk) is None


def test_what_somebody_changed_since_is_not_turned_back(bot: Bot) -> None:
    post = make_post(bot)
    review.decide(post.pk, "decline")
    with audit.acting(audit.SYSTEM):
        posts.edit_post(post.pk, "Another text")  # leaves no decision
    with pytest.raises(ValidationError, match="was changed since"):
        review.undo(post.pk)
    assert Post.objects.get().text == "Another text"


def test_bots_are_reviewed_one_after_the_other(bot: Bot) -> None:
    first, second = make_bot(name="Aster"), make_bot(name="Birch")
    one, other = make_post(first), make_post(second)
    assert review.bot_to_review() == first
    assert review.bot_to_review([str(one.pk)]) == second
    assert review.bot_to_review(first=second.pk) == second
    assert review.bot_to_review([str(one.pk), str(other.pk)]) is None
    assert review.waiting_count() == 2


def test_the_slot_that_a_post_would_get(bot: Bot) -> None:
    post = make_post(bot)
    assert review.when_sent(post) is None
    with clock.simulated(START + timedelta(minutes=1)):
        make_schedule(bot, created_at=START)
        make_post(bot, "scheduled", slot_utc=START + timedelta(hours=1))
        assert review.when_sent(post) == START + timedelta(hours=2)
        assert review.when_sent(make_post(bot, kind="reply", reply_to="1")) is None
