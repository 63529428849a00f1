"""From a chosen post to a reply on the platform, and everything that stops it on the way."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models.functions import Now

from accounts.clock import SimulatedClock
from accounts.models import AuditEntry, Organization
from accounts.site import pause_site
from accounts.tenancy import tenant
from bots import tasks
from bots.models import Bot, Incoming, Post, ReplyCandidate, ReplyRules
from bots.reply_choice import Candidate
from bots.services import posts, replies, reply_sending, scheduling, watching
from bots.services.bots import pause_bot
from faces.contract import FaceError, Parent, RemotePost
from faces.registry import FACES
from tests.bots.replying import GOOD, START, answer, bot, can, chosen, deliver, look, mention, now, rules
from tests.factories import World, make_bot, make_connection, make_post, make_schedule
from tests.fake_platform import FakePlatform

__all__ = ["bot", "can", "now", "rules"]  # fixtures


def test_the_best_candidate_is_proposed_approved_and_sent_at_once(
    bot: Bot, rules: ReplyRules, platform: FakePlatform, transactional_db: None
) -> None:
    platform.inbox = [mention()]
    make_schedule(bot)
    look(rules)
    incoming = Incoming.objects.get()
    post = answer(incoming)
    assert post is not None
    assert (post.kind, post.reply_to, post.text, post.arm) == ("reply", "in-1", GOOD[0].text, "learning")
    assert (post.state, post.approved_by) == ("approved", "approval policy")
    assert post.provenance["incoming"] == str(incoming.pk)
    assert (post.provenance["version"], post.provenance["realism"], post.provenance["score"]) == (1, 0.9, 2.0)
    assert post.provenance["beaten"] == [["Who knows?", 1.0]]
    incoming.refresh_from_db()
    assert (incoming.state, incoming.answer, incoming.reason, incoming.lease_until) == (
        "answered",
        post,
        "A note.",
        None,
    )
    table = list(ReplyCandidate.objects.values_list("position", "text", "realism", "score", "verdict", "chosen"))
    assert table == [
        (0, GOOD[0].text, 0.9, 2.0, "", True),
        (1, "Who knows?", 0.8, 1.0, "Another one promised more.", False),
    ]
    make_post(bot, "approved")  # one that does wait for a slot
    assert scheduling.fill_all_slots() == 1
    post.refresh_from_db()
    assert (post.state, post.slot_utc) == ("approved", None)
    assert reply_sending.send_approved() == 1
    assert deliver(post) == "published"
    ((sent, _),) = platform.published
    assert (sent.text, sent.reply_to) == (GOOD[0].text, "in-1")
    assert reply_sending.send_approved() == 0
    assert look(rules) == [("in-1", "answered", "A note.")]


def test_by_default_a_person_approves_and_the_reply_goes_out_then(
    bot: Bot, rules: ReplyRules, platform: FakePlatform
) -> None:
    Bot.objects.update(approval="review")
    platform.inbox = [mention()]
    look(rules)
    post = answer(Incoming.objects.get())
    assert post is not None
    assert post.state == "pending_review"
    assert reply_sending.send_approved() == 0
    posts.approve_post(post.pk)
    tasks.send_replies()
    post.refresh_from_db()
    assert (post.state, post.slot_utc) == ("scheduled", START)


def test_a_reply_that_a_person_wrote_is_sent_at_once_too(bot: Bot) -> None:
    (post,) = posts.propose_posts(bot, [posts.Draft("Hello there.", reply_to="in-9")])
    assert reply_sending.send_approved() == 1
    post.refresh_from_db()
    assert post.state == "scheduled"


def test_replies_do_not_use_up_the_days_posts(bot: Bot, now: SimulatedClock) -> None:
    Bot.objects.update(posts_per_day=1)
    make_post(bot, "published", kind="reply", reply_to="in-9", slot_utc=START - timedelta(minutes=1))
    make_schedule(bot, interval_seconds=60)
    post = make_post(bot, "approved")
    scheduling.fill_all_slots()
    post.refresh_from_db()
    assert (post.state, post.slot_utc is not None and post.slot_utc.date()) == ("scheduled", START.date())


@pytest.mark.parametrize(
    ("fields", "capabilities", "field"),
    [
        ({"active": True}, {"can_reply": False}, "active"),
        ({"active": True}, {"reads": frozenset({"history"})}, "active"),
        ({"communities": ["moon"], "community_permission": "https://x"}, {}, "communities"),
        ({"communities": ["moon"]}, {"replies": "community"}, "community_permission"),
        ({"oldest_minutes": 5, "youngest_minutes": 5}, {}, "oldest_minutes"),
        ({"keywords": [" "]}, {}, "keywords"),
        ({"languages": "en"}, {}, "languages"),
        ({"least_realism": 1.5}, {}, "least_realism"),
        ({"candidates": 65}, {}, "candidates"),
        ({"per_hour": 0}, {}, "per_hour"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    bot: Bot, can: Any, fields: dict[str, Any], capabilities: dict[str, Any], field: str
) -> None:
    can(**capabilities)
    with pytest.raises(ValidationError) as refused:
        replies.change_rules(bot, **fields)
    assert set(refused.value.message_dict) == {field}
    assert not ReplyRules.objects.exists()


def test_changing_the_rules_is_audited(bot: Bot, rules: ReplyRules) -> None:
    line = AuditEntry.objects.get(action="replies.change")
    assert (line.before, line.after) == ({"active": False}, {"active": True})


@pytest.mark.parametrize("stop", ["bot", "organization", "site", "connection", "rules"])
def test_a_bot_that_is_held_does_nothing(
    bot: Bot, rules: ReplyRules, platform: FakePlatform, stop: str, settings: Any, tmp_path: Any
) -> None:
    settings.VAR = tmp_path
    platform.inbox = [mention()]
    waiting = chosen(bot, 7)
    reply = make_post(bot, "approved", kind="reply", reply_to="in-8")
    chosen(bot, 8, state="answered", answer=reply)
    if stop == "bot":
        pause_bot(bot)
    if stop == "organization":
        Organization.objects.update(paused_at=START)
    if stop == "site":
        pause_site()
    if stop == "connection":
        type(bot.connection).objects.update(state="broken", problem="Wrong token")
    if stop == "rules":
        ReplyRules.objects.update(active=False)
    assert watching.ring_due() == 0
    assert len(look(rules)) == 2
    assert list(replies.waiting()) == []
    assert replies.claim(waiting.pk) is None
    if stop != "rules":  # what was approved before somebody turned replies off is sent
        assert reply_sending.send_approved() == 0
        assert reply_sending.send_reply(reply.pk) is False


def test_a_claimed_post_is_nobody_elses(bot: Bot, rules: ReplyRules, platform: FakePlatform) -> None:
    incoming, platform.inbox = chosen(bot), [mention()]
    first = replies.claim(incoming.pk)
    assert first is not None
    assert replies.claim(incoming.pk) is None
    assert list(replies.waiting()) == []
    Incoming.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert [row.pk for row in replies.waiting()] == [incoming.pk]
    second = replies.claim(incoming.pk)
    assert second is not None
    arguments: Any = {"version_id": uuid.uuid4(), "provenance": {}}
    assert replies.propose(first, GOOD, **arguments) is None
    assert not Post.objects.exists()
    assert not replies.skip(first, "Too late.")
    assert replies.propose(second, GOOD, **arguments) is not None


def test_a_post_that_breaks_every_attempt_is_given_up(bot: Bot, rules: ReplyRules) -> None:
    incoming = chosen(bot)
    for _ in range(replies.MOST_TRIES):
        assert replies.claim(incoming.pk) is not None
        Incoming.objects.update(lease_until=None)
    assert replies.claim(incoming.pk) is None
    incoming.refresh_from_db()
    assert (incoming.state, incoming.reason.strip()) == ("failed", "It broke off 6 times.")


@pytest.mark.parametrize("closed", ["", "the thread is locked"])
def test_what_went_away_before_it_was_answered_is_skipped(
    bot: Bot, rules: ReplyRules, platform: FakePlatform, closed: str
) -> None:
    incoming = chosen(bot)
    platform.inbox = [mention(1, closed=closed)] if closed else []
    assert answer(incoming) is None
    incoming.refresh_from_db()
    assert incoming.state == "skipped"
    assert incoming.reason == f"Nobody can answer it any more: {closed or 'it was deleted'}."
    assert not Post.objects.exists()


def test_a_platform_that_cannot_be_asked_leaves_the_post_for_later(
    monkeypatch: pytest.MonkeyPatch, bot: Bot, rules: ReplyRules
) -> None:
    def refuse(self: Any, remote_id: str) -> None:
        raise FaceError("Down for a minute.", permanent=False)

    monkeypatch.setattr(FACES["fake"].load(), "look_up", refuse)
    incoming = chosen(bot)
    assert answer(incoming) is None
    incoming.refresh_from_db()
    assert (incoming.state, incoming.reason) == ("chosen", "Down for a minute.")
    assert incoming.lease_until is not None
    assert list(replies.waiting()) == []


def test_what_the_rules_block_is_passed_over(bot: Bot, rules: ReplyRules, platform: FakePlatform) -> None:
    bot.blocklist = ["full"]
    bot.save()
    platform.inbox = [mention()]
    long = Candidate(" ".join(["So much to say."] * 30), 0.9, 3.0, shared_run=0)
    unreal = Candidate("No.", 0.1, 0.5, "It passes for a person's with probability 0.10.")
    post = answer(chosen(bot), [unreal, GOOD[0], GOOD[1], long])
    assert post is not None
    assert post.text == "Who knows?"
    assert list(ReplyCandidate.objects.values_list("text", "verdict", "chosen")) == [
        (long.text, f"The text has 479 characters; {bot.connection} takes at most 280.", False),
        (GOOD[0].text, "The text holds “full”, which is on this bot's blocklist.", False),
        ("Who knows?", "", True),
        ("No.", "It passes for a person's with probability 0.10.", False),
    ]


def test_no_good_candidate_is_a_failure_with_all_of_them_kept(
    bot: Bot, rules: ReplyRules, platform: FakePlatform
) -> None:
    platform.inbox = [mention()]
    incoming = chosen(bot)
    assert answer(incoming, [Candidate("No.", 0.1, 0.5, "Too unreal.")]) is None
    incoming.refresh_from_db()
    assert (incoming.state, incoming.reason) == ("failed", "None of the candidates may be sent.")
    assert ReplyCandidate.objects.get().verdict == "Too unreal."


def test_a_candidate_that_nobody_compared_with_the_training_texts_waits_for_a_person(
    bot: Bot, rules: ReplyRules, platform: FakePlatform
) -> None:
    platform.inbox = [mention()]
    post = answer(chosen(bot), [Candidate("The moon is full.", 0.9, 1.0)])
    assert post is not None
    assert post.state == "pending_review"


def test_caps_are_counted_again_when_an_answer_is_proposed(bot: Bot, rules: ReplyRules, platform: FakePlatform) -> None:
    replies.change_rules(bot, per_thread=1)
    platform.inbox = [mention(1), mention(2)]
    first, second = chosen(bot, 1, root_id="one"), chosen(bot, 2, root_id="one")
    assert answer(first) is not None
    assert answer(second) is None
    second.refresh_from_db()
    assert (second.state, second.reason) == ("skipped", "The thread has had its 1 answers.")
    assert second.candidates.count() == len(GOOD)


def test_caps_are_counted_again_when_replies_are_sent(
    bot: Bot, rules: ReplyRules, platform: FakePlatform, now: SimulatedClock
) -> None:
    """Approved all at once by a person who came back from a holiday."""
    Bot.objects.update(approval="review")
    numbers = range(1, 5)
    platform.inbox = [mention(number) for number in numbers]
    rows = [chosen(bot, number, root_id="one" if number < 3 else f"root-{number}") for number in numbers]
    made = [answer(row, [Candidate(f"Answer {row.remote_id}", 0.9, 1.0, shared_run=0)]) for row in rows]
    replies.change_rules(bot, per_thread=1, per_hour=2)
    for post in made:
        assert post is not None
        posts.approve_post(post.pk)
        now.advance(timedelta(seconds=1))
    assert reply_sending.send_approved() == 2
    assert list(Post.objects.order_by("reply_to").values_list("state", "last_error")) == [
        ("scheduled", ""),
        ("cancelled", "The thread has had its 1 answers."),
        ("scheduled", ""),
        ("approved", "The bot has given its 2 answers of an hour."),
    ]
    assert Incoming.objects.get(remote_id="in-2").state == "skipped"
    assert reply_sending.send_approved() == 0
    now.advance(timedelta(minutes=61))
    Post.objects.update(not_before=None)
    assert reply_sending.send_approved() == 1


def test_a_reply_is_withdrawn_when_its_post_goes_away_before_it_is_sent(
    bot: Bot, rules: ReplyRules, platform: FakePlatform
) -> None:
    platform.inbox = [mention()]
    incoming = chosen(bot)
    post = answer(incoming)
    assert post is not None
    platform.inbox = []
    assert reply_sending.send_approved() == 0
    post.refresh_from_db()
    incoming.refresh_from_db()
    assert (post.state, incoming.state) == ("cancelled", "skipped")
    assert post.last_error == incoming.reason == "Nobody can answer it any more: it was deleted."


def test_a_reply_that_waited_too_long_is_withdrawn(
    bot: Bot, rules: ReplyRules, platform: FakePlatform, now: SimulatedClock
) -> None:
    platform.inbox = [mention()]
    post = answer(chosen(bot))
    assert post is not None
    now.advance(timedelta(minutes=rules.oldest_minutes + 1))
    assert reply_sending.send_approved() == 0
    post.refresh_from_db()
    assert post.state == "cancelled"


def test_two_bots_that_answer_bots_stop_at_their_caps(
    world: World, platform: FakePlatform, can: Any, now: SimulatedClock
) -> None:
    """Both live on one platform, whose every reply lands in the other's inbox at once."""
    with tenant(world.acme.pk):
        pair = [make_bot(make_connection("fake", account=name), name=name, approval="auto") for name in ("kim", "lou")]
        rules = [
            replies.change_rules(each, active=True, answer_bots=True, per_thread=50, deepest=1000, per_author=4)
            for each in pair
        ]
        thread = [mention(1, remote_id="said-0", author="kim", root_id="said-0", author_is_bot=True, at=START)]
        turns = 0
        for turn in range(40):
            now.advance(timedelta(minutes=10))
            me = (turn + 1) % 2
            platform.inbox = [post for post in thread if post.author != pair[me].name]
            look(rules[me])
            for incoming in Incoming.objects.filter(bot=pair[me], state="chosen"):
                text = f"{turn} {uuid.uuid4().hex[:9]} is my answer number {turn}"
                post = answer(incoming, [Candidate(text, 0.9, 1.0, shared_run=0)])
                assert post is not None
                assert reply_sending.send_approved() == 1
                assert deliver(post) == "published"
                Post.objects.filter(pk=post.pk).update(remote_id=f"said-{turn + 1}")
                thread.append(
                    RemotePost(
                        f"said-{turn + 1}",
                        text,
                        now.current,
                        author=pair[me].name,
                        root_id="said-0",
                        summoned=True,
                        reply_to=incoming.remote_id,
                        parents=(Parent("x", "y"),),
                        author_is_bot=True,
                    )
                )
                turns += 1
        assert turns == 8
        reasons = set(Incoming.objects.filter(state="skipped").values_list("reason", flat=True))
        assert "Its author has had 4 answers in 24 hours." in reasons
