"""Looking for posts to answer: what is read, what is kept, and with which reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.clock import SimulatedClock
from bots import tasks
from bots.models import Bot, Incoming, ReplyRules
from bots.services import replies, watching
from faces import governor
from faces.contract import FaceError, Parent, RemotePost
from faces.models import Connection
from faces.registry import FACES
from tests.bots.replying import START, bot, can, look, mention, now, rules
from tests.factories import make_connection, make_post
from tests.fake_platform import FakePlatform

__all__ = ["bot", "can", "now", "rules"]  # fixtures


def test_a_mention_is_kept_and_chosen_and_the_bell_is_rung(
    rules: ReplyRules, platform: FakePlatform, bells: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    platform.inbox = [mention(root_id="root", depth=1, parents=(Parent("bo", "Look at the moon!"),), url="https://x/1")]
    with django_capture_on_commit_callbacks(execute=True):
        assert look(rules) == [("in-1", "chosen", "")]
    row = Incoming.objects.get()
    assert (row.author, row.text, row.url) == ("ann1", "@kilroy what about the moon, part 1?", "https://x/1")
    assert (row.root_id, row.depth, row.parents, row.summoned) == ("root", 1, [["bo", "Look at the moon!"]], True)
    assert row.seen_at == START
    assert bells == [(replies.ANSWER, [str(rules.organization_id), str(row.pk)])]


def test_off_by_default(bot: Bot, platform: FakePlatform) -> None:
    rules = ReplyRules.objects.create(bot=bot)
    platform.inbox = [mention()]
    assert (rules.active, look(rules), watching.ring_due()) == (False, [], 0)


def test_nothing_is_kept_twice_and_only_what_is_new_is_read(
    monkeypatch: pytest.MonkeyPatch, rules: ReplyRules, platform: FakePlatform, now: SimulatedClock
) -> None:
    platform.inbox = [mention(1), mention(2)]
    assert [row[0] for row in look(rules)] == ["in-1", "in-2"]
    rules.refresh_from_db()
    assert datetime.fromisoformat(rules.cursors[watching.INBOX]) == mention(2).at
    asked = []
    face = FACES["fake"].load()
    inbox: Any = face.inbox

    def remembering(self: Any, since: Any, community: str = "") -> Any:
        asked.append(since)
        return inbox(self, since, community)

    monkeypatch.setattr(face, "inbox", remembering)
    late = mention(3, at=mention(2).at - timedelta(minutes=5))
    platform.inbox = [mention(1), late, mention(2)]
    assert [row[0] for row in look(rules)] == ["in-3", "in-1", "in-2"]
    assert asked == [mention(2).at - watching.OVERLAP]


def test_a_look_that_stops_at_its_bound_goes_on_at_the_next(
    monkeypatch: pytest.MonkeyPatch, rules: ReplyRules, platform: FakePlatform
) -> None:
    monkeypatch.setattr(watching, "MOST_AT_ONCE", 2)
    platform.inbox = [mention(number) for number in range(1, 6)]
    assert [len(look(rules)) for _ in range(3)] == [2, 4, 5]


def test_a_young_post_is_left_for_later_and_then_found(bot: Bot, platform: FakePlatform, now: SimulatedClock) -> None:
    rules = replies.change_rules(bot, active=True, youngest_minutes=20, oldest_minutes=60)
    platform.inbox = [mention(5), mention(15), mention(25), mention(26, at=START + timedelta(minutes=11))]
    assert [row[0] for row in look(rules)] == ["in-5"]
    now.advance(timedelta(minutes=35))
    assert [row[:2] for row in look(rules)] == [
        ("in-5", "chosen"),
        ("in-15", "chosen"),
        ("in-25", "chosen"),
        ("in-26", "chosen"),
    ]


def test_every_post_seen_has_its_reason(bot: Bot, rules: ReplyRules, platform: FakePlatform) -> None:
    bot.blocklist = ["spam"]
    bot.save()
    own = make_post(bot, "published", remote_id="own-1")
    make_post(bot, "published", reply_to="in-4")
    make_connection("fake", account="@other_kilroy")
    platform.inbox = [
        mention(1, author="Kilroy"),
        mention(2, remote_id=own.remote_id),
        mention(3, author_is_bot=True),
        mention(4),
        mention(5, closed="the thread is locked"),
        mention(6, text="Buy my spam!"),
        mention(7, summoned=False),
        mention(8, author="other_kilroy"),
        mention(9),
    ]
    assert [row[1:] for row in look(rules)] == [
        ("skipped", "It is the account's own post."),
        ("skipped", "It is the account's own post."),
        ("skipped", "Its author is an automated account."),
        ("skipped", "The account has answered it already."),
        ("skipped", "Nobody can answer it: the thread is locked."),
        ("skipped", "It holds “spam”, which is on this bot's blocklist."),
        ("skipped", "Nobody asked: it neither mentions the account nor answers it."),
        ("skipped", "Its author is an automated account."),
        ("chosen", ""),
    ]


def test_comments_are_told_from_mentions_by_our_own_posts(bot: Bot, platform: FakePlatform) -> None:
    rules = replies.change_rules(bot, active=True, comments=False)
    make_post(bot, "published", remote_id="own-1")
    platform.inbox = [mention(1, reply_to="own-1"), mention(2, reply_to="else-1", parents=(Parent("bo", "Hm"),))]
    assert [row[1:] for row in look(rules)] == [("skipped", "Comments are not answered."), ("chosen", "")]


def test_a_comment_without_its_thread_is_looked_up_first(
    monkeypatch: pytest.MonkeyPatch, rules: ReplyRules, platform: FakePlatform
) -> None:
    bare, gone = mention(1, reply_to="x", depth=0), mention(2, reply_to="y")
    whole = mention(1, reply_to="x", depth=1, root_id="x", parents=(Parent("bo", "Look!"),), summoned=False)
    face = FACES["fake"].load()
    monkeypatch.setattr(face, "look_up", lambda self, remote_id: whole if remote_id == "in-1" else None)
    platform.inbox = [bare, gone]
    assert look(rules) == [("in-1", "chosen", ""), ("in-2", "skipped", "Nobody can answer it: it was deleted.")]
    assert Incoming.objects.get(remote_id="in-1").parents == [["bo", "Look!"]]


def test_language_is_heard_where_the_platform_does_not_say(bot: Bot, platform: FakePlatform) -> None:
    rules = replies.change_rules(bot, active=True, languages=["en"])
    german = "Ich weiß nicht, warum der Mond heute so hell ist und was das für uns bedeutet."
    platform.inbox = [mention(1, text=german), mention(2, language="de"), mention(3)]
    assert [row[1] for row in look(rules)] == ["skipped", "skipped", "chosen"]


def test_communities_are_read_only_where_platform_and_permission_allow(
    bot: Bot, platform: FakePlatform, can: Any
) -> None:
    can(replies="community")
    fields = {"active": True, "communities": ["moon"], "mentions": False, "comments": False}
    rules = replies.change_rules(bot, **fields, community_permission="https://moon.example/rules")
    platform.inbox = [mention(1, summoned=False)]
    assert look(rules) == [("in-1", "chosen", "")]
    assert Incoming.objects.get().community == "moon"
    ReplyRules.objects.update(community_permission="")
    platform.inbox.append(mention(2, summoned=False))
    assert len(look(rules)) == 1
    can(replies="summoned")
    ReplyRules.objects.update(community_permission="https://moon.example/rules")
    assert len(look(rules)) == 1


def test_what_a_platform_says_no_to_is_noted_and_forgotten_when_it_works_again(
    monkeypatch: pytest.MonkeyPatch, rules: ReplyRules, platform: FakePlatform
) -> None:
    def refuse(self: Any, since: Any, community: str = "") -> list[RemotePost]:
        raise FaceError("The platform is down.", permanent=False)

    face = FACES["fake"].load()
    with monkeypatch.context() as broken:
        broken.setattr(face, "inbox", refuse)
        assert look(rules) == []
    rules.refresh_from_db()
    assert rules.problem == "The platform is down."
    platform.inbox = [mention()]
    assert len(look(rules)) == 1
    rules.refresh_from_db()
    assert rules.problem == ""


def test_what_is_read_is_paid_for_once_a_day_and_not_beyond_the_budget(
    monkeypatch: pytest.MonkeyPatch, rules: ReplyRules, platform: FakePlatform, now: SimulatedClock
) -> None:
    monkeypatch.setattr(FACES["fake"].load(), "read_price", lambda self, remote_ids: 5_000 * len(remote_ids))
    connection = rules.bot.connection
    Connection.objects.update(daily_budget="0.01")
    platform.inbox = [mention(1), mention(2)]
    assert len(look(rules)) == 2
    assert governor.spent_today(connection) == 10_000
    platform.inbox.append(mention(3))
    assert len(look(rules)) == 2
    rules.refresh_from_db()
    assert "of today's budget $0.000 is left" in rules.problem
    assert governor.spent_today(connection) == 10_000
    Connection.objects.update(daily_budget=None)
    now.advance(timedelta(minutes=1))
    Connection.objects.update(read_after=None)
    assert len(look(rules)) == 3
    assert governor.spent_today(connection) == 15_000  # the first two were billed already


def test_refused_credentials_break_the_connection(monkeypatch: pytest.MonkeyPatch, bot: Bot, rules: ReplyRules) -> None:
    def refuse(self: Any, since: Any, community: str = "") -> list[RemotePost]:
        raise FaceError("The token was revoked.", permanent=True, credentials=True)

    monkeypatch.setattr(FACES["fake"].load(), "inbox", refuse)
    look(rules)
    bot.connection.refresh_from_db()
    assert (bot.connection.state, bot.connection.problem) == ("broken", "The token was revoked.")


def test_two_bells_make_one_look(rules: ReplyRules, platform: FakePlatform) -> None:
    platform.inbox = [mention()]
    assert watching.ring_due() == 1
    tasks.look_for_posts(str(rules.organization_id), rules.pk)
    platform.inbox.append(mention(2))
    tasks.look_for_posts(str(rules.organization_id), rules.pk)
    assert Incoming.objects.count() == 1
    assert watching.ring_due() == 0


def test_caps_count_what_is_promised_when_posts_are_chosen(bot: Bot, platform: FakePlatform) -> None:
    rules = replies.change_rules(bot, active=True, per_thread=2, per_author=3, per_hour=5)
    platform.inbox = [mention(number, author="Ann", root_id="one") for number in (1, 2, 3)]
    platform.inbox += [mention(number, author="ann", root_id=f"root-{number}") for number in (4, 5)]
    platform.inbox += [mention(number) for number in (6, 7, 8)]
    assert [row[1:] for row in look(rules)] == [
        ("chosen", ""),
        ("chosen", ""),
        ("skipped", "The thread has had its 2 answers."),
        ("chosen", ""),
        ("skipped", "Its author has had 3 answers in 24 hours."),
        ("chosen", ""),
        ("chosen", ""),
        ("skipped", "The bot has given its 5 answers of an hour."),
    ]
