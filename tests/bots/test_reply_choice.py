"""Which posts a bot answers, and with which candidate: each rule with its reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bots import reply_choice
from bots.models import ReplyRules
from bots.reply_choice import Candidate, Circumstances, Taken
from faces.contract import RemotePost

POST = RemotePost(
    "1", "Why is the moon so bright tonight?", datetime(2026, 3, 4, tzinfo=UTC), author="ann", summoned=True
)
KNOWN = Circumstances(age=30, source="mention")


def objection(rules: dict[str, Any], post: dict[str, Any], known: dict[str, Any]) -> str:
    return reply_choice.objection(ReplyRules(**rules), replace(POST, **post), replace(KNOWN, **known))


@pytest.mark.parametrize(
    ("rules", "post", "known", "reason"),
    [
        ({}, {}, {"own": True}, "It is the account's own post."),
        ({}, {"closed": "the thread is locked"}, {}, "Nobody can answer it: the thread is locked."),
        ({}, {"is_repost": True}, {}, "It is a repost."),
        ({}, {}, {"answered": True}, "The account has answered it already."),
        ({}, {"text": " \n"}, {}, "It has no words."),
        ({}, {}, {"by_bot": True}, "Its author is an automated account."),
        ({}, {"summoned": False}, {}, "Nobody asked: it neither mentions the account nor answers it."),
        ({"mentions": False}, {}, {}, "Mentions are not answered."),
        ({"comments": False}, {}, {"source": "comment"}, "Comments are not answered."),
        ({"oldest_minutes": 29}, {}, {}, "It is 30 minutes old; at most 29 are allowed."),
        ({"deepest": 4}, {"depth": 5}, {}, "It stands below 5 other posts; at most 4 are allowed."),
        ({"least_score": 3}, {"metrics": {"likes": 2}}, {}, "It has 2 likes; at least 3 are asked for."),
        ({"least_score": 0}, {"metrics": {}}, {}, "The platform does not say how many likes it has."),
        ({"keywords": ["sun", "moons"]}, {}, {}, "It holds none of the keywords."),
        ({"languages": ["de", "fr"]}, {}, {"language": "en"}, "It is in another language (en)."),
        ({}, {}, {"blocklist": ("loud", "Moon")}, "It holds “Moon”, which is on this bot's blocklist."),
    ],
)
def test_a_post_that_is_not_answered_has_its_reason(
    rules: dict[str, Any], post: dict[str, Any], known: dict[str, Any], reason: str
) -> None:
    assert objection(rules, post, known) == reason


@pytest.mark.parametrize(
    ("rules", "post", "known"),
    [
        ({}, {}, {}),
        ({"answer_bots": True}, {}, {"by_bot": True}),
        ({"mentions": False}, {}, {"source": "comment"}),
        ({"comments": False}, {}, {}),
        ({}, {"summoned": False}, {"source": "community", "community_allowed": True}),
        ({"oldest_minutes": 30, "deepest": 4}, {"depth": 4}, {}),
        ({"least_score": 3}, {"metrics": {"likes": 3}}, {}),
        ({"keywords": ["sun", "moon"]}, {}, {}),
        ({"languages": ["de", "en"]}, {}, {"language": "en"}),
        ({"languages": ["de"]}, {}, {"language": ""}),
        ({}, {}, {"blocklist": ("moonshine",)}),
    ],
)
def test_a_post_within_the_rules_is_answered(
    rules: dict[str, Any], post: dict[str, Any], known: dict[str, Any]
) -> None:
    assert objection(rules, post, known) == ""


def test_a_post_is_left_for_later_until_it_is_old_enough() -> None:
    rules = ReplyRules(youngest_minutes=10)
    assert [reply_choice.too_young(rules, age) for age in (0, 9.9, 10)] == [True, True, False]


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (Taken(1, 2, 9), ""),
        (Taken(thread=2), "The thread has had its 2 answers."),
        (Taken(author=3), "Its author has had 3 answers in 24 hours."),
        (Taken(hour=10), "The bot has given its 10 answers of an hour."),
    ],
)
def test_caps_leave_no_room_once_they_are_reached(taken: Taken, reason: str) -> None:
    assert reply_choice.cap_reached(ReplyRules(per_thread=2, per_author=3, per_hour=10), taken) == reason


def test_the_candidate_that_promises_most_comes_first_and_those_that_may_not_be_sent_last() -> None:
    candidates = [
        Candidate("plain", 0.9, 1.0),
        Candidate("unreal", 0.1, 3.0, "Too unreal."),
        Candidate("good", 0.5, 2.0),
    ]
    assert [each.text for each in reply_choice.best_first(candidates)] == ["good", "plain", "unreal"]


def test_without_a_reward_model_realism_decides() -> None:
    candidates = [Candidate("first", 0.4), Candidate("second", 0.8)]
    assert [each.text for each in reply_choice.best_first(candidates)] == ["second", "first"]


@pytest.mark.parametrize(
    ("candidate", "least_realism", "reason"),
    [
        (Candidate("x", 0.9, 1.0), 0.3, ""),
        (Candidate("x", 0.9), 0.3, ""),
        (Candidate("x", None, 1.0), 0.0, ""),
        (Candidate("x", None, 1.0), 0.3, "This version has no discriminator"),
        (Candidate("x"), 0.0, "This version has neither a discriminator nor an upvote model"),
    ],
)
def test_a_version_without_the_critics_that_are_asked_for_chooses_nothing(
    candidate: Candidate, least_realism: float, reason: str
) -> None:
    said = reply_choice.why_none([candidate], least_realism)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)
    assert not said or "fine-tune it on" in said


def test_models_see_the_last_of_a_thread_oldest_first() -> None:
    parents = [["ann", "one"], ["kilroy", "two"], ["ann", "three"]]
    assert reply_choice.context(parents, "four") == "two\nthree\nfour"
    assert reply_choice.context([], "four") == "four"
